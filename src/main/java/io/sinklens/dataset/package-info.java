/**
 * What comes in: questions on images, and how the columns of a dataset become them.
 *
 * <p>First on the row's journey; imports nothing of ours. Start reading at {@link
 * io.sinklens.dataset.Question}.
 */
@NullMarked
package io.sinklens.dataset;

import org.jspecify.annotations.NullMarked;

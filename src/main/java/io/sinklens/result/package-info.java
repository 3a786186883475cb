/**
 * What is stored: one annotation a question and variant, with its sinks and selected heads.
 *
 * <p>Second on the row's journey; JDK types only, so that Spark code and statistics can hold it.
 * Start reading at {@link io.sinklens.result.Annotation}.
 */
@NullMarked
package io.sinklens.result;

import org.jspecify.annotations.NullMarked;

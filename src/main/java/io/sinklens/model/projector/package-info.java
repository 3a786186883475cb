/**
 * Projectors: from the vision encoder's features to the decoder's embeddings.
 *
 * <p>Start reading at {@link io.sinklens.model.projector.MlpProjector}.
 */
@NullMarked
package io.sinklens.model.projector;

import org.jspecify.annotations.NullMarked;

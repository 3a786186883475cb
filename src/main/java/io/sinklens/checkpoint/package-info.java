/**
 * Hugging Face checkpoint folders: {@code config.json} and weights, as named tensors.
 *
 * <p>Nothing in a checkpoint is executed. Start reading at {@link
 * io.sinklens.checkpoint.CheckpointFolder}.
 */
@NullMarked
package io.sinklens.checkpoint;

import org.jspecify.annotations.NullMarked;

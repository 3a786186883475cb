/**
 * From bytes and text to numbers: decoding, Pillow-exact resizing, tokens, prompts.
 *
 * <p>Takes what {@code dataset} holds and gives pixel values and token ids, without tensors. Start
 * reading at {@link io.sinklens.preprocessing.ImageRule}.
 */
@NullMarked
package io.sinklens.preprocessing;

import org.jspecify.annotations.NullMarked;

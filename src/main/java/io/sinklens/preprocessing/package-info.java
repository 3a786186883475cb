/**
 * From bytes and text to numbers: decoding, Pillow-exact resizing, tokens, prompts.
 *
 * <p>Takes what {@code dataset} holds and gives pixel values and token ids, without tensors. Start
 * reading at {@link io.sinklens.preprocessing.ImageRule} and {@link
 * io.sinklens.preprocessing.PromptEncoder}.
 *
 * <p>The bar is what transformers, tokenizers and Pillow give: the same token ids, and the same
 * levels of every pixel but those of lossy WebP files.
 */
@NullMarked
package io.sinklens.preprocessing;

import org.jspecify.annotations.NullMarked;

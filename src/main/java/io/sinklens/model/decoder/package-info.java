/**
 * The language model: embeddings, decoder layers with their key-value cache, logits.
 *
 * <p>The decoder calls out through {@link io.sinklens.model.decoder.AttentionHook} and knows
 * nothing of what a hook does. Start reading at {@link io.sinklens.model.decoder.LlamaDecoder}.
 *
 * <p>Shapes are written {@code [row, heads, query, key]}: a row is one prompt of a batch.
 */
@NullMarked
package io.sinklens.model.decoder;

import org.jspecify.annotations.NullMarked;

/**
 * From an image and prompts to answers: the shared image prefix, the prompt pass, token by token.
 *
 * <p>Works on token ids and pixel values; what they mean is for {@code pipeline} to know. Start
 * reading at {@link io.sinklens.generation.Engine}.
 */
@NullMarked
package io.sinklens.generation;

import org.jspecify.annotations.NullMarked;

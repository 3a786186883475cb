/**
 * Networks. A vision-language model is a vision encoder, a projector and a decoder.
 *
 * <p>The decoder owns the attention hook; nothing here knows what a hook does. Start reading at
 * {@link io.sinklens.model.VisionLanguageModel}.
 */
@NullMarked
package io.sinklens.model;

import org.jspecify.annotations.NullMarked;

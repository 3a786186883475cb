/**
 * LLaVA-OneVision: the whole image and its tiles through SigLIP and a two-layer projector, packed
 * for a Qwen2 decoder.
 *
 * <p>Start reading at {@link io.sinklens.family.onevision.OneVisionFamily}, then {@link
 * io.sinklens.preprocessing.AnyResolution}.
 */
@NullMarked
package io.sinklens.family.onevision;

import org.jspecify.annotations.NullMarked;

/**
 * LLaVA-1.5 in the layout of llava-hf: CLIP, a two-layer projector, a LLaMA decoder.
 *
 * <p>Start reading at {@link io.sinklens.family.llava.LlavaFamily}.
 */
@NullMarked
package io.sinklens.family.llava;

import org.jspecify.annotations.NullMarked;

/**
 * LLaVA-1.5 and VILA 1.0: CLIP, a projector of linear maps, a LLaMA decoder.
 *
 * <p>One network in two layouts, that of llava-hf and that of the original code. Start reading at
 * {@link io.sinklens.family.llava.LlavaFamily}, then {@link
 * io.sinklens.family.llava.LlavaBlueprint}.
 */
@NullMarked
package io.sinklens.family.llava;

import org.jspecify.annotations.NullMarked;

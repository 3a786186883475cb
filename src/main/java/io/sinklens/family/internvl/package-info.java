/**
 * InternVL 2, 2.5 and 3: InternViT on tiles of the image, a projector over squares of patches, and
 * an InternLM2 or Qwen2 decoder.
 *
 * <p>Checkpoints come in two layouts, the authors' own ({@code internvl_chat}) and that of
 * transformers ({@code internvl}); one config record and one set of tensor names hold both. Start
 * reading at {@link io.sinklens.family.internvl.InternVlFamily}.
 */
@NullMarked
package io.sinklens.family.internvl;

import org.jspecify.annotations.NullMarked;

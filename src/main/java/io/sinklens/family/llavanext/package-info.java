/**
 * LLaVA-NeXT (v1.6): the whole image and its tiles through CLIP and a two-layer projector, packed
 * for a LLaMA or Mistral decoder.
 *
 * <p>Start reading at {@link io.sinklens.family.llavanext.LlavaNextFamily}, then {@link
 * io.sinklens.preprocessing.AnyResolution}.
 */
@NullMarked
package io.sinklens.family.llavanext;

import org.jspecify.annotations.NullMarked;

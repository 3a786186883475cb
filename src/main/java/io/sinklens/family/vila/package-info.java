/**
 * VILA1.5: SigLIP, a projector that merges patches, a LLaMA decoder, each in a folder of its own.
 *
 * <p>VILA 1.0 is {@link io.sinklens.family.llava}'s. Start reading at {@link
 * io.sinklens.family.vila.VilaFamily}.
 */
@NullMarked
package io.sinklens.family.vila;

import org.jspecify.annotations.NullMarked;

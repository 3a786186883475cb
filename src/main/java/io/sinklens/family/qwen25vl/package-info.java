/**
 * Qwen2.5-VL: a vision transformer for images of any size, merged patches, a Qwen2 decoder whose
 * tokens have three rotary positions.
 *
 * <p>Start reading at {@link io.sinklens.family.qwen25vl.Qwen25VlFamily}.
 */
@NullMarked
package io.sinklens.family.qwen25vl;

import org.jspecify.annotations.NullMarked;

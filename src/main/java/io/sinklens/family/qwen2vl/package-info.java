/**
 * Qwen2-VL: a vision transformer for images of any size, merged patches, a Qwen2 decoder whose
 * tokens have three rotary positions.
 *
 * <p>Start reading at {@link io.sinklens.family.qwen2vl.Qwen2VlFamily}.
 */
@NullMarked
package io.sinklens.family.qwen2vl;

import org.jspecify.annotations.NullMarked;

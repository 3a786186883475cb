/**
 * Vision encoders: pixel values in, patch features out.
 *
 * <p>Start reading at {@link io.sinklens.model.vision.VisionTransformer}.
 */
@NullMarked
package io.sinklens.model.vision;

import org.jspecify.annotations.NullMarked;

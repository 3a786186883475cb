/**
 * Operators on tensors: what DJL has, and TorchScript text for what it lacks.
 *
 * <p>Every network computes through this package. Start reading at {@link
 * io.sinklens.tensor.Operators}.
 */
@NullMarked
package io.sinklens.tensor;

import org.jspecify.annotations.NullMarked;

package io.sinklens.model;

import ai.djl.ndarray.types.Shape;
import io.sinklens.model.vision.TileWindow;
import org.jspecify.annotations.Nullable;

/**
 * An image as networks take it.
 *
 * @param pixels view by view, channel by channel, row by row; not to be changed
 * @param shape {@code [view, channel, height, width]}
 * @param window how the views after the first are joined, where the network joins them
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nobody; a copy would cost megabytes.
public record ImageInput(float[] pixels, Shape shape, @Nullable TileWindow window) {}

/**
 * Sums over stored annotations that can be merged, so that parts of an output can be read apart.
 *
 * <p>Reads annotations after the row's journey; no Spark and no tensors. Start reading at {@link
 * io.sinklens.statistics.SinksByLayer}.
 */
@NullMarked
package io.sinklens.statistics;

import org.jspecify.annotations.NullMarked;

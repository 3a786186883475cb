/**
 * Scores of stored answers, and whether two variants differ by more than chance.
 *
 * <p>Reads annotations after the row's journey; no Spark and no tensors, so that anything can score
 * what a run has written. Start reading at {@link io.sinklens.benchmark.SceneComparison}.
 */
@NullMarked
package io.sinklens.benchmark;

import org.jspecify.annotations.NullMarked;

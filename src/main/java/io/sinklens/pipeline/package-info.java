/**
 * Wiring: questions in, annotations out.
 *
 * <p>Everything above meets here and nothing of it leaves: public signatures hold only {@code
 * dataset}, {@code result} and JDK types, so that Spark code never sees a tensor. Start reading at
 * {@link io.sinklens.pipeline.RunSettings}, then {@link io.sinklens.pipeline.Annotator}.
 */
@NullMarked
package io.sinklens.pipeline;

import org.jspecify.annotations.NullMarked;

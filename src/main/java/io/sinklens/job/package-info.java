/**
 * Spark jobs: settings in, counts out, one class a job.
 *
 * <p>Near the end of the row's journey: questions come from {@code table}, go through an annotator
 * of {@code pipeline} on the executors, and come back as rows. Start reading at {@link
 * io.sinklens.job.AnnotateJob}; {@link io.sinklens.job.Sinklens} is the door for other programs.
 */
@NullMarked
package io.sinklens.job;

import org.jspecify.annotations.NullMarked;

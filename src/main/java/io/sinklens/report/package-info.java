/**
 * What a person reads and looks at after a run: tables in text, and pictures.
 *
 * <p>After the row's journey: takes stored annotations, scores of {@code benchmark} and sums of
 * {@code statistics}; hands text and PNG to {@code job}, and writes no files. Start reading at
 * {@link io.sinklens.report.ContactSheet}.
 */
@NullMarked
package io.sinklens.report;

import org.jspecify.annotations.NullMarked;

/**
 * Questions and annotations as rows: schemas, and the way between rows and records.
 *
 * <p>Where Spark meets the row's journey: reads {@code dataset}, writes {@code result}, and knows
 * no model. Start reading at {@link io.sinklens.table.QuestionTable}, then {@link
 * io.sinklens.table.AnnotationTable}.
 */
@NullMarked
package io.sinklens.table;

import org.jspecify.annotations.NullMarked;

package io.sinklens.benchmark;

import org.jspecify.annotations.Nullable;

/**
 * A scorer of what a judge, a language model elsewhere, said of an answer. The judge is asked apart
 * from here, and its reply recorded in a column of the row.
 */
public interface Judged extends Scorer {
  /** The column with what the judge said: a text, or a list of texts where it was asked again. */
  String REPLY = "judge_reply";

  /**
   * What to ask the judge; null in modes that need none.
   *
   * @throws UnscorableRowException if a column is missing that the prompt needs
   */
  @Nullable JudgeRequest request(BenchmarkRow row);
}

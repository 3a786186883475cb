package io.sinklens.benchmark;

/**
 * A scorer of what a judge, a language model elsewhere, said of an answer. The judge is asked apart
 * from here, and its reply recorded in a column.
 */
interface Judged extends Scorer {
  /** The column with what the judge said. */
  String REPLY = "judge_reply";
}

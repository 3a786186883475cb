package io.sinklens.dataset;

/**
 * What became of a row that could not be answered.
 *
 * @param kind the countable cause
 * @param message one line with the values that matter
 */
public record Failure(FailureKind kind, String message) {}

package io.sinklens.family.onevision;

import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.PromptTemplate;
import java.util.List;
import java.util.Optional;

/** Templates of LLaVA-OneVision, all of the kind called ChatML. */
final class OneVisionTemplates {
  static final Special IMAGE = new Special("<image>");
  private static final Special START = new Special("<|im_start|>");
  private static final Special END = new Special("<|im_end|>");

  /** What its authors evaluate it with ({@code qwen_1_5}), with a system text. */
  static final PromptTemplate QWEN =
      new PromptTemplate(
          "qwen-1-5",
          List.of(
              START,
              new Text("system\nYou are a helpful assistant."),
              END,
              new Text("\n"),
              START,
              new Text("user\n"),
              IMAGE,
              new Text("\n")),
          List.of(END, new Text("\n"), START, new Text("assistant\n")),
          "");

  /** The chat template of llava-hf: no system text, blanks where the other has line ends. */
  static final PromptTemplate PLAIN =
      new PromptTemplate(
          "plain",
          List.of(START, new Text("user "), IMAGE, new Text("\n")),
          List.of(END, START, new Text("assistant\n")),
          "");

  private OneVisionTemplates() {}

  static Optional<PromptTemplate> named(String name) {
    return switch (name) {
      case "qwen-1-5" -> Optional.of(QWEN);
      case "plain" -> Optional.of(PLAIN);
      default -> Optional.empty();
    };
  }
}

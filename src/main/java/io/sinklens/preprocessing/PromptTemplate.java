package io.sinklens.preprocessing;

import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a model family wraps around a question.
 *
 * @param name the name in settings, such as {@code vicuna-v1}
 * @param before all before the question, with the one image token
 * @param after all after the question
 * @param questionSuffix appended to every question, such as a request for a short answer
 */
public record PromptTemplate(
    String name, List<Piece> before, List<Piece> after, String questionSuffix) {
  private static final Special IMAGE = new Special("<image>");
  private static final List<Piece> ASSISTANT = List.of(new Text(" ASSISTANT:"));

  /** What original LLaVA-1.5 was evaluated with ({@code conv_vicuna_v1}), with its system text. */
  public static final PromptTemplate VICUNA_V1 =
      new PromptTemplate(
          "vicuna-v1",
          List.of(
              new Text(
                  "A chat between a curious user and an artificial intelligence assistant. The"
                      + " assistant gives helpful, detailed, and polite answers to the user's"
                      + " questions. USER: "),
              IMAGE,
              new Text("\n")),
          ASSISTANT,
          "");

  /** The chat template of the llava-hf checkpoints: no system text. */
  public static final PromptTemplate PLAIN =
      new PromptTemplate(
          "plain", List.of(new Text("USER: "), IMAGE, new Text("\n")), ASSISTANT, "");

  public PromptTemplate {
    before = List.copyOf(before);
    after = List.copyOf(after);
  }

  /** The same template with another suffix. */
  public PromptTemplate withQuestionSuffix(String suffix) {
    return new PromptTemplate(name, before, after, suffix);
  }

  /** The whole prompt for a question. */
  public List<Piece> pieces(String question) {
    return Stream.of(before, List.of(new Text(question + questionSuffix)), after)
        .<Piece>flatMap(List::stream)
        .toList();
  }
}

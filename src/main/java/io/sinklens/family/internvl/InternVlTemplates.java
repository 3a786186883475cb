package io.sinklens.family.internvl;

import io.sinklens.preprocessing.Piece;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.PromptTemplate;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * What InternVL puts around a question. The first two are named as in {@code conversation.py} of
 * its own code.
 *
 * <p>The image stands between two markers, which are text to the model: only what is between them
 * is the image.
 */
final class InternVlTemplates {
  /** Stands for the image. */
  static final Special IMAGE = new Special("<IMG_CONTEXT>");

  /** Ends every turn. */
  static final Special END = new Special("<|im_end|>");

  private static final Special START = new Special("<|im_start|>");
  private static final List<Piece> VISUAL =
      List.of(new Special("<img>"), IMAGE, new Special("</img>"), new Text("\n"));
  private static final List<Piece> BARE_END = List.of(END);
  private static final List<Piece> END_OF_LINE = List.of(END, new Text("\n"));

  /** InternVL2's: nothing, not even a line break, between one turn and the next. */
  static final PromptTemplate INTERNLM2_CHAT =
      template(
          "internlm2-chat",
          Optional.of("你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"),
          BARE_END);

  /** InternVL2.5's and 3's. */
  static final PromptTemplate INTERNVL2_5 =
      template(
          "internvl2_5",
          Optional.of("你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"),
          END_OF_LINE);

  /** The chat template of checkpoints in the layout of transformers: no system text. */
  static final PromptTemplate PLAIN = template("plain", Optional.empty(), END_OF_LINE);

  private InternVlTemplates() {}

  static Optional<PromptTemplate> named(String name) {
    return Stream.of(INTERNLM2_CHAT, INTERNVL2_5, PLAIN)
        .filter(template -> template.name().equals(name))
        .findFirst();
  }

  private static PromptTemplate template(String name, Optional<String> system, List<Piece> end) {
    return new PromptTemplate(
        name,
        Stream.of(
                system.map(text -> turn("system\n" + text, end)).orElse(List.of()),
                List.<Piece>of(START, new Text("user\n")),
                VISUAL)
            .<Piece>flatMap(List::stream)
            .toList(),
        turnOver(end),
        "");
  }

  private static List<Piece> turn(String text, List<Piece> end) {
    return Stream.concat(Stream.<Piece>of(START, new Text(text)), end.stream()).toList();
  }

  private static List<Piece> turnOver(List<Piece> end) {
    return Stream.concat(end.stream(), Stream.<Piece>of(START, new Text("assistant\n"))).toList();
  }
}

package io.sinklens.family.llavanext;

import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.PromptTemplate;
import java.util.List;
import java.util.Optional;

/** What the family's models were evaluated with. */
final class LlavaNextTemplates {
  static final Special IMAGE = new Special("<image>");

  /** What LLaVA-1.6 of Mistral takes ({@code conv_mistral_instruct}). */
  static final PromptTemplate MISTRAL =
      new PromptTemplate(
          "mistral",
          List.of(new Text("[INST] "), IMAGE, new Text("\n")),
          List.of(new Text(" [/INST]")),
          "");

  private LlavaNextTemplates() {}

  static Optional<PromptTemplate> named(String name) {
    return switch (name) {
      case "vicuna-v1" -> Optional.of(PromptTemplate.VICUNA_V1);
      case "plain" -> Optional.of(PromptTemplate.PLAIN);
      case "mistral" -> Optional.of(MISTRAL);
      default -> Optional.empty();
    };
  }
}

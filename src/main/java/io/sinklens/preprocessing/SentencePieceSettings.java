package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.preprocessing.Tokenizer.Legacy;
import java.util.List;
import java.util.Map;

/**
 * What {@code tokenizer_config.json} says about a tokenizer that comes as {@code tokenizer.model}.
 * What is absent has the default of transformers 4.57.6.
 *
 * @param code whose code is followed
 * @param spaces who puts spaces before texts
 * @param takesPrefixSpace whether decoding takes away a first space, as one that was put there
 * @param cleansUp whether decoding takes away spaces before punctuation
 * @param begins whether every text begins with a token
 * @param ends whether every text ends with a token
 */
record SentencePieceSettings(
    Code code,
    Spaces spaces,
    boolean takesPrefixSpace,
    boolean cleansUp,
    boolean begins,
    boolean ends) {

  /** Whose code is followed. */
  enum Code {
    LLAMA,
    INTERNLM2;

    /** Names of special tokens by role, such as {@code bos_token}. */
    Map<String, String> defaultTokens() {
      return switch (this) {
        case LLAMA -> Map.of("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");
        case INTERNLM2 ->
            Map.of(
                "bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>", "pad_token", "</s>");
      };
    }
  }

  /** Who puts spaces before texts. */
  enum Spaces {
    /** The model, or nobody, as it says. */
    MODEL,
    /** The tokenizer, before the first text only. */
    TOKENIZER,
    NOBODY
  }

  /**
   * Reads a configuration.
   *
   * @throws IllegalArgumentException when it asks for what is not supported
   */
  static SentencePieceSettings read(JsonNode config, Legacy legacy) {
    Code code = code(config);
    for (String key : List.of("sp_model_kwargs", "extra_special_tokens")) {
      if (!config.path(key).isEmpty()) {
        throw new IllegalArgumentException(
            "%s must be empty, not %s".formatted(key, config.path(key)));
      }
    }
    if (flag(config, "split_special_tokens", false)) {
      throw new IllegalArgumentException("split_special_tokens must be false, not true");
    }
    return new SentencePieceSettings(
        code,
        code == Code.LLAMA ? spaces(config, legacy) : Spaces.MODEL,
        code == Code.LLAMA && flag(config, "add_prefix_space", true),
        flag(config, "clean_up_tokenization_spaces", false),
        flag(config, "add_bos_token", true),
        flag(config, "add_eos_token", false));
  }

  private static Code code(JsonNode config) {
    String name = config.path("tokenizer_class").asText("absent");
    return switch (name) {
      case "LlamaTokenizer", "LlamaTokenizerFast" -> Code.LLAMA;
      case "InternLM2Tokenizer" -> Code.INTERNLM2;
      default ->
          throw new IllegalArgumentException(
              "tokenizer_class must be LlamaTokenizer, LlamaTokenizerFast or InternLM2Tokenizer,"
                  + " not "
                  + name);
    };
  }

  private static Spaces spaces(JsonNode config, Legacy legacy) {
    boolean byModel =
        switch (legacy) {
          case ON -> true;
          case OFF -> false;
          case AS_CONFIGURED -> config.path("legacy").isNull() || flag(config, "legacy", true);
        };
    if (byModel) {
      return Spaces.MODEL;
    }
    return flag(config, "add_prefix_space", true) ? Spaces.TOKENIZER : Spaces.NOBODY;
  }

  /** A truth value; {@code null} is false, as in Python. */
  private static boolean flag(JsonNode config, String key, boolean byDefault) {
    JsonNode value = config.path(key);
    if (!value.isMissingNode() && !value.isNull() && !value.isBoolean()) {
      throw new IllegalArgumentException("%s must be true or false, not %s".formatted(key, value));
    }
    return value.isMissingNode() ? byDefault : value.asBoolean();
  }
}

package io.sinklens.family;

import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.Optional;
import java.util.Set;

/** A checkpoint that has been read and checked, its weights not yet loaded. */
public interface Blueprint {

  /** The family's name. */
  String family();

  /** How the checkpoint's files are laid out, by the name of the code that reads them. */
  default String layout() {
    return "transformers";
  }

  /** The language model's shape. */
  LlamaConfig decoder();

  /** One line on the vision encoder, for people. */
  String vision();

  /** Parameters the network loads. */
  long parameters();

  /** The checkpoint's own way with images. */
  ImageRule imageRule();

  /** Another way with images this family knows, by its name in settings. */
  Optional<ImageRule> imageRule(String name);

  /** The template for questions unless another is chosen. */
  PromptTemplate template();

  /** Another template this family knows, by its name in settings. */
  Optional<PromptTemplate> template(String name);

  /** How prompts become token ids. */
  PromptEncoder.Settings prompts();

  /**
   * Opens the tokenizer; the caller closes it.
   *
   * @throws IllegalArgumentException when there is none, or none that is supported
   */
  Tokenizer openTokenizer();

  /** Tokens that end an answer. */
  Set<Integer> stopTokens();

  /**
   * Loads the weights.
   *
   * @param operators belong to the network afterwards
   * @throws IllegalArgumentException for missing, misshapen or left-over tensors
   */
  VisionLanguageModel load(Operators operators, Dtype dtype);
}

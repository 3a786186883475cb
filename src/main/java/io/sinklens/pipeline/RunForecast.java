package io.sinklens.pipeline;

import ai.djl.Device;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.dataset.RowFailedException;
import io.sinklens.family.Blueprint;
import io.sinklens.family.Families;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.RgbImage;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Devices;
import io.sinklens.tensor.Dtype;
import java.util.List;
import java.util.Optional;

/**
 * What a run will put through the model, told from its checkpoint and a sample of its questions
 * without loading weights.
 *
 * @param prefixTokens tokens of a prompt up to the end of its image, run once an image
 * @param ownTokens mean of a prompt's tokens after its image, run for every question and variant
 * @param memory what weights, keys and values need against what is free, for people
 */
public record RunForecast(int prefixTokens, double ownTokens, String memory) {

  /**
   * Looks at a checkpoint on this machine.
   *
   * @param questions a sample; those no prompt can be made of do not count
   * @throws IllegalArgumentException in one line, for a checkpoint or settings that cannot be used
   */
  public static RunForecast of(AnnotatorSettings settings, List<String> questions) {
    CheckpointFolder folder = LoadedModel.open(settings.model());
    Blueprint blueprint = Families.read(folder);
    Optional<ModelPreset> preset = ModelPreset.choose(settings.model().preset(), blueprint);
    for (RunSettings.Variant variant : settings.variants()) {
      ResolvedVariant.of(variant, preset, settings.statistics().level());
    }
    int imageTokens = imageTokens(LoadedModel.imageRule(settings.model(), blueprint));
    int prefixTokens = 0;
    long ownTokens = 0;
    int prompts = 0;
    try (Tokenizer tokenizer = blueprint.openTokenizer()) {
      PromptEncoder encoder =
          new PromptEncoder(
              tokenizer,
              LoadedModel.template(settings.model(), blueprint)
                  .withQuestionSuffix(settings.model().promptSuffix()),
              blueprint.prompts());
      for (String question : questions) {
        try {
          Prompt prompt =
              encoder.encode(question, imageTokens, settings.generation().maxNewTokens());
          prefixTokens = prompt.image().end();
          ownTokens += prompt.ids().length - prompt.image().end();
          prompts++;
        } catch (RowFailedException e) {
          // Such a row will fail and run nothing.
        }
      }
    }
    Device device = Devices.planned(settings.model().device());
    Dtype stored = folder.storedDtype();
    return new RunForecast(
        prefixTokens,
        prompts == 0 ? 0 : (double) ownTokens / prompts,
        CheckpointReport.memory(
            blueprint,
            stored,
            LoadedModel.dtype(settings.model().dtype(), stored, device),
            device));
  }

  /** Those of a usual photograph; with some rules they depend on the image. */
  private static int imageTokens(ImageRule rule) {
    int width = 640;
    int height = 480;
    try {
      return rule.apply(new RgbImage(width, height, new byte[width * height * RgbImage.CHANNELS]))
          .grid()
          .tokens();
    } catch (RowFailedException e) {
      throw new IllegalStateException("Cannot apply image rule " + rule.name(), e);
    }
  }
}

package io.sinklens.pipeline;

import io.sinklens.pipeline.RunSettings.Columns;
import io.sinklens.pipeline.RunSettings.Generation;
import io.sinklens.pipeline.RunSettings.ImageTable;
import io.sinklens.pipeline.RunSettings.Model;
import io.sinklens.pipeline.RunSettings.Variant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Settings as the keys and values of a job file. */
final class SettingsMap {
  private SettingsMap() {}

  /**
   * All settings as the keys and values of a job file, which reads back as equal settings. Pairs of
   * keys that say the same appear under the first name.
   */
  static Map<String, @Nullable Object> of(RunSettings settings) {
    Columns columns = settings.input().columns();
    Model model = settings.model();
    Generation generation = settings.generation();
    List<String> choices = generation.answerChoices();
    return entries(
        "input",
        entries(
            "path",
            settings.input().path(),
            "columns",
            entries(
                "id",
                columns.id(),
                "image",
                columns.image(),
                "image-id",
                columns.imageId(),
                "question",
                columns.question(),
                "answers",
                columns.answers(),
                "mask",
                columns.mask()),
            "images",
            settings.input().images(),
            "image-table",
            of(settings.input().imageTable()),
            "derived",
            settings.input().derived().isEmpty() ? null : settings.input().derived(),
            "filter",
            settings.input().filter(),
            "draw",
            settings.input().draw()),
        "output",
        entries("path", settings.output().path(), "keep-columns", settings.output().keepColumns()),
        "model",
        entries(
            "path",
            model.path(),
            "preset",
            model.preset(),
            "template",
            model.template(),
            "image-rule",
            model.imageRule(),
            "exif",
            model.exif(),
            "vision-path",
            model.visionPath(),
            "device",
            model.device(),
            "dtype",
            model.dtype(),
            "prompt-suffix",
            model.promptSuffix()),
        "generation",
        entries(
            "max-new-tokens",
            generation.maxNewTokens(),
            "min-new-tokens",
            generation.minNewTokens(),
            "batch-tokens",
            generation.batchTokens(),
            "answer-choices",
            choices.isEmpty() ? null : choices,
            "top-logprobs",
            generation.topLogprobs()),
        "variants",
        settings.variants().stream().map(SettingsMap::of).toList(),
        "statistics",
        entries(
            "level",
            lower(settings.statistics().level()),
            "samples",
            settings.statistics().samples()),
        "run",
        entries(
            "wave-rows",
            settings.run().waveRows(),
            "max-failed-share",
            settings.run().maxFailedShare(),
            "max-image-pixels",
            settings.run().maxImagePixels(),
            "max-stall-seconds",
            settings.run().maxStallSeconds()));
  }

  private static @Nullable Map<String, @Nullable Object> of(@Nullable ImageTable table) {
    return table == null
        ? null
        : entries("path", table.path(), "id", table.id(), "image", table.image());
  }

  private static Map<String, @Nullable Object> of(Variant variant) {
    return entries(
        "name",
        variant.name(),
        "hook",
        lower(variant.hook()),
        "mode",
        variant.mode(),
        "sink-dimensions",
        variant.sinkDimensions().isEmpty() ? null : variant.sinkDimensions(),
        "sink-threshold",
        variant.sinkThreshold(),
        "sink-tokens",
        variant.sinkTokens(),
        "min-nonsink-ratio",
        variant.minNonsinkRatio(),
        "min-image-attention",
        variant.minImageAttention(),
        "moved-share",
        variant.movedShare(),
        "require-visual-sink",
        variant.requireVisualSink(),
        "masked-tokens",
        variant.knockout().maskedTokens(),
        "seed",
        variant.knockout().seed());
  }

  private static Map<String, @Nullable Object> entries(@Nullable Object... keysAndValues) {
    Map<String, @Nullable Object> entries = new LinkedHashMap<>();
    for (int i = 0; i < keysAndValues.length; i += 2) {
      entries.put((String) keysAndValues[i], keysAndValues[i + 1]);
    }
    return entries;
  }

  static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}

package io.sinklens.preprocessing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.preprocessing.AnyResolution.Canvas;
import io.sinklens.preprocessing.AnyResolution.Convention;
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.ResizeAndCrop;
import io.sinklens.preprocessing.ImageRule.Stretch;
import io.sinklens.preprocessing.ImageRules.Tiles;
import io.sinklens.preprocessing.ImageRules.TilingProcessor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageRulesTest {
  private static final ImageRule LLAVA_HF = new ResizeAndCrop(336, 336, 14, Normalization.CLIP);

  private static final ImageRule QWEN2_VL =
      new SmartResize(28, 3136, 12_845_056, Normalization.CLIP);
  private static final Packing PACKING =
      new Packing(Convention.TRANSFORMERS, RowEnd.PRESENT, Packing.UNLIMITED);
  private static final Tiles NEXT_TILES =
      new Tiles(TilingProcessor.LLAVA_NEXT.defaultPinpoints(), 336, 14, PACKING);

  @TempDir Path folder;

  @Test
  void readsThePreprocessorOfLlavaHf() throws IOException {
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        """
        {"crop_size": {"height": 336, "width": 336}, "do_center_crop": true,
         "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
         "image_mean": [0.48145466, 0.4578275, 0.40821073],
         "image_processor_type": "CLIPImageProcessor",
         "image_std": [0.26862954, 0.26130258, 0.27577711], "processor_class": "LlavaProcessor",
         "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 336}}
        """);
    assertThat(ImageRules.fromCheckpoint(folder, 14)).isEqualTo(LLAVA_HF);
  }

  @Test
  void readsTheImageProcessorInsideAProcessor() throws IOException {
    Files.writeString(
        folder.resolve("processor_config.json"),
        """
        {"image_processor": {"image_processor_type": "CLIPImageProcessorFast", "device": null,
          "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336},
          "data_format": "channels_first"}, "patch_size": 14}
        """);
    assertThat(ImageRules.fromCheckpoint(folder, 14)).isEqualTo(LLAVA_HF);
  }

  @Test
  void readsThePreprocessorOfQwen2Vl() throws IOException {
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        """
        {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2,
         "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
         "image_std": [0.26862954, 0.26130258, 0.27577711],
         "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"}
        """);
    assertThat(ImageRules.fromCheckpoint(folder, 28)).isEqualTo(QWEN2_VL);
  }

  @Test
  void readsTheLimitsOfQwen2VlByTheirNewNames() throws IOException {
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        """
        {"size": {"shortest_edge": 3136, "longest_edge": 12845056}, "patch_size": 14,
         "merge_size": 2, "min_pixels": null, "max_pixels": 12845056, "do_center_crop": null,
         "image_processor_type": "Qwen2VLImageProcessorFast"}
        """);
    assertThat(ImageRules.fromCheckpoint(folder, 28)).isEqualTo(QWEN2_VL);
  }

  @Test
  void takesTheLimitsOfTheProcessorWhereTheFileHasNone() throws JsonProcessingException {
    assertThat(
            ImageRules.fromConfig(
                new ObjectMapper()
                    .readTree("{\"image_processor_type\": \"Qwen2VLImageProcessor\"}"),
                28))
        .isEqualTo(new SmartResize(28, 3136, 1_003_520, Normalization.CLIP));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'patch_size': 16 | patch_size = 16: supported is with merge_size 2, what makes the 28"
            + " pixels of an image token in config.json",
        "'merge_size': 0 | merge_size = 0: supported is a whole number above 0",
        "'max_pixels': '1' | max_pixels = \"1\": supported is a whole number above 0",
        "'do_center_crop': true | do_center_crop = true: supported is false",
        "'do_pad': true | do_pad = true: supported is false",
        "'size': {'height': 5} | size = {\"height\":5}: supported is shortest_edge and longest_edge"
            + " in pixels of the whole image",
        "'min_pixels': 9, 'size': {'shortest_edge': 4, 'longest_edge': 99} | min_pixels = 9:"
            + " supported is the shortest_edge of size, 4",
        "'fps': 2 | fps = 2: supported is no such key"
      })
  void refusesWhatWouldChangeThePixelsOfQwen2Vl(String setting, String reason) {
    String config =
        "{'image_processor_type': 'Qwen2VLImageProcessor', %s}"
            .formatted(setting)
            .replace('\'', '"');
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ImageRules.fromConfig(new ObjectMapper().readTree(config), 28))
        .withMessage("Cannot use image processor setting " + reason);
  }

  @Test
  void refusesAFolderWithoutAnImageProcessor() throws IOException {
    Files.writeString(folder.resolve("processor_config.json"), "{\"patch_size\": 14}");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ImageRules.fromCheckpoint(folder, 14))
        .withMessage(
            "Cannot find the image rule of %s: it has neither preprocessor_config.json nor"
                    .formatted(folder)
                + " image_processor in processor_config.json");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{'feature_extractor_type': 'CLIPFeatureExtractor', 'size': 336, 'crop_size': 336}",
        "{'image_processor_type': 'LlavaImageProcessor', 'do_pad': false, 'size': 336,"
            + " 'crop_size': {'width': 336, 'height': 336}}",
        "{'image_processor_type': 'CLIPImageProcessor', 'do_pad': null, 'crop_size': 336,"
            + " 'size': {'shortest_edge': 336}}"
      })
  void readsOtherSpellingsOfTheCropRule(String config) throws IOException {
    assertThat(rule(config)).isEqualTo(LLAVA_HF);
  }

  @Test
  void takesTheDefaultsOfTransformers() throws IOException {
    assertThat(rule("{'image_processor_type': 'CLIPImageProcessor'}"))
        .isEqualTo(new ResizeAndCrop(224, 224, 14, Normalization.CLIP));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "'size': {'shortest_edge': 336}, 'crop_size': 336",
        "'size': {'height': 336, 'width': 336}, 'do_center_crop': false"
      })
  void readsThePaddingRule(String sizes) throws IOException {
    assertThat(
            rule("{'image_processor_type': 'LlavaImageProcessor', 'do_pad': true, " + sizes + "}"))
        .isEqualTo(new PadToSquare(336, 14, Normalization.CLIP));
  }

  @ParameterizedTest
  @ValueSource(strings = {"'do_center_crop': false", "'crop_size': 336"})
  void readsTheStretchingRule(String crop) throws IOException {
    String size = "'size': {'height': 336, 'width': 336}, ";
    assertThat(rule("{'image_processor_type': 'CLIPImageProcessor', " + size + crop + "}"))
        .isEqualTo(new Stretch(336, 14, Normalization.CLIP));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'resample': 2 | resample = 2: supported is 3 (bicubic)",
        "'do_resize': false | do_resize = false: supported is true",
        "'do_normalize': 'yes' | do_normalize = \"yes\": supported is true or false",
        "'size': {'longest_edge': 9} | size = {\"longest_edge\":9}: supported is one edge length above 0",
        "'size': {'height': 9, 'width': 8} | size = {\"height\":9,\"width\":8}: supported is one edge length above 0",
        "'size': {'height': 9, 'width': 9}, 'crop_size': 8 | crop_size = 8: supported is the size 9, as size has a height and a width",
        "'crop_size': {'height': 9, 'width': 8} | crop_size = {\"height\":9,\"width\":8}: supported is one edge length above 0",
        "'image_mean': 0.5 | image_mean = 0.5: supported is a list of 3 numbers",
        "'do_pad': true | do_pad = true: supported is false, unless image_processor_type is LlavaImageProcessor",
        "'do_tile': true | do_tile = true: supported is no such key"
      })
  void refusesWhatItDoesNotDo(String setting, String message) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> rule("{'image_processor_type': 'CLIPImageProcessor', " + setting + "}"))
        .withMessage("Cannot use image processor setting " + message);
  }

  @Test
  void refusesOtherImageProcessors() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> rule("{'image_processor_type': 'ViTImageProcessor'}"))
        .withMessage(
            "Cannot use image processor setting image_processor_type = \"ViTImageProcessor\":"
                + " supported is CLIPImageProcessor, LlavaImageProcessor, SiglipImageProcessor or"
                + " Qwen2VLImageProcessor");
  }

  @Test
  void readsSiglipsRuleWithItsOwnDefaults() throws JsonProcessingException {
    assertThat(rule("{'image_processor_type': 'SiglipImageProcessor'}"))
        .isEqualTo(new Stretch(224, 14, Normalization.SIGLIP));
    assertThat(
            rule(
                "{'image_processor_type': 'SiglipImageProcessor', 'size': {'height': 384, 'width':"
                    + " 384}, 'image_mean': [0.5, 0.5, 0.5], 'image_std': [0.5, 0.5, 0.5]}"))
        .isEqualTo(new Stretch(384, 14, Normalization.SIGLIP));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'do_center_crop': true | do_center_crop = true: supported is false for"
            + " SiglipImageProcessor",
        "'do_pad': true | do_pad = true: supported is false for SiglipImageProcessor",
        "'size': {'shortest_edge': 9} | size = {\"shortest_edge\":9}: supported is a height and a"
            + " width for SiglipImageProcessor"
      })
  void refusesWhatSiglipsProcessorDoesNotDo(String setting, String message) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> rule("{'image_processor_type': 'SiglipImageProcessor', " + setting + "}"))
        .withMessage("Cannot use image processor setting " + message);
  }

  /** The file of llava-hf/llava-v1.6-vicuna-13b-hf. */
  @Test
  void readsThePreprocessorOfLlavaNext() throws IOException {
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        """
        {"aspect_ratio_setting": "anyres", "crop_size": {"height": 336, "width": 336},
         "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_pad": true,
         "do_rescale": true, "do_resize": true,
         "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
         "image_mean": [0.48145466, 0.4578275, 0.40821073],
         "image_processor_type": "LlavaNextImageProcessor",
         "image_std": [0.26862954, 0.26130258, 0.27577711],
         "processor_class": "LlavaNextProcessor", "resample": 3,
         "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 336}}
        """);
    AnyResolution rule = ImageRules.fromCheckpoint(folder, TilingProcessor.LLAVA_NEXT, NEXT_TILES);
    assertThat(rule)
        .isEqualTo(
            new AnyResolution(
                "anyres",
                List.of(
                    new Canvas(672, 336),
                    new Canvas(336, 672),
                    new Canvas(672, 672),
                    new Canvas(336, 1008),
                    new Canvas(1008, 336)),
                336,
                14,
                Normalization.CLIP,
                PACKING));
  }

  @Test
  void readsThePreprocessorOfOneVision() throws IOException {
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        """
        {"do_pad": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
         "image_processor_type": "LlavaOnevisionImageProcessorFast", "crop_size": null,
         "do_center_crop": null, "size": {"height": 384, "width": 384}}
        """);
    Tiles tiles = new Tiles(TilingProcessor.LLAVA_ONEVISION.defaultPinpoints(), 384, 14, PACKING);
    AnyResolution rule = ImageRules.fromCheckpoint(folder, TilingProcessor.LLAVA_ONEVISION, tiles);
    assertThat(rule.canvases()).hasSize(36).contains(new Canvas(2304, 1152));
    assertThat(rule.normalization().mean()).containsOnly(0.5);
    assertThat(rule.tileSize()).isEqualTo(384);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'image_processor_type': 'CLIPImageProcessor' | image_processor_type = \"CLIPImageProcessor\": supported is LlavaNextImageProcessor",
        "'image_grid_pinpoints': [[336, 672]] | image_grid_pinpoints = [[336,672]]: supported is [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]], as in config.json",
        "'image_grid_pinpoints': [[336]] | image_grid_pinpoints = [[336]]: supported is a list of pairs of numbers",
        "'size': 224 | size = 224: supported is 336, as in config.json",
        "'crop_size': 224 | crop_size = 224: supported is 336, as in config.json",
        "'aspect_ratio_setting': 'pad' | aspect_ratio_setting = \"pad\": supported is anyres",
        "'do_tile': true | do_tile = true: supported is no such key"
      })
  void refusesTilesThatAreNotTheModels(String setting, String message) throws IOException {
    ObjectMapper json = new ObjectMapper();
    ObjectNode config =
        json.createObjectNode()
            .put("image_processor_type", "LlavaNextImageProcessor")
            .put("size", 336)
            .put("crop_size", 336);
    config.setAll((ObjectNode) json.readTree("{" + setting.replace('\'', '"') + "}"));
    json.writeValue(folder.resolve("preprocessor_config.json").toFile(), config);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ImageRules.fromCheckpoint(folder, TilingProcessor.LLAVA_NEXT, NEXT_TILES))
        .withMessage("Cannot use image processor setting " + message);
  }

  private static ImageRule rule(String config) throws JsonProcessingException {
    return ImageRules.fromConfig(new ObjectMapper().readTree(config.replace('\'', '"')), 14);
  }
}

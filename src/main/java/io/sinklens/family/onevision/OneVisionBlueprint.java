package io.sinklens.family.onevision;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.Weights;
import io.sinklens.family.Blueprint;
import io.sinklens.family.StopTokens;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.VisionLanguageModel.VisionEncoder;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.projector.TilePacker;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.model.vision.VisionTransformer;
import io.sinklens.preprocessing.AnyResolution;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.Optional;
import java.util.Set;

/** A checkpoint, read and checked. */
final class OneVisionBlueprint implements Blueprint {
  private final CheckpointFolder folder;
  private final OneVisionConfig config;
  private final OneVisionTensorNames names;

  OneVisionBlueprint(CheckpointFolder folder, OneVisionConfig config) {
    this.folder = folder;
    this.config = config;
    names = new OneVisionTensorNames(config);
  }

  @Override
  public String family() {
    return OneVisionFamily.NAME;
  }

  @Override
  public LlamaConfig decoder() {
    return config.text();
  }

  @Override
  public String vision() {
    VisionConfig vision = config.vision();
    return "SigLIP, %d of %d layers, hidden %d, tiles of %d px in patches of %d, %d image tokens a tile"
        .formatted(
            config.visionLayers(),
            vision.numHiddenLayers(),
            vision.hiddenSize(),
            vision.imageSize(),
            vision.patchSize(),
            vision.patches());
  }

  @Override
  public long parameters() {
    return folder.elements(names::canonical);
  }

  @Override
  public ImageRule imageRule() {
    return config.imageRule();
  }

  @Override
  public Optional<ImageRule> imageRule(String name) {
    return switch (name) {
      case AnyResolution.NAME -> Optional.of(config.imageRule());
      case AnyResolution.HIGH_DEFINITION -> Optional.of(config.imageRule().highDefinition());
      default -> Optional.empty();
    };
  }

  @Override
  public PromptTemplate template() {
    return OneVisionTemplates.QWEN;
  }

  @Override
  public Optional<PromptTemplate> template(String name) {
    return OneVisionTemplates.named(name);
  }

  @Override
  public PromptEncoder.Settings prompts() {
    return new PromptEncoder.Settings(
        OneVisionTemplates.IMAGE.name(),
        config.imageToken(),
        PromptEncoder.Encoding.WHOLE,
        config.text().maxPositionEmbeddings());
  }

  @Override
  public Tokenizer openTokenizer() {
    return Tokenizer.open(folder.path());
  }

  /** Those of {@code generation_config.json}, else of the decoder's config. */
  @Override
  public Set<Integer> stopTokens() {
    return StopTokens.of(
        folder, Set.of(151645), folder.config().child("text_config")); // <|im_end|> of Qwen2.
  }

  @Override
  public VisionLanguageModel load(Operators operators, Dtype dtype) {
    Weights weights = Weights.open(folder, names::canonical, operators, dtype);
    VisionTransformer vision =
        new VisionTransformer(
            config.vision(), config.featureLayer(), weights.under("vit"), operators);
    MlpProjector projector =
        new MlpProjector(
            config.projector(),
            config.vision().hiddenSize(),
            config.text().hiddenSize(),
            weights.under("proj"),
            operators);
    TilePacker packer =
        new TilePacker(operators, weights.get("image_newline", config.text().hiddenSize()));
    LlamaDecoder decoder =
        new LlamaDecoder(config.text(), weights.under("lm"), weights, operators, dtype);
    weights.requireAllUsed();
    return new VisionLanguageModel(
        operators,
        dtype,
        VisionEncoder.joining(vision::encode),
        (features, window) -> packer.pack(projector.project(features), window),
        decoder);
  }
}

package io.sinklens.family.vila;

import ai.djl.ndarray.index.NDIndex;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.checkpoint.Weights;
import io.sinklens.family.Blueprint;
import io.sinklens.family.StopTokens;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.VisionLanguageModel.VisionEncoder;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.projector.ShuffleProjector;
import io.sinklens.model.projector.ShuffleProjector.Order;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.model.vision.VisionTransformer;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.ImageRule.PadToSquare;
import io.sinklens.preprocessing.ImageRule.Stretch;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.MergedPatches;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.Optional;
import java.util.Set;

/** A VILA1.5 checkpoint, read and checked. */
final class VilaBlueprint implements Blueprint {
  /** What VILA's code puts between the texts of a prompt for an image. */
  private static final int IMAGE_TOKEN_INDEX = -200;

  private final CheckpointFolder folder;
  private final VilaConfig config;
  private final VilaTensorNames names;
  private final Stretch stretch;
  private final ImageRule imageRule;

  VilaBlueprint(CheckpointFolder folder, VilaConfig config) {
    this.folder = folder;
    this.config = config;
    names = new VilaTensorNames(config);
    stretch = processor(VilaConfig.tower(folder), config.vision());
    ConfigJson json = folder.config();
    json.requireOneOf("image_aspect_ratio", "resize", "pad", "square");
    String aspect = json.text("image_aspect_ratio", "resize");
    imageRule = new MergedPatches(aspect.equals("pad") ? pad() : stretch);
  }

  /** SigLIP's own way, which is the one {@code image_aspect_ratio: resize} asks for. */
  private static Stretch processor(CheckpointFolder tower, VisionConfig vision) {
    ImageRule rule = ImageRules.fromCheckpoint(tower.path(), vision.patchSize());
    if (rule instanceof Stretch stretch && stretch.size() == vision.imageSize()) {
      return stretch;
    }
    throw new IllegalArgumentException(
        "Cannot use the image processor of %s: it does not stretch images to the %d pixels of its encoder"
            .formatted(tower.path(), vision.imageSize()));
  }

  private PadToSquare pad() {
    return new PadToSquare(stretch.size(), stretch.patchSize(), stretch.normalization());
  }

  @Override
  public String family() {
    return VilaFamily.NAME;
  }

  @Override
  public String layout() {
    return "original-in-parts";
  }

  @Override
  public LlamaConfig decoder() {
    return config.text();
  }

  @Override
  public String vision() {
    VisionConfig vision = config.vision();
    return "SigLIP, %d of %d layers, hidden %d, %d px in patches of %d, %d image tokens"
        .formatted(
            config.visionLayers(),
            vision.numHiddenLayers(),
            vision.hiddenSize(),
            vision.imageSize(),
            vision.patchSize(),
            config.imageTokens());
  }

  @Override
  public long parameters() {
    return folder.elements(names::canonical);
  }

  @Override
  public ImageRule imageRule() {
    return imageRule;
  }

  @Override
  public Optional<ImageRule> imageRule(String name) {
    return switch (name) {
      case "stretch" -> Optional.of(new MergedPatches(stretch));
      case "pad" -> Optional.of(new MergedPatches(pad()));
      default -> Optional.empty();
    };
  }

  @Override
  public PromptTemplate template() {
    return PromptTemplate.VICUNA_V1;
  }

  @Override
  public Optional<PromptTemplate> template(String name) {
    return switch (name) {
      case "vicuna-v1" -> Optional.of(PromptTemplate.VICUNA_V1);
      case "plain" -> Optional.of(PromptTemplate.PLAIN);
      default -> Optional.empty();
    };
  }

  @Override
  public PromptEncoder.Settings prompts() {
    return new PromptEncoder.Settings(
        "<image>",
        IMAGE_TOKEN_INDEX,
        PromptEncoder.Encoding.AROUND_IMAGE,
        config.text().maxPositionEmbeddings());
  }

  @Override
  public Tokenizer openTokenizer() {
    // The code of VILA asks for this whatever the folder says.
    return Tokenizer.open(VilaConfig.decoder(folder).path(), Tokenizer.Legacy.OFF);
  }

  /** Those of the decoder's {@code generation_config.json}, else of its config. */
  @Override
  public Set<Integer> stopTokens() {
    CheckpointFolder decoder = VilaConfig.decoder(folder);
    return StopTokens.of(decoder, Set.of(2), decoder.config()); // LLaMA's.
  }

  @Override
  public VisionLanguageModel load(Operators operators, Dtype dtype) {
    Weights weights = Weights.open(folder, names::canonical, operators, dtype);
    VisionTransformer vision =
        new VisionTransformer(
            config.vision(), config.featureLayer(), weights.under("vit"), operators);
    ShuffleProjector projector =
        new ShuffleProjector(
            config.vision().hiddenSize(),
            config.text().hiddenSize(),
            Order.COLUMN_MAJOR,
            weights.under("proj"),
            operators);
    LlamaDecoder decoder =
        new LlamaDecoder(config.text(), weights.under("lm"), weights, operators, dtype);
    weights.requireAllUsed();
    return new VisionLanguageModel(
        operators,
        dtype,
        VisionEncoder.joining(vision::encode),
        (features, window) -> projector.project(features).get(new NDIndex("0")),
        decoder);
  }
}

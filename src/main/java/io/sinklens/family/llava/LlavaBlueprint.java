package io.sinklens.family.llava;

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
import io.sinklens.preprocessing.AnyResolution.Packing;
import io.sinklens.preprocessing.AnyResolution.RowEnd;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Normalization;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.Optional;
import java.util.Set;

/** A checkpoint, read and checked. */
final class LlavaBlueprint implements Blueprint {
  private final CheckpointFolder folder;
  private final CheckpointLayout layout;
  private final LlavaConfig config;
  private final LlavaTensorNames names;

  LlavaBlueprint(CheckpointFolder folder, CheckpointLayout layout) {
    this.folder = folder;
    this.layout = layout;
    config = layout.config();
    names = new LlavaTensorNames(config);
  }

  @Override
  public String family() {
    return LlavaFamily.NAME;
  }

  @Override
  public String layout() {
    return layout.name();
  }

  @Override
  public LlamaConfig decoder() {
    return config.text();
  }

  @Override
  public String vision() {
    VisionConfig vision = config.vision();
    return "CLIP, %d of %d layers, hidden %d, %d px in patches of %d, %d image tokens%s"
        .formatted(
            config.visionLayers(),
            vision.numHiddenLayers(),
            vision.hiddenSize(),
            vision.imageSize(),
            vision.patchSize(),
            config.imageTokens(),
            layout.visionPath().equals(folder.path()) ? "" : ", from " + layout.visionPath());
  }

  @Override
  public long parameters() {
    return folder.elements(names::canonical);
  }

  @Override
  public ImageRule imageRule() {
    return layout.imageRule();
  }

  @Override
  public Optional<ImageRule> imageRule(String name) {
    int size = config.vision().imageSize();
    int patch = config.vision().patchSize();
    if (name.equals(AnyResolution.HIGH_DEFINITION)) {
      return Optional.of(highDefinition(size, patch));
    }
    Optional<ImageRule> rule =
        switch (name) {
          case "crop" ->
              Optional.of(new ImageRule.ResizeAndCrop(size, size, patch, Normalization.CLIP));
          case "pad" -> Optional.of(new ImageRule.PadToSquare(size, patch, Normalization.CLIP));
          case "stretch" -> Optional.of(new ImageRule.Stretch(size, patch, Normalization.CLIP));
          default -> Optional.empty();
        };
    return rule.map(layout::adopted);
  }

  /** Rows of tiles end with a token where the checkpoint has learned one. */
  private AnyResolution highDefinition(int size, int patch) {
    boolean hasRowEnd =
        folder.tensors().keySet().stream()
            .anyMatch(name -> names.canonical(name).equals(Optional.of(LlavaTensorNames.ROW_END)));
    return new AnyResolution(
        AnyResolution.HIGH_DEFINITION,
        AnyResolution.upToSixTiles(size),
        size,
        patch,
        Normalization.CLIP,
        new Packing(
            layout.tiling(), hasRowEnd ? RowEnd.PRESENT : RowEnd.ABSENT, Packing.UNLIMITED));
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
        "<image>", config.imageToken(), layout.encoding(), config.text().maxPositionEmbeddings());
  }

  @Override
  public Tokenizer openTokenizer() {
    return layout.openTokenizer();
  }

  /** Those of {@code generation_config.json}, else of the decoder's config. */
  @Override
  public Set<Integer> stopTokens() {
    return StopTokens.of(folder, Set.of(2), layout.decoder()); // LLaMA's.
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
    boolean hasRowEnd = weights.has(LlavaTensorNames.ROW_END);
    TilePacker packer =
        new TilePacker(
            operators,
            hasRowEnd ? weights.get(LlavaTensorNames.ROW_END, config.text().hiddenSize()) : null);
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

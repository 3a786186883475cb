package io.sinklens.family.qwen2vl;

import ai.djl.ndarray.types.Shape;
import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.ConfigJson;
import io.sinklens.checkpoint.Weights;
import io.sinklens.family.Blueprint;
import io.sinklens.family.StopTokens;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.RotaryPositions;
import io.sinklens.model.projector.PatchMerger;
import io.sinklens.model.vision.Qwen2VisionConfig;
import io.sinklens.model.vision.Qwen2VisionEncoder;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.ImageRules;
import io.sinklens.preprocessing.Piece;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** A Qwen2-VL checkpoint, read and checked. */
final class Qwen2VlBlueprint implements Blueprint {
  private static final String IMAGE = "<|image_pad|>";
  private static final String VIDEO = "<|video_pad|>";
  private static final Piece TURN = new Special("<|im_start|>");
  private static final Piece TURN_END = new Special("<|im_end|>");

  /** The chat template of the published checkpoints, with the system text it adds by itself. */
  private static final PromptTemplate TEMPLATE =
      new PromptTemplate(
          "qwen2-vl",
          List.of(
              TURN,
              new Text("system\nYou are a helpful assistant."),
              TURN_END,
              new Text("\n"),
              TURN,
              new Text("user\n"),
              new Special("<|vision_start|>"),
              new Special(IMAGE),
              new Special("<|vision_end|>")),
          List.of(TURN_END, new Text("\n"), TURN, new Text("assistant\n")),
          "");

  /** {@code <|im_end|>} and {@code <|endoftext|>} of the published checkpoints. */
  private static final Set<Integer> PUBLISHED_STOPS = Set.of(151645, 151643);

  private final CheckpointFolder folder;
  private final Qwen2VlConfig config;
  private final Qwen2VlTensorNames names;
  private final ImageRule imageRule;

  Qwen2VlBlueprint(CheckpointFolder folder, Qwen2VlConfig config) {
    this.folder = folder;
    this.config = config;
    names = new Qwen2VlTensorNames(config);
    imageRule = ImageRules.fromCheckpoint(folder.path(), config.vision().tokenSize());
  }

  @Override
  public String family() {
    return Qwen2VlFamily.NAME;
  }

  @Override
  public LlamaConfig decoder() {
    return config.text();
  }

  @Override
  public String vision() {
    Qwen2VisionConfig vision = config.vision();
    return "own resolution, %d blocks, hidden %d, patches of %d px, %d x %d of them an image token"
        .formatted(
            vision.depth(),
            vision.embedDim(),
            vision.patchSize(),
            vision.spatialMergeSize(),
            vision.spatialMergeSize());
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
    return name.equals(imageRule.name()) ? Optional.of(imageRule) : Optional.empty();
  }

  @Override
  public PromptTemplate template() {
    return TEMPLATE;
  }

  @Override
  public Optional<PromptTemplate> template(String name) {
    return name.equals(TEMPLATE.name()) ? Optional.of(TEMPLATE) : Optional.empty();
  }

  @Override
  public PromptEncoder.Settings prompts() {
    return new PromptEncoder.Settings(
        IMAGE,
        config.imageTokenId(),
        PromptEncoder.Encoding.WHOLE,
        config.text().maxPositionEmbeddings(),
        Set.of(VIDEO));
  }

  @Override
  public Tokenizer openTokenizer() {
    return Tokenizer.open(folder.path());
  }

  /** Those of {@code generation_config.json}, else of {@code config.json}. */
  @Override
  public Set<Integer> stopTokens() {
    ConfigJson root = folder.config();
    return StopTokens.of(
        folder, PUBLISHED_STOPS, root, root.optionalChild("text_config").orElse(root));
  }

  @Override
  public VisionLanguageModel load(Operators operators, Dtype dtype) {
    Qwen2VisionConfig shape = config.vision();
    Weights weights = Weights.open(folder, names::canonical, operators, dtype);
    Qwen2VisionEncoder vision =
        new Qwen2VisionEncoder(shape, weights.under("vit"), operators, dtype);
    PatchMerger merger =
        new PatchMerger(
            shape.embedDim(),
            shape.spatialMergeSize() * shape.spatialMergeSize(),
            config.text().hiddenSize(),
            PatchMerger.Norm.LAYER,
            weights.under("vit.merger"),
            operators);
    LlamaDecoder decoder =
        new LlamaDecoder(config.text(), weights.under("lm"), weights, operators, dtype);
    weights.requireAllUsed();
    return new VisionLanguageModel(
        operators,
        dtype,
        vision::encode,
        (features, window) -> merger.merge(features),
        this::positions,
        decoder);
  }

  /** A prompt's text stands in a line, its image as rows and columns behind it. */
  private RotaryPositions positions(int textTokens, int imageTokens, Shape pixels) {
    int tokenSize = config.vision().tokenSize();
    return RotaryPositions.withImage(
        textTokens, (int) pixels.get(2) / tokenSize, (int) pixels.get(3) / tokenSize);
  }
}

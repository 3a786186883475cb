package io.sinklens.family.internvl;

import io.sinklens.checkpoint.CheckpointFolder;
import io.sinklens.checkpoint.Weights;
import io.sinklens.family.Blueprint;
import io.sinklens.family.StopTokens;
import io.sinklens.family.internvl.InternVlConfig.Layout;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.VisionLanguageModel.VisionEncoder;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.projector.ShuffleProjector;
import io.sinklens.model.vision.VisionConfig;
import io.sinklens.model.vision.VisionConfig.Kind;
import io.sinklens.model.vision.VisionTransformer;
import io.sinklens.preprocessing.ImageRule;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.PromptEncoder;
import io.sinklens.preprocessing.PromptTemplate;
import io.sinklens.preprocessing.Tokenizer;
import io.sinklens.tensor.Dtype;
import io.sinklens.tensor.Operators;
import java.util.Collections;
import java.util.Optional;
import java.util.Set;

/** An InternVL checkpoint of either layout, read and checked. */
final class InternVlBlueprint implements Blueprint {
  private static final int LAST_LAYER = -1;

  private final CheckpointFolder folder;
  private final InternVlConfig config;
  private final InternVlTensorNames names;
  private final InternVlImages images;
  private final int imageTokenId;
  private final Set<Integer> stopTokens;

  InternVlBlueprint(CheckpointFolder folder, InternVlConfig config) {
    this.folder = folder;
    this.config = config;
    names = new InternVlTensorNames(config);
    images = new InternVlImages(folder, config);
    try (Tokenizer tokenizer = openTokenizer()) {
      imageTokenId = id(tokenizer, InternVlTemplates.IMAGE);
      if (config.layout() == Layout.TRANSFORMERS) {
        folder.config().requireOneOf("image_token_id", String.valueOf(imageTokenId));
      }
      stopTokens = stopTokens(tokenizer);
    }
  }

  @Override
  public String family() {
    return InternVlFamily.NAME;
  }

  @Override
  public String layout() {
    return config.layout() == Layout.ORIGINAL ? "original" : "transformers";
  }

  @Override
  public LlamaConfig decoder() {
    return config.text();
  }

  @Override
  public String vision() {
    VisionConfig vision = config.vision();
    return "InternViT%s, %d layers, hidden %d, %d px in patches of %d, %d image tokens a tile"
        .formatted(
            vision.kind() == Kind.INTERN_6B ? " as 6B" : "",
            vision.numHiddenLayers(),
            vision.hiddenSize(),
            vision.imageSize(),
            vision.patchSize(),
            config.tileTokens());
  }

  @Override
  public long parameters() {
    return folder.elements(names::canonical);
  }

  @Override
  public ImageRule imageRule() {
    return images.rule();
  }

  @Override
  public Optional<ImageRule> imageRule(String name) {
    return images.named(name);
  }

  @Override
  public PromptTemplate template() {
    return config.template();
  }

  @Override
  public Optional<PromptTemplate> template(String name) {
    return InternVlTemplates.named(name);
  }

  @Override
  public PromptEncoder.Settings prompts() {
    return new PromptEncoder.Settings(
        InternVlTemplates.IMAGE.name(),
        imageTokenId,
        PromptEncoder.Encoding.WHOLE,
        config.text().maxPositionEmbeddings());
  }

  @Override
  public Tokenizer openTokenizer() {
    return Tokenizer.open(folder.path());
  }

  @Override
  public Set<Integer> stopTokens() {
    return stopTokens;
  }

  /**
   * Those of {@code generation_config.json}. InternVL's own code stops at the end of a turn in any
   * case; transformers, without that file, where the decoder's config says.
   */
  private Set<Integer> stopTokens(Tokenizer tokenizer) {
    Set<Integer> stops = StopTokens.ofGeneration(folder);
    if (config.layout() == Layout.ORIGINAL) {
      stops.add(id(tokenizer, InternVlTemplates.END));
    } else if (stops.isEmpty()) {
      StopTokens.addTo(stops, folder.config().child("text_config"));
    }
    if (stops.isEmpty()) {
      stops.add(id(tokenizer, InternVlTemplates.END));
    }
    return Collections.unmodifiableSet(stops);
  }

  @Override
  public VisionLanguageModel load(Operators operators, Dtype dtype) {
    Weights weights = Weights.open(folder, names::canonical, operators, dtype);
    VisionTransformer vision =
        new VisionTransformer(config.vision(), LAST_LAYER, weights.under("vit"), operators);
    ShuffleProjector projector =
        new ShuffleProjector(
            config.vision().hiddenSize(),
            config.text().hiddenSize(),
            config.order(),
            weights.under("proj"),
            operators);
    LlamaDecoder decoder =
        new LlamaDecoder(config.text(), weights.under("lm"), weights, operators, dtype);
    weights.requireAllUsed();
    return new VisionLanguageModel(
        operators,
        dtype,
        VisionEncoder.joining(vision::encode),
        (features, window) -> projector.project(features).reshape(-1, config.text().hiddenSize()),
        decoder);
  }

  private int id(Tokenizer tokenizer, Special token) {
    return tokenizer
        .id(token.name())
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "Cannot use the tokenizer of %s: it has no token %s"
                        .formatted(folder.path(), token.name())));
  }
}

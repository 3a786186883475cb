package io.sinklens.pipeline;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a loaded model is, for manifests and for people.
 *
 * @param family such as {@code llava}
 * @param path the checkpoint folder
 * @param fingerprint SHA-256 over its settings and a sample of its weights
 * @param dtype what it computes in, such as {@code bfloat16}
 * @param device such as {@code cpu}
 * @param preset the model preset in use, or null
 * @param sinkDimensions the preset's, possibly none
 * @param sinkThreshold the preset's, or null
 * @param template the prompt template in use
 * @param imageRule how images become square
 * @param layers decoder layers
 * @param heads query heads of a layer
 * @param variants what each variant looks for, settings and preset taken together
 */
public record ModelFacts(
    String family,
    String path,
    String fingerprint,
    String dtype,
    String device,
    @Nullable String preset,
    List<Integer> sinkDimensions,
    @Nullable Double sinkThreshold,
    String template,
    String imageRule,
    int layers,
    int heads,
    List<VariantFacts> variants) {

  public ModelFacts {
    sinkDimensions = List.copyOf(sinkDimensions);
    variants = List.copyOf(variants);
  }

  /**
   * What a variant looks for.
   *
   * @param name the variant's name
   * @param sinkDimensions hidden dimensions that mark sinks; none where attention is not looked at
   * @param sinkThreshold sink value from which a token is a sink, or null where it is not looked at
   */
  public record VariantFacts(
      String name, List<Integer> sinkDimensions, @Nullable Double sinkThreshold) {
    public VariantFacts {
      sinkDimensions = List.copyOf(sinkDimensions);
    }
  }

  /** The same under another name of where it lies. */
  public ModelFacts withPath(String name) {
    return with(name, variants);
  }

  ModelFacts withVariants(List<VariantFacts> resolved) {
    return with(path, resolved);
  }

  private ModelFacts with(String name, List<VariantFacts> resolved) {
    return new ModelFacts(
        family,
        name,
        fingerprint,
        dtype,
        device,
        preset,
        sinkDimensions,
        sinkThreshold,
        template,
        imageRule,
        layers,
        heads,
        resolved);
  }
}

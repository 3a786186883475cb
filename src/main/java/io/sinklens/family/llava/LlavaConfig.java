package io.sinklens.family.llava;

import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.model.projector.MlpProjector;
import io.sinklens.model.vision.VisionConfig;

/**
 * What a checkpoint says of its network, whichever layout it has.
 *
 * @param vision the vision encoder
 * @param text the decoder
 * @param imageToken the id that stands for the image in prompts
 * @param featureLayer the hidden state of the encoder that the projector reads, from the end when
 *     negative
 * @param projector the projector
 */
record LlavaConfig(
    VisionConfig vision,
    LlamaConfig text,
    int imageToken,
    int featureLayer,
    MlpProjector.Shape projector) {

  LlavaConfig {
    vision.layersToRun(featureLayer);
  }

  /** Embeddings of one image: its patches, without the class token. */
  int imageTokens() {
    return vision.patches();
  }

  /** Encoder layers that run. */
  int visionLayers() {
    return vision.layersToRun(featureLayer);
  }
}

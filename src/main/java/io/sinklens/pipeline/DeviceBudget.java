package io.sinklens.pipeline;

import ai.djl.Device;
import io.sinklens.family.Blueprint;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.tensor.Devices;
import io.sinklens.tensor.Devices.DeviceMemory;
import io.sinklens.tensor.Dtype;
import java.util.Optional;

/** What fits into the memory of a device. */
final class DeviceBudget {
  /** Tokens under way where nobody says otherwise and memory does not decide. */
  static final int STANDARD_TOKENS = 16_384;

  /** More of them make no device faster. */
  private static final int MOST_TOKENS = 131_072;

  /** Of the memory that weights leave free, what keys and values may take; the rest is scratch. */
  private static final double SHARE_OF_FREE = 0.7;

  private DeviceBudget() {}

  /**
   * Refuses weights that do not fit into a GPU, before any of them is read.
   *
   * @throws IllegalArgumentException telling need and free bytes
   */
  static void requireRoom(Blueprint blueprint, Dtype dtype, Device device) {
    Optional<DeviceMemory> memory = Devices.memory(device);
    long needed = weightBytes(blueprint, dtype);
    if (memory.isPresent() && memory.get().free() < needed) {
      throw new IllegalArgumentException(
          "Cannot load the model on %s: its weights need %s, but %s of %s are free"
              .formatted(
                  Devices.name(device),
                  ByteSizes.show(needed),
                  ByteSizes.show(memory.get().free()),
                  ByteSizes.show(memory.get().total())));
    }
  }

  /** Tokens that may be under way together on a device that holds the weights already. */
  static int tokens(LlamaConfig decoder, Dtype dtype, Device device) {
    return Devices.memory(device)
        .map(memory -> (long) (memory.free() * SHARE_OF_FREE) / bytesPerToken(decoder, dtype))
        .map(tokens -> (int) Math.max(1, Math.min(tokens, MOST_TOKENS)))
        .orElse(STANDARD_TOKENS);
  }

  static long weightBytes(Blueprint blueprint, Dtype dtype) {
    return blueprint.parameters() * dtype.bytes();
  }

  /** Bytes of a token's keys and values. */
  static long bytesPerToken(LlamaConfig decoder, Dtype dtype) {
    return 2L
        * decoder.numHiddenLayers()
        * decoder.numKeyValueHeads()
        * decoder.headDim()
        * dtype.bytes();
  }
}

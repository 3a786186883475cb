package io.sinklens.tensor;

/** The floating-point types weights are stored and computed in. */
public enum Dtype {
  /** Parity: what every comparison with another implementation uses. */
  FLOAT32("F32", 6, 4),
  /** Stored by many checkpoints; its matrix products are slow on CPUs. */
  FLOAT16("F16", 5, 2),
  /** Speed: float32's range in half the bytes. */
  BFLOAT16("BF16", 15, 2);

  private final String safetensorsName;
  private final int torchNumber;
  private final int bytes;

  Dtype(String safetensorsName, int torchNumber, int bytes) {
    this.safetensorsName = safetensorsName;
    this.torchNumber = torchNumber;
    this.bytes = bytes;
  }

  /** The name in a safetensors header, such as {@code BF16}. */
  public String safetensorsName() {
    return safetensorsName;
  }

  /** Torch's number of this type, as operators take it. */
  int torchNumber() {
    return torchNumber;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }
}

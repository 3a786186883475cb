package io.sinklens.checkpoint;

import java.nio.file.Path;
import java.util.SortedMap;

/** One file of weights, read as far as is needed to know where its tensors lie. */
sealed interface WeightFile permits SafetensorsHeader, PickledTensors {

  Path file();

  /** The tensors by name, each inside this file. */
  SortedMap<String, TensorInfo> tensors();

  /** Where the part begins that tells what the file holds. */
  long headerBegin();

  /** Where that part ends; all tensors lie behind it. */
  long dataBegin();
}

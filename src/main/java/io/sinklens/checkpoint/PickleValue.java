package io.sinklens.checkpoint;

import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * What a pickle of tensors is made of: plain data, and descriptions of tensors whose numbers stay
 * in the file.
 *
 * <p>Lists and dicts may hold themselves, so values are never compared or hashed, and never walked
 * by recursion.
 */
sealed interface PickleValue {

  /** What it is, for messages. */
  String kind();

  /** None, of which there is one. */
  enum Nothing implements PickleValue {
    NONE;

    @Override
    public String kind() {
      return "None";
    }
  }

  record Text(String text) implements PickleValue {
    @Override
    public String kind() {
      return "a string";
    }
  }

  record Whole(long number) implements PickleValue {
    @Override
    public String kind() {
      return "an integer";
    }
  }

  record Fraction(double number) implements PickleValue {
    @Override
    public String kind() {
      return "a number";
    }
  }

  record Flag(boolean isSet) implements PickleValue {
    @Override
    public String kind() {
      return "a truth value";
    }
  }

  record Tuple(List<PickleValue> values) implements PickleValue {
    @Override
    public String kind() {
      return "a tuple";
    }
  }

  /** A list, which may still grow. */
  record Items(List<PickleValue> values) implements PickleValue {
    Items() {
      this(new ArrayList<>());
    }

    @Override
    public String kind() {
      return "a list";
    }
  }

  /** A dict, which may still grow. */
  record Dict(Map<String, PickleValue> values) implements PickleValue {
    Dict() {
      this(new LinkedHashMap<>());
    }

    @Override
    public String kind() {
      return "a dict";
    }
  }

  /** An entry of the zip file as a row of elements. */
  record Storage(Global type, String key, long elements) implements PickleValue {
    @Override
    public String kind() {
      return "a storage";
    }
  }

  /** A view of a storage; nothing about it has been checked. */
  record Tensor(Storage storage, long offset, List<Long> shape, List<Long> strides)
      implements PickleValue {
    @Override
    public String kind() {
      return "a tensor";
    }
  }

  /**
   * The only names of Python a pickle may say. They are constants here: what each stands for is
   * written in {@link PickleMachine}, and nothing is looked up by name.
   */
  enum Global implements PickleValue {
    ORDERED_DICT("collections.OrderedDict"),
    REBUILD_TENSOR("torch._utils._rebuild_tensor_v2"),
    REBUILD_PARAMETER("torch._utils._rebuild_parameter"),
    FLOAT("torch.FloatStorage", "F32", 4),
    HALF("torch.HalfStorage", "F16", 2),
    BFLOAT16("torch.BFloat16Storage", "BF16", 2),
    DOUBLE("torch.DoubleStorage", "F64", 8),
    LONG("torch.LongStorage", "I64", 8),
    INT("torch.IntStorage", "I32", 4),
    SHORT("torch.ShortStorage", "I16", 2),
    CHAR("torch.CharStorage", "I8", 1),
    BYTE("torch.ByteStorage", "U8", 1),
    BOOL("torch.BoolStorage", "BOOL", 1);

    private final String fullName;
    private final String dtype;
    private final int elementBytes;

    Global(String fullName) {
      this(fullName, "", 0);
    }

    Global(String fullName, String dtype, int elementBytes) {
      this.fullName = fullName;
      this.dtype = dtype;
      this.elementBytes = elementBytes;
    }

    static Optional<Global> of(String fullName) {
      for (Global global : values()) {
        if (global.fullName.equals(fullName)) {
          return Optional.of(global);
        }
      }
      return Optional.empty();
    }

    boolean isStorageType() {
      return elementBytes > 0;
    }

    /** The name safetensors gives the elements of a storage type. */
    String dtype() {
      return dtype;
    }

    int elementBytes() {
      return elementBytes;
    }

    String fullName() {
      return fullName;
    }

    @Override
    public String kind() {
      return fullName;
    }
  }

  /** Finds out whether values hold nothing but plain data, looking at each only once. */
  final class PlainData {
    private final Set<PickleValue> seen = Collections.newSetFromMap(new IdentityHashMap<>());

    /** Whether neither the value nor anything in it is a tensor, a storage or a global. */
    boolean isPlain(PickleValue value) {
      List<PickleValue> open = new ArrayList<>();
      open.add(value);
      while (!open.isEmpty()) {
        PickleValue next = open.remove(open.size() - 1);
        if (next instanceof Tensor || next instanceof Storage || next instanceof Global) {
          return false;
        }
        if (seen.add(next)) {
          if (next instanceof Tuple tuple) {
            open.addAll(tuple.values);
          } else if (next instanceof Items items) {
            open.addAll(items.values);
          } else if (next instanceof Dict dict) {
            open.addAll(dict.values.values());
          }
        }
      }
      return true;
    }
  }
}

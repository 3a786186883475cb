package io.sinklens.checkpoint;

import io.sinklens.checkpoint.PickleValue.Dict;
import io.sinklens.checkpoint.PickleValue.Flag;
import io.sinklens.checkpoint.PickleValue.Fraction;
import io.sinklens.checkpoint.PickleValue.Global;
import io.sinklens.checkpoint.PickleValue.Items;
import io.sinklens.checkpoint.PickleValue.Nothing;
import io.sinklens.checkpoint.PickleValue.Storage;
import io.sinklens.checkpoint.PickleValue.Tensor;
import io.sinklens.checkpoint.PickleValue.Text;
import io.sinklens.checkpoint.PickleValue.Tuple;
import io.sinklens.checkpoint.PickleValue.Whole;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Reads the pickle of a dict of tensors and can do nothing else.
 *
 * <p>A pickle is a program for a machine with a stack. This machine knows the instructions that
 * {@code torch.save} writes for tensors and plain data, and as callables the three of {@link
 * Global}, each of which is a method below; every other instruction and name is refused. A step
 * makes one value at most and never copies what others made, so memory and time are bounded by the
 * number of steps.
 *
 * <p>Source: {@code pickletools} of Python 3.11; {@code _save} in torch 2.7 {@code
 * serialization.py}.
 */
final class PickleMachine {
  static final int MAX_VALUES = 2_000_000;

  private static final int PROTOCOL = 2;
  private static final int MAX_LINE_BYTES = 256;
  private static final int REBUILD_ARGUMENTS = 6;
  private static final int STORAGE_PARTS = 5;
  private static final String METADATA = "_metadata";

  private final Path file;
  private final ByteBuffer pickle;
  private final List<PickleValue> stack = new ArrayList<>();

  /** Sizes the stack had at each open mark. */
  private final Deque<Integer> marks = new ArrayDeque<>();

  private final Map<Integer, PickleValue> memo = new HashMap<>();
  private int made;

  private PickleMachine(Path file, byte[] pickle) {
    this.file = file;
    this.pickle = ByteBuffer.wrap(pickle).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * The value a pickle describes.
   *
   * @param file for messages
   * @throws IllegalArgumentException if the pickle is damaged or does anything but describe tensors
   */
  static PickleValue read(Path file, byte[] pickle) {
    return new PickleMachine(file, pickle).run();
  }

  private PickleValue run() {
    if (unsigned1() != PickleOpcode.PROTO.code()) {
      throw refusal("its data.pkl does not begin like a pickle");
    }
    int protocol = unsigned1();
    if (protocol != PROTOCOL) {
      throw refusal("its pickle has protocol %d, not %d".formatted(protocol, PROTOCOL));
    }
    PickleOpcode opcode = next();
    while (opcode != PickleOpcode.STOP) {
      step(opcode);
      opcode = next();
    }
    PickleValue root = pop();
    if (!stack.isEmpty() || !marks.isEmpty()) {
      throw refusal("its pickle leaves %d values behind".formatted(stack.size() + marks.size()));
    }
    if (pickle.hasRemaining()) {
      throw refusal("%d bytes follow the end of its pickle".formatted(pickle.remaining()));
    }
    return root;
  }

  private PickleOpcode next() {
    int place = pickle.position();
    int code = unsigned1();
    return PickleOpcode.of(code)
        .orElseThrow(
            () -> refusal("byte %d of its pickle is no opcode: 0x%02x".formatted(place, code)));
  }

  private void step(PickleOpcode opcode) {
    switch (opcode) {
      case NONE -> push(Nothing.NONE);
      case NEWTRUE -> push(new Flag(true));
      case NEWFALSE -> push(new Flag(false));
      case BININT -> push(new Whole(take(Integer.BYTES).getInt()));
      case BININT1 -> push(new Whole(unsigned1()));
      case BININT2 -> push(new Whole(Short.toUnsignedInt(take(Short.BYTES).getShort())));
      case LONG1 -> push(new Whole(longInteger()));
      case BINFLOAT ->
          push(new Fraction(take(Double.BYTES).order(ByteOrder.BIG_ENDIAN).getDouble()));
      case BINUNICODE -> push(new Text(utf8(take(unsigned4()))));
      case EMPTY_TUPLE -> push(new Tuple(List.of()));
      case TUPLE1 -> push(new Tuple(popLast(1)));
      case TUPLE2 -> push(new Tuple(popLast(2)));
      case TUPLE3 -> push(new Tuple(popLast(3)));
      case TUPLE -> push(new Tuple(popToMark()));
      case EMPTY_LIST -> push(new Items());
      case APPEND -> append(popLast(1));
      case APPENDS -> append(popToMark());
      case EMPTY_DICT -> push(new Dict());
      case SETITEM -> set(popLast(2));
      case SETITEMS -> set(popToMark());
      case MARK -> mark();
      case BINPUT -> remember(unsigned1());
      case LONG_BINPUT -> remember(take(Integer.BYTES).getInt());
      case BINGET -> recall(unsigned1());
      case LONG_BINGET -> recall(take(Integer.BYTES).getInt());
      case GLOBAL -> push(global());
      case REDUCE -> {
        List<PickleValue> call = popLast(2);
        push(called(call.get(0), call.get(1)));
      }
      case BINPERSID -> push(storage(pop()));
      case BUILD -> dropMetadata(pop());
      case STOP,
          POP,
          POP_MARK,
          DUP,
          FLOAT,
          INT,
          LONG,
          PERSID,
          STRING,
          BINSTRING,
          SHORT_BINSTRING,
          UNICODE,
          DICT,
          GET,
          INST,
          LIST,
          OBJ,
          PUT,
          PROTO,
          NEWOBJ,
          EXT1,
          EXT2,
          EXT4,
          LONG4,
          BINBYTES,
          SHORT_BINBYTES,
          SHORT_BINUNICODE,
          BINUNICODE8,
          BINBYTES8,
          EMPTY_SET,
          ADDITEMS,
          FROZENSET,
          NEWOBJ_EX,
          STACK_GLOBAL,
          MEMOIZE,
          FRAME,
          BYTEARRAY8,
          NEXT_BUFFER,
          READONLY_BUFFER ->
          throw notTensors("uses opcode " + opcode);
    }
  }

  // ------------------------------------------------------------------------------ callables

  private Global global() {
    String name = line() + "." + line();
    return Global.of(name).orElseThrow(() -> notTensors("calls " + StrictJson.shown(name)));
  }

  private PickleValue called(PickleValue callable, PickleValue arguments) {
    if (!(callable instanceof Global global) || global.isStorageType()) {
      throw notTensors("calls " + callable.kind());
    }
    if (!(arguments instanceof Tuple tuple)) {
      throw notTensors("calls %s with %s".formatted(global.fullName(), arguments.kind()));
    }
    List<PickleValue> values = tuple.values();
    return switch (global) {
      case ORDERED_DICT -> orderedDict(values);
      case REBUILD_TENSOR -> tensor(values);
      case REBUILD_PARAMETER -> parameter(values);
      case FLOAT, HALF, BFLOAT16, DOUBLE, LONG, INT, SHORT, CHAR, BYTE, BOOL ->
          throw notTensors("calls " + global.fullName());
    };
  }

  private Dict orderedDict(List<PickleValue> arguments) {
    if (!arguments.isEmpty()) {
      throw unexpected(Global.ORDERED_DICT, "()", arguments);
    }
    return new Dict();
  }

  private Tensor tensor(List<PickleValue> arguments) {
    if (arguments.size() == REBUILD_ARGUMENTS
        && arguments.get(0) instanceof Storage storage
        && arguments.get(1) instanceof Whole offset
        && arguments.get(2) instanceof Tuple shape
        && arguments.get(3) instanceof Tuple strides
        && arguments.get(4) instanceof Flag
        && arguments.get(5) instanceof Dict hooks
        && hooks.values().isEmpty()) {
      return new Tensor(storage, offset.number(), numbers(shape), numbers(strides));
    }
    throw unexpected(
        Global.REBUILD_TENSOR,
        "(storage, offset, shape, strides, requires_grad, no hooks)",
        arguments);
  }

  /** Copies, and is therefore bounded: one long tuple could be recalled for every tensor. */
  private List<Long> numbers(Tuple tuple) {
    if (tuple.values().size() > SafetensorsHeader.MAX_DIMENSIONS) {
      throw refusal(
          "its pickle has a shape or strides of %d numbers, more than %d"
              .formatted(tuple.values().size(), SafetensorsHeader.MAX_DIMENSIONS));
    }
    List<Long> numbers = new ArrayList<>(tuple.values().size());
    for (PickleValue value : tuple.values()) {
      if (!(value instanceof Whole whole)) {
        throw refusal("its pickle has %s in a shape or in strides".formatted(value.kind()));
      }
      numbers.add(whole.number());
    }
    return List.copyOf(numbers);
  }

  /** A parameter is a tensor here. */
  private Tensor parameter(List<PickleValue> arguments) {
    if (arguments.size() == 3
        && arguments.get(0) instanceof Tensor tensor
        && arguments.get(1) instanceof Flag
        && arguments.get(2) instanceof Dict hooks
        && hooks.values().isEmpty()) {
      return tensor;
    }
    throw unexpected(Global.REBUILD_PARAMETER, "(tensor, requires_grad, no hooks)", arguments);
  }

  /** Torch keeps storages beside the pickle and refers to them by five facts. */
  private Storage storage(PickleValue reference) {
    List<PickleValue> parts = reference instanceof Tuple tuple ? tuple.values() : List.of();
    if (parts.size() == STORAGE_PARTS
        && parts.get(0) instanceof Text what
        && what.text().equals("storage")
        && parts.get(1) instanceof Global type
        && type.isStorageType()
        && parts.get(2) instanceof Text key
        && parts.get(3) instanceof Text
        && parts.get(4) instanceof Whole elements) {
      if (!key.text().matches("[0-9]{1,20}")) {
        throw refusal(
            "the key of a storage must be digits, not '%s'"
                .formatted(StrictJson.shown(key.text())));
      }
      return new Storage(type, key.text(), elements.number());
    }
    throw notTensors("refers to %s that is no storage".formatted(reference.kind()));
  }

  /** A state dict has its modules' versions as an attribute, which nothing here needs. */
  private void dropMetadata(PickleValue state) {
    if (!(state instanceof Dict attributes)
        || !attributes.values().keySet().equals(Set.of(METADATA))
        || !(top() instanceof Dict)) {
      throw notTensors("uses opcode BUILD for more than the %s of a dict".formatted(METADATA));
    }
  }

  // ------------------------------------------------------------------------ stack and memo

  private void push(PickleValue value) {
    count();
    stack.add(value);
  }

  private void mark() {
    count();
    marks.push(stack.size());
  }

  private void count() {
    made++;
    if (made > MAX_VALUES) {
      throw refusal("its pickle makes more than %d values".formatted(MAX_VALUES));
    }
  }

  private PickleValue pop() {
    return popLast(1).get(0);
  }

  private PickleValue top() {
    requireOnStack(1);
    return stack.get(stack.size() - 1);
  }

  private List<PickleValue> popLast(int count) {
    requireOnStack(count);
    return popFrom(stack.size() - count);
  }

  private void requireOnStack(int count) {
    int bottom = marks.isEmpty() ? 0 : marks.peek();
    if (stack.size() - bottom < count) {
      throw refusal("its pickle takes values from an empty stack" + place());
    }
  }

  private List<PickleValue> popToMark() {
    if (marks.isEmpty()) {
      throw refusal("its pickle ends a list of values it did not begin" + place());
    }
    return popFrom(marks.pop());
  }

  private List<PickleValue> popFrom(int begin) {
    List<PickleValue> last = stack.subList(begin, stack.size());
    List<PickleValue> values = List.copyOf(last);
    last.clear();
    return values;
  }

  private void append(List<PickleValue> values) {
    if (!(top() instanceof Items items)) {
      throw refusal("its pickle appends to " + top().kind() + place());
    }
    items.values().addAll(values);
  }

  private void set(List<PickleValue> keysAndValues) {
    if (!(top() instanceof Dict dict)) {
      throw refusal("its pickle sets an item of " + top().kind() + place());
    }
    if (keysAndValues.size() % 2 != 0) {
      throw refusal("its pickle has a key without a value" + place());
    }
    for (int i = 0; i < keysAndValues.size(); i += 2) {
      if (!(keysAndValues.get(i) instanceof Text key)) {
        throw refusal("its pickle has %s as a key".formatted(keysAndValues.get(i).kind()));
      }
      if (dict.values().put(key.text(), keysAndValues.get(i + 1)) != null) {
        throw refusal("its pickle has the key %s twice".formatted(StrictJson.shown(key.text())));
      }
    }
  }

  private void remember(int number) {
    memo.put(number, top());
  }

  private void recall(int number) {
    PickleValue value = memo.get(number);
    if (value == null) {
      throw refusal(
          "its pickle recalls value %s, which it did not keep"
              .formatted(Integer.toUnsignedString(number)));
    }
    push(value);
  }

  // -------------------------------------------------------------------------------- operands

  private int unsigned1() {
    return Byte.toUnsignedInt(take(1).get());
  }

  private long unsigned4() {
    return Integer.toUnsignedLong(take(Integer.BYTES).getInt());
  }

  private long longInteger() {
    int length = unsigned1();
    if (length > Long.BYTES) {
      throw refusal("its pickle has an integer of %d bytes, more than 8".formatted(length));
    }
    ByteBuffer bytes = take(length);
    long value = 0;
    for (int i = length - 1; i >= 0; i--) {
      int each = bytes.get(i);
      value = i == length - 1 ? each : value << 8 | (each & 0xff);
    }
    return value;
  }

  private String utf8(ByteBuffer bytes) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw refusal("its pickle has a string that is not UTF-8" + place());
    }
  }

  private String line() {
    int begin = pickle.position();
    int end = begin;
    while (end < pickle.limit() && end - begin <= MAX_LINE_BYTES && pickle.get(end) != '\n') {
      end++;
    }
    if (end - begin > MAX_LINE_BYTES) {
      throw refusal("its pickle has a name of more than %d bytes".formatted(MAX_LINE_BYTES));
    }
    String line = utf8(take(end - begin));
    take(1);
    return line;
  }

  private ByteBuffer take(long length) {
    if (length > pickle.remaining()) {
      throw refusal(
          "its pickle is cut off: %d bytes are wanted at byte %d, %d are left"
              .formatted(length, pickle.position(), pickle.remaining()));
    }
    ByteBuffer taken = pickle.slice(pickle.position(), (int) length).order(ByteOrder.LITTLE_ENDIAN);
    pickle.position(pickle.position() + (int) length);
    return taken;
  }

  // -------------------------------------------------------------------------------- refusals

  private String place() {
    return " before byte " + pickle.position();
  }

  private IllegalArgumentException unexpected(
      Global global, String expected, List<PickleValue> arguments) {
    String kinds = String.join(", ", arguments.stream().limit(8).map(PickleValue::kind).toList());
    return refusal(
        "its pickle calls %s with %d arguments (%s), not with %s"
            .formatted(global.fullName(), arguments.size(), kinds, expected));
  }

  private IllegalArgumentException notTensors(String does) {
    return refusal("its pickle %s, and only tensors are allowed".formatted(does));
  }

  private IllegalArgumentException refusal(String reason) {
    return StrictJson.refusal(file, reason);
  }
}

package io.sinklens.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.sinklens.checkpoint.PickleValue.Dict;
import io.sinklens.checkpoint.PickleValue.Flag;
import io.sinklens.checkpoint.PickleValue.Fraction;
import io.sinklens.checkpoint.PickleValue.Global;
import io.sinklens.checkpoint.PickleValue.Items;
import io.sinklens.checkpoint.PickleValue.Nothing;
import io.sinklens.checkpoint.PickleValue.PlainData;
import io.sinklens.checkpoint.PickleValue.Storage;
import io.sinklens.checkpoint.PickleValue.Tensor;
import io.sinklens.checkpoint.PickleValue.Text;
import io.sinklens.checkpoint.PickleValue.Tuple;
import io.sinklens.checkpoint.PickleValue.Whole;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pickles written opcode by opcode, most of them hostile. */
class PickleMachineTest {
  private static final Path FILE = Path.of("pytorch_model.bin");
  private static final long[] SIX = {6};
  private static final long[] ONE = {1};

  @Test
  void readsPlainData() {
    RawPickle pickle =
        new RawPickle()
            .op("](N")
            .raw(0x88, 0x89) // True, False
            .op("K")
            .raw(200)
            .op("M")
            .raw(0xff, 0xff)
            .op("J")
            .number(-3)
            .raw(0x8a, 0) // An integer of no bytes is 0.
            .whole(-1)
            .whole(Long.MIN_VALUE)
            .op("G")
            .raw(0x3f, 0xf8, 0, 0, 0, 0, 0, 0)
            .text("größe 图")
            .op(")")
            .whole(1)
            .raw(0x85) // TUPLE1
            .op("}")
            .text("a")
            .whole(2)
            .op("se");

    assertThat(read(pickle.end()))
        .usingRecursiveComparison()
        .isEqualTo(
            items(
                Nothing.NONE,
                new Flag(true),
                new Flag(false),
                new Whole(200),
                new Whole(65535),
                new Whole(-3),
                new Whole(0),
                new Whole(-1),
                new Whole(Long.MIN_VALUE),
                new Fraction(1.5),
                new Text("größe 图"),
                new Tuple(List.of()),
                new Tuple(List.of(new Whole(1))),
                dict("a", new Whole(2))));
  }

  @Test
  void readsTensorsAndParametersWithoutTheirNumbers() {
    RawPickle storage = new RawPickle().floats("12", 6);
    RawPickle pickle =
        new RawPickle()
            .op("}(")
            .text("a")
            .tensor(storage, 2, new long[] {2, 2}, new long[] {2, 1})
            .text("b")
            .global("torch._utils", "_rebuild_parameter")
            .op("(")
            .tensor(storage, 0, SIX, ONE)
            .raw(0x88)
            .global("collections", "OrderedDict")
            .op(")RtRu");

    Storage floats = new Storage(Global.FLOAT, "12", 6);
    Dict expected = dict("a", new Tensor(floats, 2, List.of(2L, 2L), List.of(2L, 1L)));
    expected.values().put("b", new Tensor(floats, 0, List.of(6L), List.of(1L)));
    assertThat(read(pickle.end())).usingRecursiveComparison().isEqualTo(expected);
  }

  @Test
  void recallsWhatWasKept() {
    RawPickle pickle =
        new RawPickle()
            .op("](")
            .text("one")
            .op("q")
            .raw(7)
            .text("two")
            .op("r")
            .number(-1) // The largest number there is, 4294967295.
            .op("h")
            .raw(7)
            .op("j")
            .number(-1)
            .op("e");

    assertThat(read(pickle.end()))
        .usingRecursiveComparison()
        .isEqualTo(items(new Text("one"), new Text("two"), new Text("one"), new Text("two")));
  }

  @Test
  void dropsTheModuleVersionsOfAStateDict() {
    RawPickle pickle =
        new RawPickle().op("}}").text("_metadata").op("}").text("").whole(1).op("ssb");

    assertThat(read(pickle.end())).usingRecursiveComparison().isEqualTo(new Dict());
  }

  @ParameterizedTest
  @CsvSource({
    "os, system",
    "posix, system",
    "nt, system",
    "subprocess, Popen",
    "builtins, eval",
    "builtins, exec",
    "builtins, getattr",
    "__builtin__, eval",
    "__builtin__, print",
    "importlib, import_module",
    "runpy, _run_code",
    "torch, load",
    "torch.storage, _load_from_bytes",
    "torch.jit, load",
    "torch.hub, load",
    "torch._utils, _rebuild_tensor_v3",
    "torch._utils, _rebuild_sparse_tensor",
    "torch._utils, _rebuild_parameter_with_state",
    "torch._tensor, _rebuild_from_type_v2",
    "torch.nn.modules.linear, Linear",
    "torch, ComplexFloatStorage",
    "torch, Tensor",
    "numpy.core.multiarray, _reconstruct",
    "_codecs, encode",
    "collections, OrderedDict.fromkeys",
    "collections, defaultdict",
    "operator, attrgetter",
    "java.lang.Runtime, getRuntime"
  })
  void refusesEveryOtherNameWhetherCalledOrNot(String module, String name) {
    String reason = "its pickle calls %s.%s, and only tensors are allowed".formatted(module, name);

    assertRefused(new RawPickle().global(module, name).op("(").text("true").op("tR").end(), reason);
    assertRefused(new RawPickle().global(module, name).op("0}").end(), reason);
  }

  @Test
  void namesAHostileNameOnOneLine() {
    assertRefused(
        new RawPickle().global("o\rs\u2028", "sys\u0000tem").end(),
        "its pickle calls o?s?.sys?tem, and only tensors are allowed");
    assertRefused(
        new RawPickle().global("a".repeat(300), "b").end(),
        "its pickle has a name of more than 256 bytes");
  }

  /** All that a pickle may say and this machine does not, with a stack that would let it. */
  @Test
  void refusesEveryOtherOpcodeByName() {
    Set<PickleOpcode> refused = EnumSet.noneOf(PickleOpcode.class);
    for (PickleOpcode opcode : PickleOpcode.values()) {
      RawPickle pickle =
          new RawPickle()
              .text("os")
              .text("system")
              .op("(")
              .text("a")
              .text("b")
              .text("c")
              .raw(opcode.code(), 0, 0, 0, 0, 0, 0, 0, 0);
      try {
        read(pickle.end());
      } catch (IllegalArgumentException e) {
        String message =
            "Cannot read %s: its pickle uses opcode %s, and only tensors are allowed"
                .formatted(FILE, opcode);
        if (message.equals(e.getMessage())) {
          refused.add(opcode);
        }
      }
    }

    assertThat(EnumSet.complementOf(EnumSet.copyOf(refused)))
        .containsExactlyInAnyOrder(
            PickleOpcode.NONE,
            PickleOpcode.NEWTRUE,
            PickleOpcode.NEWFALSE,
            PickleOpcode.BININT,
            PickleOpcode.BININT1,
            PickleOpcode.BININT2,
            PickleOpcode.LONG1,
            PickleOpcode.BINFLOAT,
            PickleOpcode.BINUNICODE,
            PickleOpcode.EMPTY_TUPLE,
            PickleOpcode.TUPLE1,
            PickleOpcode.TUPLE2,
            PickleOpcode.TUPLE3,
            PickleOpcode.TUPLE,
            PickleOpcode.EMPTY_LIST,
            PickleOpcode.APPEND,
            PickleOpcode.APPENDS,
            PickleOpcode.EMPTY_DICT,
            PickleOpcode.SETITEM,
            PickleOpcode.SETITEMS,
            PickleOpcode.MARK,
            PickleOpcode.BINPUT,
            PickleOpcode.LONG_BINPUT,
            PickleOpcode.BINGET,
            PickleOpcode.LONG_BINGET,
            PickleOpcode.GLOBAL,
            PickleOpcode.REDUCE,
            PickleOpcode.BINPERSID,
            PickleOpcode.BUILD,
            PickleOpcode.STOP);
  }

  @Test
  void refusesBytesThatAreNoOpcode() {
    int refused = 0;
    for (int code = 0; code < 256; code++) {
      if (PickleOpcode.of(code).isEmpty()) {
        assertRefused(
            new RawPickle().raw(code).end(),
            "byte 2 of its pickle is no opcode: 0x%02x".formatted(code));
        refused++;
      }
    }
    assertThat(refused).isEqualTo(256 - 68); // Python 3.11's pickletools know 68.
  }

  /** The known ways to run code, each in the shape a pickle would have it. */
  static Stream<Arguments> attacks() {
    RawPickle argument = new RawPickle().op("(").text("touch x").op("t");
    return Stream.of(
        refused(
            "os.system by REDUCE",
            new RawPickle().global("os", "system").rest(argument).op("R"),
            "its pickle calls os.system, and only tensors are allowed"),
        refused(
            "builtins.eval by STACK_GLOBAL",
            new RawPickle().text("builtins").text("eval").raw(0x93).rest(argument).op("R"),
            "its pickle uses opcode STACK_GLOBAL, and only tensors are allowed"),
        refused(
            "the same with short strings",
            new RawPickle().raw(0x8c, 2, 'o', 's', 0x8c, 6).op("system").raw(0x93),
            "its pickle uses opcode SHORT_BINUNICODE, and only tensors are allowed"),
        refused(
            "os.system by INST",
            new RawPickle().op("(").text("touch x").op("ios\nsystem\n"),
            "its pickle uses opcode INST, and only tensors are allowed"),
        refused(
            "a class by OBJ",
            new RawPickle().op("(").global("collections", "OrderedDict").text("x").op("o"),
            "its pickle uses opcode OBJ, and only tensors are allowed"),
        refused(
            "a class by NEWOBJ",
            new RawPickle().global("collections", "OrderedDict").op(")").raw(0x81),
            "its pickle uses opcode NEWOBJ, and only tensors are allowed"),
        refused(
            "a class by NEWOBJ_EX",
            new RawPickle().global("collections", "OrderedDict").op(")}").raw(0x92),
            "its pickle uses opcode NEWOBJ_EX, and only tensors are allowed"),
        refused(
            "the extension registry",
            new RawPickle().raw(0x82, 1),
            "its pickle uses opcode EXT1, and only tensors are allowed"),
        refused(
            "a text persistent id",
            new RawPickle().op("Pstorage\n"),
            "its pickle uses opcode PERSID, and only tensors are allowed"),
        refused(
            "attributes by BUILD",
            new RawPickle().op("}}").text("__class__").text("x").op("sb"),
            "its pickle uses opcode BUILD for more than the _metadata of a dict, and only tensors"
                + " are allowed"),
        refused(
            "attributes beside the metadata",
            new RawPickle().op("}}(").text("_metadata").op("}").text("b").op("}ub"),
            "its pickle uses opcode BUILD for more than the _metadata of a dict, and only tensors"
                + " are allowed"),
        refused(
            "metadata of a tensor",
            new RawPickle()
                .tensor(new RawPickle().floats("0", 6), 0, SIX, ONE)
                .op("}")
                .text("_metadata")
                .op("Nsb"),
            "its pickle uses opcode BUILD for more than the _metadata of a dict, and only tensors"
                + " are allowed"),
        refused(
            "state by a tuple",
            new RawPickle().op("}N}").raw(0x86).op("b"),
            "its pickle uses opcode BUILD for more than the _metadata of a dict, and only tensors"
                + " are allowed"),
        refused(
            "a call of a string",
            new RawPickle().text("os.system").rest(argument).op("R"),
            "its pickle calls a string, and only tensors are allowed"),
        refused(
            "a call of a storage type",
            new RawPickle().global("torch", "FloatStorage").rest(argument).op("R"),
            "its pickle calls torch.FloatStorage, and only tensors are allowed"),
        refused(
            "a call without a tuple",
            new RawPickle().global("collections", "OrderedDict").op("]R"),
            "its pickle calls collections.OrderedDict with a list, and only tensors are allowed"),
        refused(
            "an ordered dict of something",
            new RawPickle().global("collections", "OrderedDict").op("(]tR"),
            "its pickle calls collections.OrderedDict with 1 arguments (a list), not with ()"),
        refused(
            "a tensor with hooks",
            new RawPickle()
                .global("torch._utils", "_rebuild_tensor_v2")
                .op("(")
                .floats("0", 6)
                .whole(0)
                .wholes(6)
                .wholes(1)
                .raw(0x89)
                .op("}")
                .text("hook")
                .text("x")
                .op("stR"),
            "its pickle calls torch._utils._rebuild_tensor_v2 with 6 arguments (a storage, an"
                + " integer, a tuple, a tuple, a truth value, a dict), not with (storage, offset,"
                + " shape, strides, requires_grad, no hooks)"),
        refused(
            "a tensor with metadata",
            new RawPickle()
                .global("torch._utils", "_rebuild_tensor_v2")
                .op("(")
                .floats("0", 6)
                .whole(0)
                .wholes(6)
                .wholes(1)
                .raw(0x89)
                .op("}}tR"),
            "its pickle calls torch._utils._rebuild_tensor_v2 with 7 arguments (a storage, an"
                + " integer, a tuple, a tuple, a truth value, a dict, a dict), not with (storage,"
                + " offset, shape, strides, requires_grad, no hooks)"),
        refused(
            "a tensor of anything",
            new RawPickle().global("torch._utils", "_rebuild_tensor_v2").rest(argument).op("R"),
            "its pickle calls torch._utils._rebuild_tensor_v2 with 1 arguments (a string), not"
                + " with (storage, offset, shape, strides, requires_grad, no hooks)"),
        refused(
            "a parameter of anything",
            new RawPickle().global("torch._utils", "_rebuild_parameter").rest(argument).op("R"),
            "its pickle calls torch._utils._rebuild_parameter with 1 arguments (a string), not"
                + " with (tensor, requires_grad, no hooks)"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("attacks")
  void runsNothing(String attack, byte[] pickle, String reason) {
    assertThat(attack).isNotEmpty();
    assertRefused(pickle, reason);
  }

  static Stream<Arguments> storages() {
    String noStorage = " that is no storage, and only tensors are allowed";
    return Stream.of(
        refused(
            "no tuple",
            new RawPickle().text("0").op("Q"),
            "its pickle refers to a string" + noStorage),
        refused("nothing", new RawPickle().op(")Q"), "its pickle refers to a tuple" + noStorage),
        refused(
            "another kind",
            new RawPickle()
                .op("(")
                .text("module")
                .global("torch", "FloatStorage")
                .text("0")
                .text("cpu")
                .whole(1)
                .op("tQ"),
            "its pickle refers to a tuple" + noStorage),
        refused(
            "a callable as type",
            new RawPickle()
                .op("(")
                .text("storage")
                .global("collections", "OrderedDict")
                .text("0")
                .text("cpu")
                .whole(1)
                .op("tQ"),
            "its pickle refers to a tuple" + noStorage),
        refused(
            "a view, as torch once had them",
            new RawPickle()
                .op("(")
                .text("storage")
                .global("torch", "FloatStorage")
                .text("0")
                .text("cpu")
                .whole(1)
                .op("NtQ"),
            "its pickle refers to a tuple" + noStorage),
        refused(
            "a key that leaves the folder",
            new RawPickle().floats("../../etc/passwd", 1),
            "the key of a storage must be digits, not '../../etc/passwd'"),
        refused(
            "an empty key",
            new RawPickle().floats("", 1),
            "the key of a storage must be digits, not ''"),
        refused(
            "a key of other digits",
            new RawPickle().floats("٣", 1),
            "the key of a storage must be digits, not '٣'"),
        refused(
            "a shape of strings",
            new RawPickle()
                .global("torch._utils", "_rebuild_tensor_v2")
                .op("(")
                .floats("0", 1)
                .whole(0)
                .op("(")
                .text("1")
                .op("t")
                .wholes(1)
                .raw(0x89)
                .op("}tR"),
            "its pickle has a string in a shape or in strides"),
        refused(
            "a shape of many dimensions",
            new RawPickle().tensor(new RawPickle().floats("0", 1), 0, new long[33], ONE),
            "its pickle has a shape or strides of 33 numbers, more than 32"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("storages")
  void refusesWhatIsNoStorageOrShape(String what, byte[] pickle, String reason) {
    assertThat(what).isNotEmpty();
    assertRefused(pickle, reason);
  }

  static Stream<Arguments> damages() {
    return Stream.of(
        damaged(new byte[0], "its pickle is cut off: 1 bytes are wanted at byte 0, 0 are left"),
        damaged(new byte[] {'}', '.'}, "its data.pkl does not begin like a pickle"),
        damaged(
            new byte[] {(byte) 0x80},
            "its pickle is cut off: 1 bytes are wanted at byte 1, 0 are left"),
        damaged(new byte[] {(byte) 0x80, 4, '}', '.'}, "its pickle has protocol 4, not 2"),
        damaged(
            new RawPickle().op("}").bytes(),
            "its pickle is cut off: 1 bytes are wanted at byte 3, 0 are left"),
        damaged(new RawPickle().end(), "its pickle takes values from an empty stack before byte 3"),
        damaged(new RawPickle().op("}}").end(), "its pickle leaves 1 values behind"),
        damaged(new RawPickle().op("(}").end(), "its pickle leaves 1 values behind"),
        damaged(new RawPickle().op("}.").end(), "1 bytes follow the end of its pickle"),
        damaged(
            new RawPickle().op("X").number(-1).op("abc").end(),
            "its pickle is cut off: 4294967295 bytes are wanted at byte 7, 4 are left"),
        damaged(
            new RawPickle().op("X").number(2).raw(0xc3, 0x28).end(),
            "its pickle has a string that is not UTF-8 before byte 9"),
        damaged(
            new RawPickle().op("cos\nsystem").bytes(),
            "its pickle is cut off: 1 bytes are wanted at byte 12, 0 are left"),
        damaged(
            new RawPickle().raw(0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1).end(),
            "its pickle has an integer of 9 bytes, more than 8"),
        damaged(
            new RawPickle().op("h").raw(3).end(),
            "its pickle recalls value 3, which it did not keep"),
        damaged(
            new RawPickle().op("j").number(-2).end(),
            "its pickle recalls value 4294967294, which it did not keep"),
        damaged(
            new RawPickle().op("q").raw(3).end(),
            "its pickle takes values from an empty stack before byte 4"),
        damaged(
            new RawPickle().op("t").end(),
            "its pickle ends a list of values it did not begin before byte 3"),
        damaged(
            new RawPickle().op("N(").raw(0x86).end(),
            "its pickle takes values from an empty stack before byte 5"),
        damaged(new RawPickle().op("}NNa").end(), "its pickle appends to None before byte 6"),
        damaged(
            new RawPickle().op("](NNu").end(), "its pickle sets an item of a list before byte 7"),
        damaged(
            new RawPickle().op("}(Nu").end(), "its pickle has a key without a value before byte 6"),
        damaged(new RawPickle().op("}NNs").end(), "its pickle has None as a key"),
        damaged(
            new RawPickle().op("}(").text("a").op("N").text("a").op("Nu").end(),
            "its pickle has the key a twice"));
  }

  @ParameterizedTest
  @MethodSource("damages")
  void refusesDamagedPickles(byte[] pickle, String reason) {
    assertRefused(pickle, reason);
  }

  @ParameterizedTest
  @ValueSource(strings = {"]", "}", "(", "N"})
  void refusesToMakeMoreValuesThanAnyCheckpointNeeds(String opcode) {
    assertRefused(
        new RawPickle().op(opcode.repeat(PickleMachine.MAX_VALUES + 1)).end(),
        "its pickle makes more than 2000000 values");
  }

  @Test
  @Timeout(60)
  void readsNestingAsDeepAsItMayBe() {
    int depth = PickleMachine.MAX_VALUES / 2 - 1;
    PickleValue value = read(new RawPickle().op("]".repeat(depth) + "a".repeat(depth - 1)).end());

    assertThat(new PlainData().isPlain(value)).isTrue();
  }

  /** Each tuple holds the one before twice: a walk that looked at all of it would never end. */
  @Test
  @Timeout(60)
  void looksAtSharedValuesOnce() {
    RawPickle doubled = new RawPickle().op("Nq").raw(0);
    for (int i = 0; i < 1000; i++) {
      doubled.op("h").raw(0).op("h").raw(0, 0x86).op("q").raw(0);
    }

    PickleValue value = read(new RawPickle().op("](").rest(doubled).op("e").end());

    assertThat(new PlainData().isPlain(value)).isTrue();
  }

  @Test
  @Timeout(60)
  void looksOnceAtWhatManyEntriesShare() {
    int length = 200_000;
    RawPickle sharing = new RawPickle().op("](](" + "N".repeat(length) + "eq").raw(0);
    for (int i = 0; i < length; i++) {
      sharing.op("h").raw(0);
    }
    PickleValue root = read(sharing.op("e").end());
    PlainData plainData = new PlainData();
    for (PickleValue each : ((Items) root).values()) {
      assertThat(plainData.isPlain(each)).isTrue();
    }
  }

  @Test
  @Timeout(60)
  void readsAListThatHoldsItself() {
    PickleValue value = read(new RawPickle().op("]q").raw(0).op("h").raw(0).op("a").end());

    assertThat(((Items) value).values().get(0)).isSameAs(value);
    assertThat(new PlainData().isPlain(value)).isTrue();
  }

  @Test
  void tellsPlainDataFromTensorsHoweverDeep() {
    RawPickle tensor = new RawPickle().tensor(new RawPickle().floats("0", 6), 0, SIX, ONE);
    RawPickle storage = new RawPickle().floats("0", 6);
    RawPickle type = new RawPickle().global("torch", "FloatStorage");
    for (RawPickle inner : List.of(tensor, storage, type)) {
      PickleValue value =
          read(new RawPickle().op("]}").text("a").op("(N").rest(inner).op("tsa").end());
      assertThat(new PlainData().isPlain(value)).isFalse();
    }
  }

  private static PickleValue read(byte[] pickle) {
    return PickleMachine.read(FILE, pickle);
  }

  private static Items items(PickleValue... values) {
    return new Items(new ArrayList<>(List.of(values)));
  }

  private static Dict dict(String key, PickleValue value) {
    Dict dict = new Dict();
    dict.values().put(key, value);
    return dict;
  }

  private static Arguments refused(String what, RawPickle pickle, String reason) {
    return Arguments.of(what, pickle.end(), reason);
  }

  private static Arguments damaged(byte[] pickle, String reason) {
    return Arguments.of(pickle, reason);
  }

  private static void assertRefused(byte[] pickle, String reason) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> read(pickle))
        .withMessage("Cannot read pytorch_model.bin: " + reason);
  }
}

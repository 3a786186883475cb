package io.sinklens.job;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sinklens.pipeline.ModelFacts;
import io.sinklens.pipeline.RunSettings;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A run whose manifest lies in the output, held against the one that is to go on with it. A
 * difference is told as {@code generation.max-new-tokens was 64, and is 128 now}.
 *
 * @param manifest as it lies there
 */
record FormerRun(Manifest manifest) {
  /** What changes nothing in a result; and the name of the output, in which the manifest lies. */
  private static final List<String> OF_THE_RUN =
      List.of("/run", "/generation/batch-tokens", "/output/path");

  /** What says what to look for; what was found is in the facts of the model. */
  private static final List<String> RESOLVED = List.of("/model/device", "/model/dtype");

  boolean isComplete() {
    return manifest.isComplete();
  }

  /**
   * The first setting that differs; of a run with this model, device and dtype may be found out.
   */
  Optional<String> settingsDifference(RunSettings now, @Nullable Integer limit) {
    JsonNode then = manifest.settings().deepCopy();
    ObjectNode ours = Manifest.settings(now);
    for (String path : OF_THE_RUN) {
      remove(then, path);
      remove(ours, path);
    }
    if (!isComplete()) {
      for (String path : RESOLVED) {
        remove(then, path);
        remove(ours, path);
      }
    }
    Optional<String> difference = difference("", then, ours);
    if (difference.isPresent() || Objects.equals(manifest.limit(), limit)) {
      return difference;
    }
    return Optional.of(
        "--limit was %s, and is %s now".formatted(limit(manifest.limit()), limit(limit)));
  }

  private static String limit(@Nullable Integer limit) {
    return limit == null ? "not given" : limit.toString();
  }

  /** What is different about the rows, whatever files they are in. */
  Optional<String> inputDifference(Manifest.Input now) {
    JsonNode then = Manifest.tree(manifest.input());
    JsonNode ours = Manifest.tree(now);
    remove(then, "/files");
    remove(ours, "/files");
    return difference("input", then, ours);
  }

  /**
   * What is different about the model, wherever it lies and whichever device of a kind it is on.
   */
  Optional<String> modelDifference(ModelFacts now) {
    return difference("model", comparable(manifest.model()), comparable(now));
  }

  private static ObjectNode comparable(ModelFacts facts) {
    ObjectNode tree = (ObjectNode) Manifest.tree(facts);
    tree.remove("path");
    return tree.put("device", facts.device().replaceFirst(":.*", ""));
  }

  private static void remove(JsonNode tree, String path) {
    int name = path.lastIndexOf('/');
    if (tree.at(path.substring(0, name)) instanceof ObjectNode parent) {
      parent.remove(path.substring(name + 1));
    }
  }

  private static Optional<String> difference(String path, JsonNode then, JsonNode now) {
    if (then.equals(now)) {
      return Optional.empty();
    }
    if (then.isObject() && now.isObject()) {
      Set<String> names = new LinkedHashSet<>();
      now.fieldNames().forEachRemaining(names::add);
      then.fieldNames().forEachRemaining(names::add);
      return names.stream()
          .flatMap(
              name ->
                  difference(
                      path.isEmpty() ? name : path + "." + name, then.path(name), now.path(name))
                      .stream())
          .findFirst();
    }
    if (then.isArray() && now.isArray() && then.size() == now.size()) {
      for (int i = 0; i < now.size(); i++) {
        Optional<String> inside = difference(path + "." + i, then.get(i), now.get(i));
        if (inside.isPresent()) {
          return inside;
        }
      }
    }
    return Optional.of("%s was %s, and is %s now".formatted(path, shown(then), shown(now)));
  }

  private static String shown(JsonNode value) {
    return value instanceof MissingNode || value.isNull() ? "not set" : value.toString();
  }
}

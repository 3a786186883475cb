package io.sinklens;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaPackage;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.library.dependencies.SlicesRuleDefinition;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Holds the layout: what each package may import, and what none may do. */
class ArchitectureTest {
  private static final String BASE = "io.sinklens.";

  /** A row travels down this list; a package imports itself and what its line names. */
  private static final Map<String, List<String>> MAY_IMPORT = new LinkedHashMap<>();

  static {
    MAY_IMPORT.put("dataset", List.of());
    MAY_IMPORT.put("result", List.of("dataset"));
    MAY_IMPORT.put("preprocessing", List.of("dataset"));
    MAY_IMPORT.put("tensor", List.of());
    MAY_IMPORT.put("checkpoint", List.of("tensor"));
    MAY_IMPORT.put("model", List.of("tensor", "checkpoint"));
    MAY_IMPORT.put("family", List.of("preprocessing", "checkpoint", "model"));
    MAY_IMPORT.put("sink", List.of("tensor", "model.decoder"));
    MAY_IMPORT.put("intervention", List.of("tensor", "model.decoder", "sink"));
    MAY_IMPORT.put("generation", List.of("tensor", "model"));
    MAY_IMPORT.put("pipeline", List.copyOf(MAY_IMPORT.keySet()));
    MAY_IMPORT.put("table", List.of("dataset", "result"));
    MAY_IMPORT.put("statistics", List.of("result"));
    MAY_IMPORT.put("benchmark", List.of("dataset", "result"));
    MAY_IMPORT.put(
        "report", List.of("dataset", "preprocessing", "result", "statistics", "benchmark"));
    MAY_IMPORT.put(
        "job",
        List.of("dataset", "result", "pipeline", "table", "statistics", "benchmark", "report"));
    MAY_IMPORT.put("cli", List.of("dataset", "result", "pipeline", "job"));
  }

  /** What is imported beyond the table. Each goes when its reason does. */
  private static final Map<String, List<String>> BEYOND_THE_TABLE =
      // A blueprint hands the operators and the type it is given on to the networks.
      Map.of("family", List.of("tensor"));

  /** Static fields that change, each with its reason. */
  private static final Map<String, String> MUTABLE_STATICS =
      Map.of(
          "io.sinklens.job.ExecutorAnnotator",
          "the one holder of an executor's model, which all its tasks share");

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .importUrl(Operators.class.getProtectionDomain().getCodeSource().getLocation());

  static Set<String> packages() {
    return MAY_IMPORT.keySet();
  }

  @ParameterizedTest
  @MethodSource("packages")
  void importsOnlyWhatTheTableAllows(String name) {
    List<String> allowed = new ArrayList<>(MAY_IMPORT.getOrDefault(name, List.of()));
    allowed.addAll(BEYOND_THE_TABLE.getOrDefault(name, List.of()));
    assertThat(imports(name, allowed)).isEmpty();
  }

  @Test
  void listsNoExemptionThatIsNotNeeded() {
    BEYOND_THE_TABLE.forEach(
        (name, beyond) ->
            assertThat(imports(name, MAY_IMPORT.getOrDefault(name, List.of())))
                .as("imports of %s beyond the table, such as %s", name, beyond)
                .isNotEmpty());
    MUTABLE_STATICS.forEach(
        (name, reason) -> {
          if (CLASSES.contain(name)) {
            assertThat(CLASSES.get(name).getFields())
                .as("%s: %s", name, reason)
                .anyMatch(ArchitectureTest::isMutableStatic);
          }
        });
  }

  /** Imports of a package beyond itself and those allowed. */
  private static Set<String> imports(String name, List<String> allowed) {
    Set<String> imports = new TreeSet<>();
    for (JavaClass from : CLASSES) {
      if (!isIn(from, name)) {
        continue;
      }
      for (Dependency dependency : from.getDirectDependenciesFromSelf()) {
        JavaClass to = dependency.getTargetClass().getBaseComponentType();
        boolean ours = to.getPackageName().startsWith(BASE);
        if (ours && !isIn(to, name) && allowed.stream().noneMatch(each -> isIn(to, each))) {
          imports.add(from.getName() + " uses " + to.getName());
        }
      }
    }
    return imports;
  }

  @Test
  void everyPackageStandsInTheTable() {
    for (JavaClass each : CLASSES) {
      assertThat(MAY_IMPORT.keySet()).as(each.getName()).anyMatch(name -> isIn(each, name));
    }
  }

  @Test
  void hasNoPackageCycles() {
    SlicesRuleDefinition.slices()
        .matching("io.sinklens.(*)..")
        .should()
        .beFreeOfCycles()
        .check(CLASSES);
    SlicesRuleDefinition.slices()
        .matching("io.sinklens.model.(*)..")
        .should()
        .beFreeOfCycles()
        .check(CLASSES);
  }

  @Test
  void familiesDoNotTouchEachOther() {
    SlicesRuleDefinition.slices()
        .matching("io.sinklens.family.(*)..")
        .should()
        .notDependOnEachOther()
        .allowEmptyShould(false)
        .check(CLASSES);
  }

  @Test
  void nothingButTheListOfFamiliesAndAFamilyItselfKnowsTheFamily() {
    Set<String> violations = new TreeSet<>();
    for (JavaClass from : CLASSES) {
      boolean mayKnow =
          from.getName().equals("io.sinklens.family.Families")
              || from.getPackageName().startsWith("io.sinklens.family.");
      for (Dependency dependency : from.getDirectDependenciesFromSelf()) {
        JavaClass to = dependency.getTargetClass().getBaseComponentType();
        if (!mayKnow && to.getPackageName().startsWith("io.sinklens.family.")) {
          violations.add(from.getName() + " uses " + to.getName());
        }
      }
    }
    assertThat(violations).isEmpty();
  }

  @Test
  void noClassSeesBothSparkAndTensors() {
    for (JavaClass each : CLASSES) {
      boolean spark = uses(each, "org.apache.spark");
      boolean djl = uses(each, "ai.djl");
      assertThat(spark && djl).as(each.getName() + " sees Spark and DJL").isFalse();
    }
  }

  @Test
  void tensorsAreSeenOnlyWhereNetworksAre() {
    Set<String> allowed =
        Set.of(
            "preprocessing", // Its tokenizer is DJL's.
            "tensor",
            "checkpoint",
            "model",
            "family",
            "sink",
            "intervention",
            "generation",
            "pipeline");
    for (JavaClass each : CLASSES) {
      if (allowed.stream().noneMatch(name -> isIn(each, name))) {
        assertThat(uses(each, "ai.djl")).as(each.getName() + " sees DJL").isFalse();
      }
    }
  }

  /** The classes that see a pickle can neither look a name up nor start anything. */
  @Test
  void whatReadsPicklesHasNoMeansToRunThem() {
    Set<String> violations = new TreeSet<>();
    int checked = 0;
    for (JavaClass each : CLASSES) {
      if (!each.getName().startsWith(BASE + "checkpoint.Pickle")) {
        continue;
      }
      checked++;
      for (Dependency dependency : each.getDirectDependenciesFromSelf()) {
        String target = dependency.getTargetClass().getBaseComponentType().getName();
        boolean harmless =
            target.matches(
                    "java\\.(lang|util(\\.(function|stream))?|nio(\\.(channels|charset|file))?)\\.\\w+"
                        + "|java\\.io\\.\\w*IOException")
                && !target.matches(
                    "java\\.lang\\.(ClassLoader|Module|Process\\w*|Runtime|Thread\\w*)"
                        + "|java\\.util\\.ServiceLoader");
        boolean ours = target.startsWith(BASE + "checkpoint.");
        if (!harmless && !ours && target.contains(".")) {
          violations.add(each.getName() + " uses " + target);
        }
      }
      each.getMethodCallsFromSelf().stream()
          .filter(call -> call.getTargetOwner().isEquivalentTo(Class.class))
          .forEach(call -> violations.add(call.getDescription()));
    }
    assertThat(violations).isEmpty();
    assertThat(checked).isGreaterThan(15);
  }

  @Test
  void sparkIsSeenOnlyAtTheEdge() {
    for (JavaClass each : CLASSES) {
      if (Stream.of("table", "job", "cli").noneMatch(name -> isIn(each, name))) {
        assertThat(uses(each, "org.apache.spark")).as(each.getName() + " sees Spark").isFalse();
      }
    }
  }

  @Test
  void publicSignaturesOfThePipelineHoldOnlyStoredAndJdkTypes() {
    Set<String> violations = new TreeSet<>();
    int checked = 0;
    for (JavaClass each : CLASSES) {
      if (!isIn(each, "pipeline") || !isVisibleOutside(each)) {
        continue;
      }
      for (JavaCodeUnit unit : each.getCodeUnits()) {
        if (isVisibleOutside(unit.getModifiers())) {
          Stream.of(
                  List.of(unit.getReturnType()), unit.getParameterTypes(), unit.getExceptionTypes())
              .flatMap(Collection::stream)
              .flatMap(type -> rawTypes(type).stream())
              .filter(type -> !mayLeaveThePipeline(type))
              .forEach(type -> violations.add(unit.getFullName() + " shows " + type.getName()));
          checked++;
        }
      }
      for (JavaField field : each.getFields()) {
        if (isVisibleOutside(field.getModifiers()) && !mayLeaveThePipeline(field.getRawType())) {
          violations.add(field.getFullName() + " shows " + field.getRawType().getName());
        }
      }
    }
    assertThat(violations).isEmpty();
    assertThat(checked).isGreaterThan(50);
  }

  @Test
  void onlyTheCommandLinePrintsAndOnlyItsMainClassAndLostExecutorsExit() {
    Set<String> violations = new TreeSet<>();
    for (JavaClass each : CLASSES) {
      boolean cli = isIn(each, "cli");
      each.getFieldAccessesFromSelf().stream()
          .filter(
              access ->
                  access.getTargetOwner().isEquivalentTo(System.class)
                      && Set.of("out", "err").contains(access.getTarget().getName()))
          .filter(access -> !cli)
          .forEach(access -> violations.add(access.getDescription()));
      each.getMethodCallsFromSelf().stream()
          .filter(
              call ->
                  (call.getTargetOwner().isEquivalentTo(System.class)
                          || call.getTargetOwner().isEquivalentTo(Runtime.class))
                      && Set.of("exit", "halt").contains(call.getTarget().getName()))
          .filter(call -> !(cli && each.tryGetMethod("main", String[].class).isPresent()))
          .filter(call -> !each.getSimpleName().equals("LostExecutor"))
          .forEach(call -> violations.add(call.getDescription()));
      each.getMethodCallsFromSelf().stream()
          .filter(
              call ->
                  !cli
                      && call.getTarget().getName().equals("printStackTrace")
                      && call.getTargetOwner().isAssignableTo(Throwable.class))
          .forEach(call -> violations.add(call.getDescription()));
    }
    assertThat(violations).isEmpty();
  }

  /** Clocks are set while jobs run: what is measured or waited for is told by the monotonic one. */
  @Test
  void nothingDependsOnWhatAClockShows() {
    Set<String> clocks =
        Set.of(
            "java.lang.System.currentTimeMillis", "java.time.Instant.now", "java.util.Date.<init>");
    Set<String> violations = new TreeSet<>();
    for (JavaClass each : CLASSES) {
      each.getCodeUnitCallsFromSelf().stream()
          .filter(call -> clocks.contains(call.getTargetOwner().getName() + "." + call.getName()))
          .forEach(call -> violations.add(call.getDescription()));
    }
    assertThat(violations).isEmpty();
  }

  @Test
  void holdsNoMutableStaticState() {
    Set<String> violations = new TreeSet<>();
    for (JavaClass each : CLASSES) {
      if (!MUTABLE_STATICS.containsKey(each.getName())) {
        for (JavaField field : each.getFields()) {
          if (isMutableStatic(field)) {
            violations.add(field.getFullName());
          }
        }
      }
    }
    assertThat(violations).isEmpty();
  }

  /** Not final, or final and yet a place to change things in. */
  private static boolean isMutableStatic(JavaField field) {
    if (!field.getModifiers().contains(JavaModifier.STATIC)) {
      return false;
    }
    JavaClass type = field.getRawType();
    boolean ours = type.getPackageName().startsWith(BASE) && !type.isEnum();
    return !field.getModifiers().contains(JavaModifier.FINAL)
        || type.getPackageName().startsWith("java.util.concurrent")
        || (ours && type.getFields().stream().anyMatch(ArchitectureTest::changes));
  }

  private static boolean changes(JavaField field) {
    return !field.getModifiers().contains(JavaModifier.STATIC)
        && !field.getModifiers().contains(JavaModifier.FINAL);
  }

  @Test
  void everyPackageIsNullMarked() {
    Set<JavaPackage> seen = Set.copyOf(packagesOf(CLASSES));
    assertThat(seen).hasSizeGreaterThan(10);
    for (JavaPackage each : seen) {
      assertThat(each.isAnnotatedWith(NullMarked.class))
          .as(each.getName() + " has a package-info.java with @NullMarked")
          .isTrue();
    }
  }

  @Test
  void namesNoClassForWhatItHelpsWith() {
    for (JavaClass each : CLASSES) {
      assertThat(each.getSimpleName())
          .as(each.getName())
          .doesNotMatch(".*(Utils?|Helpers?|Manager|Impl|Abstract.*|Base)");
      assertThat(Arrays.asList(each.getPackageName().split("\\.", -1)))
          .as(each.getName())
          .doesNotContain("util", "utils", "common", "core", "config");
    }
  }

  private static List<JavaPackage> packagesOf(JavaClasses classes) {
    List<JavaPackage> packages = new ArrayList<>();
    for (JavaClass each : classes) {
      packages.add(each.getPackage());
    }
    return packages;
  }

  private static boolean isIn(JavaClass each, String name) {
    String own = each.getPackageName();
    return own.equals(BASE + name) || own.startsWith(BASE + name + ".");
  }

  private static boolean uses(JavaClass from, String packageName) {
    return from.getDirectDependenciesFromSelf().stream()
        .map(dependency -> dependency.getTargetClass().getBaseComponentType().getPackageName())
        .anyMatch(name -> name.equals(packageName) || name.startsWith(packageName + "."));
  }

  private static boolean isVisibleOutside(JavaClass each) {
    return isVisibleOutside(each.getModifiers())
        && each.getEnclosingClass().map(ArchitectureTest::isVisibleOutside).orElse(true);
  }

  private static boolean isVisibleOutside(Set<JavaModifier> modifiers) {
    return modifiers.contains(JavaModifier.PUBLIC) || modifiers.contains(JavaModifier.PROTECTED);
  }

  private static Collection<JavaClass> rawTypes(JavaType type) {
    return type.getAllInvolvedRawTypes();
  }

  private static boolean mayLeaveThePipeline(JavaClass type) {
    JavaClass each = type.getBaseComponentType();
    return each.isPrimitive()
        || each.getPackageName().startsWith("java.")
        || Stream.of("dataset", "result", "pipeline").anyMatch(name -> isIn(each, name));
  }
}

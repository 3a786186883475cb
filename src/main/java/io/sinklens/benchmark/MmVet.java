package io.sinklens.benchmark;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * MM-Vet: a judge says how right an open answer is, from 0 to 1. A row's score is the first of the
 * judge's replies whose first word is such a number, 0 if none is; it is kept to a millionth.
 *
 * <p>Source: {@code mm-vet_evaluator.py} of MM-Vet, 2025; lmms-eval of 2026.
 */
enum MmVet implements Judged {
  /** The first five replies are read. A row counts for each of its capabilities. */
  OFFICIAL,

  /** The first four are read. A row counts for each capability whose name its list contains. */
  LMMS_EVAL;

  private static final Means MEANS = new Means(1_000_000, Means.Rounding.NONE);
  private static final List<String> CAPABILITIES =
      List.of("rec", "ocr", "know", "gen", "spat", "math");
  private static final Pattern NUMBER =
      Pattern.compile("[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]{1,3})?");

  @Override
  public List<String> columns() {
    return List.of("capability", REPLY);
  }

  @Override
  public JudgeRequest request(BenchmarkRow row) {
    Map<String, String> fields = new LinkedHashMap<>();
    fields.put("question", row.text("question"));
    fields.put(
        "ground_truth", row.text("answer").replace("<AND>", " <AND> ").replace("<OR>", " <OR> "));
    fields.put("prediction", row.predictionOrEmpty());
    return new JudgeRequest(
        row.id(),
        this == OFFICIAL ? "gpt-4-0613" : "gpt-4o-2024-11-20",
        0,
        this == OFFICIAL ? 3 : 128,
        this == OFFICIAL
            ? "mm-vet_evaluator.py of yuweihao/MM-Vet"
            : "tasks/mmvet/utils.py of EvolvingLMMs-Lab/lmms-eval",
        fields,
        "a number from 0 to 1, before the first blank");
  }

  @Override
  public RowScore score(BenchmarkRow row) {
    Object recorded = row.columns().get(REPLY);
    List<String> replies = recorded instanceof List ? row.texts(REPLY) : List.of(row.text(REPLY));
    String parsed =
        replies.stream()
            .limit(this == OFFICIAL ? 5 : 4)
            .map(reply -> PythonText.strip(PythonText.split(reply, ' ').get(0)))
            .filter(MmVet::isScore)
            .findFirst()
            .orElse(null);
    long units = parsed == null ? 0 : Math.round(1e6 * Double.parseDouble(parsed));
    String capability = row.text("capability");
    Map<String, Long> counts = new HashMap<>();
    Means.count(counts, "all", units);
    capabilities(capability).forEach(name -> Means.count(counts, "capabilities", name, units));
    String combination = String.join("_", new TreeSet<>(PythonText.split(capability, ',')));
    Means.count(counts, "combinations", combination, units);
    return new RowScore(row.id(), parsed, MEANS.score(units), counts, null);
  }

  private static boolean isScore(String word) {
    return NUMBER.matcher(word).matches()
        && Double.parseDouble(word) >= 0
        && Double.parseDouble(word) <= 1;
  }

  private Stream<String> capabilities(String capability) {
    return this == OFFICIAL
        ? PythonText.split(capability, ',').stream().distinct()
        : CAPABILITIES.stream().filter(capability::contains);
  }

  @Override
  public Map<String, Object> summary(Tally tally) {
    Map<String, Object> summary = new LinkedHashMap<>();
    summary.put("accuracy", MEANS.of(tally, "all"));
    summary.put("rows", Means.rows(tally, "all"));
    summary.put("capabilities", MEANS.table(tally, "capabilities"));
    summary.put("combinations", MEANS.table(tally, "combinations"));
    return summary;
  }
}

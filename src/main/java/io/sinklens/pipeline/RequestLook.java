package io.sinklens.pipeline;

import io.sinklens.generation.PhaseTimes;
import io.sinklens.generation.Watch;
import io.sinklens.intervention.AttentionMapRecorder;
import io.sinklens.intervention.Knockout;
import io.sinklens.intervention.Masking;
import io.sinklens.intervention.Var;
import io.sinklens.intervention.VarSettings;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.LlamaConfig;
import io.sinklens.preprocessing.Prompt;
import io.sinklens.sink.Contributions;
import io.sinklens.tensor.Operators;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What looks at the attention of one request: at its prefix, and at each group of its rows. */
final class RequestLook implements Watch {
  private final Operators operators;
  private final LlamaConfig decoder;
  private final PhaseTimes times;
  private final int imageHash;
  private final PrefixLook prefix;
  private final List<@Nullable BatchLook> groups = new ArrayList<>();
  private final @Nullable TraceRecorder trace;

  /**
   * Prepares for a request.
   *
   * @param groups rows, of which those of a group look in the same dimensions, or not at all
   * @param imageHash what random choices for the image begin with
   * @param trace writes down what happens, or null
   */
  RequestLook(
      LoadedModel model,
      PhaseTimes times,
      List<List<ImageTask.Row>> groups,
      int imageHash,
      @Nullable TraceRecorder trace) {
    this.trace = trace;
    operators = model.network().operators();
    decoder = model.network().decoder().config();
    this.times = times;
    this.imageHash = imageHash;
    prefix = new PrefixLook(operators, decoder, groups.stream().flatMap(List::stream).toList());
    for (List<ImageTask.Row> group : groups) {
      this.groups.add(group.get(0).variant().look() == null ? null : look(group));
    }
  }

  /** What looks at the rows of a group; null where nothing does. */
  @Nullable BatchLook ofRows(int group) {
    return groups.get(group);
  }

  @Override
  public AttentionHook ofPrefix() {
    return finished(prefix.hook());
  }

  @Override
  public AttentionHook ofGroup(int group) {
    BatchLook look = groups.get(group);
    return finished(look == null ? AttentionHook.NONE : look.hook());
  }

  @Override
  public void close() {
    groups.stream().filter(Objects::nonNull).forEach(BatchLook::close);
    prefix.close();
  }

  private AttentionHook finished(AttentionHook hook) {
    AttentionHook timed = hook == AttentionHook.NONE ? hook : new TimedHook(hook, times);
    return trace == null ? timed : trace.before().andThen(timed).andThen(trace.after());
  }

  private BatchLook look(List<ImageTask.Row> rows) {
    Prompt prompt = rows.get(0).prompt();
    List<VarSettings> settings =
        rows.stream().map(row -> Objects.requireNonNull(row.variant().look())).toList();
    Var var =
        new Var(
            operators,
            prefix.sinkValues(rows.get(0).variant().sinkDimensions()), // As in all rows.
            prompt.image().start(),
            settings,
            rows.stream().mapToInt(row -> row.ownIds().length).toArray(),
            decoder.numHiddenLayers(),
            decoder.numAttentionHeads());
    AttentionMapRecorder maps =
        rows.get(0).mapped()
            ? new AttentionMapRecorder(
                operators,
                prompt.image().start(),
                prompt.image().end(),
                rows.size(),
                decoder.numHiddenLayers())
            : null;
    Contributions contributions =
        rows.stream().anyMatch(row -> row.variant().contributes())
            ? new Contributions(
                operators,
                var.sinks(),
                prefix.valueNorms(),
                rows.size(),
                decoder.numHiddenLayers(),
                decoder.numAttentionHeads())
            : null;
    return new BatchLook(rows, var, contributions, knockout(var, rows), maps);
  }

  private @Nullable Knockout knockout(Var var, List<ImageTask.Row> rows) {
    List<Masking> maskings = rows.stream().map(this::masking).toList();
    return maskings.stream().allMatch(masking -> masking.tokens() == Masking.Tokens.NONE)
        ? null
        : new Knockout(operators, var.sinks(), maskings, decoder.numHiddenLayers());
  }

  /** A row's choice of tokens, the same wherever and with whomever the row runs. */
  private Masking masking(ImageTask.Row row) {
    Masking masking = row.variant().masking();
    return masking.tokens() == Masking.Tokens.RANDOM
        ? masking.of(31L * Arrays.hashCode(row.prompt().ids()) + imageHash)
        : masking;
  }
}

package io.sinklens.generation;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.sinklens.generation.Generated.Finish;
import io.sinklens.generation.Generated.TokenLogprob;
import io.sinklens.model.ImageInput;
import io.sinklens.model.VisionLanguageModel;
import io.sinklens.model.decoder.AttentionHook;
import io.sinklens.model.decoder.KeyValueCache;
import io.sinklens.model.decoder.LlamaDecoder;
import io.sinklens.model.decoder.Pass;
import io.sinklens.model.decoder.RotaryPositions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Runs prompts through a model: the prefix of an image once, then all rows that share it together.
 *
 * <p>Safe to use from several threads; each call makes and frees its own tensors.
 */
public final class Generator {
  private final VisionLanguageModel model;
  private final LlamaDecoder decoder;
  private final PhaseTimes times;

  public Generator(VisionLanguageModel model, PhaseTimes times) {
    this.model = model;
    this.decoder = model.decoder();
    this.times = times;
  }

  /**
   * Runs a prompt up to the end of its image.
   *
   * @param ids token ids up to the image's end; those of the image are placeholders
   * @param imageStart position of the first image token; the image ends where {@code ids} do
   * @param hook watches the vision encoder and the pass
   */
  public ImagePrefix encodePrefix(ImageInput input, int[] ids, int imageStart, AttentionHook hook) {
    model.operators().enterThread();
    NDManager manager = model.operators().manager().newSubManager();
    try (NDManager scratch = manager.newSubManager()) {
      NDArray image = times.time(Phase.VISION, () -> model.encodeImage(scratch, input, hook));
      int imageTokens = ids.length - imageStart;
      if (image.getShape().get(0) != imageTokens) {
        throw new IllegalStateException(
            "Cannot place the image: the prompt holds %d image tokens but the encoder made %d"
                .formatted(imageTokens, image.getShape().get(0)));
      }
      KeyValueCache cache = decoder.newCache(manager, 1, ids.length);
      RotaryPositions positions = model.positions(imageStart, imageTokens, input);
      times.time(
          Phase.PROMPT_PASS,
          () -> {
            long[] text = widen(Arrays.copyOf(ids, imageStart));
            NDArray ofText =
                decoder.embed(scratch.create(text, new Shape(1, imageStart))).squeeze(0);
            NDArray embeddings = model.operators().concatTokens(ofText, image);
            Pass pass = new Pass(decoder.noPrefix(), cache, positions, scratch);
            return decoder.forward(embeddings, pass, hook);
          });
      times.addTokens(ids.length, 0);
      return new ImagePrefix(manager, cache.share(0, positions), imageStart);
    } catch (RuntimeException e) {
      manager.close();
      throw e;
    }
  }

  /**
   * Answers prompts that begin with the same prefix, all together.
   *
   * @param prefix what they begin with
   * @param ownIds for every row its token ids after the prefix, at least one
   * @param rules length, stop tokens and what to report
   * @param hook made for these rows, in this order
   * @return one answer a row, in this order
   */
  public List<Generated> generate(
      ImagePrefix prefix, List<int[]> ownIds, GenerationRules rules, AttentionHook hook) {
    model.operators().enterThread();
    try (NDManager scope = model.operators().manager().newSubManager()) {
      Batch batch = new Batch(prefix, ownIds, rules, hook, scope);
      times.time(Phase.PROMPT_PASS, batch::runPrompts);
      times.addTokens(ownIds.stream().mapToInt(ids -> ids.length).sum(), 0);
      times.time(Phase.GENERATION, batch::runToEnd);
      List<Generated> answers = batch.answers();
      times.addTokens(0, answers.stream().mapToInt(answer -> answer.tokenIds().size()).sum());
      return answers;
    }
  }

  private static long[] widen(int[] ids) {
    return Arrays.stream(ids).asLongStream().toArray();
  }

  /** Rows on their way to an answer. */
  private final class Batch {
    private final ImagePrefix prefix;
    private final List<int[]> ownIds;
    private final GenerationRules rules;
    private final AttentionHook hook;
    private final NDManager scope;
    private final KeyValueCache cache;
    private final List<Row> rows = new ArrayList<>();

    Batch(
        ImagePrefix prefix,
        List<int[]> ownIds,
        GenerationRules rules,
        AttentionHook hook,
        NDManager scope) {
      this.prefix = prefix;
      this.ownIds = ownIds;
      this.rules = rules;
      this.hook = hook;
      this.scope = scope;
      for (int[] ids : ownIds) {
        if (ids.length == 0) {
          throw new IllegalArgumentException("A prompt must have a token after its image");
        }
        rows.add(new Row(ids.length));
      }
      cache = decoder.newCache(scope, rows.size(), longest() + rules.maxNewTokens());
    }

    /** Every row's own prompt, padded on the right; nothing ever sees the padding. */
    Batch runPrompts() {
      int queries = longest();
      long[] ids = new long[rows.size() * queries];
      long[] positions = new long[rows.size() * queries];
      int[] answerQueries = new int[rows.size()];
      for (int r = 0; r < rows.size(); r++) {
        int[] own = ownIds.get(r);
        answerQueries[r] = own.length - 1;
        for (int q = 0; q < queries; q++) {
          ids[r * queries + q] = q < own.length ? own[q] : 0;
          positions[r * queries + q] = q;
        }
      }
      run(ids, positions, queries, answerQueries);
      return this;
    }

    Batch runToEnd() {
      while (rows.stream().anyMatch(row -> !row.finished())) {
        long[] ids = new long[rows.size()];
        long[] positions = new long[rows.size()];
        int[] answerQueries = new int[rows.size()];
        for (int r = 0; r < rows.size(); r++) {
          Row row = rows.get(r);
          ids[r] = row.lastToken();
          positions[r] = row.length() - 1L;
          answerQueries[r] = row.finished() ? -1 : 0;
        }
        run(ids, positions, 1, answerQueries);
      }
      return this;
    }

    List<Generated> answers() {
      return rows.stream().map(Row::generated).toList();
    }

    private void run(long[] ids, long[] positions, int queries, int[] answerQueries) {
      try (NDManager scratch = scope.newSubManager()) {
        Shape shape = new Shape(rows.size(), queries);
        int ownKeys = 1 + (int) Arrays.stream(positions).max().orElseThrow();
        Pass pass =
            new Pass(
                prefix.shared(), cache, scratch.create(positions, shape), ownKeys, answerQueries);
        NDArray hidden = decoder.forward(decoder.embed(scratch.create(ids, shape)), pass, hook);
        NDArray answering =
            model.operators().pickTokens(hidden, pass.answerQueries(hidden.getManager()));
        NDArray logits = decoder.logits(answering); // [row, vocabulary]
        double[] chosen = model.operators().greedy(logits).toDoubleArray();
        List<List<TokenLogprob>> top = top(logits);
        List<List<Double>> choices = choices(logits);
        for (int r = 0; r < rows.size(); r++) {
          if (answerQueries[r] >= 0) {
            rows.get(r)
                .take(
                    (int) chosen[3 * r],
                    chosen[3 * r + 1],
                    chosen[3 * r + 2],
                    top.isEmpty() ? List.of() : top.get(r),
                    choices.isEmpty() ? List.of() : choices.get(r));
          }
        }
      }
    }

    private List<List<TokenLogprob>> top(NDArray logits) {
      if (rules.topLogprobs() == 0) {
        return List.of();
      }
      NDList top = logits.logSoftmax(-1).topK(rules.topLogprobs(), -1);
      float[] logprobs = top.get(0).toFloatArray();
      long[] tokens = top.get(1).toLongArray();
      List<List<TokenLogprob>> ofRows = new ArrayList<>();
      for (int r = 0; r < rows.size(); r++) {
        List<TokenLogprob> ofRow = new ArrayList<>();
        for (int i = r * rules.topLogprobs(); i < (r + 1) * rules.topLogprobs(); i++) {
          ofRow.add(new TokenLogprob((int) tokens[i], logprobs[i]));
        }
        ofRows.add(ofRow);
      }
      return ofRows;
    }

    /** Probabilities of the choice tokens, wanted for the first answer token only. */
    private List<List<Double>> choices(NDArray logits) {
      if (rules.choiceTokens().isEmpty() || rows.stream().anyMatch(Row::hasStarted)) {
        return List.of();
      }
      NDArray probabilities = logits.softmax(-1);
      List<List<Double>> ofRows = new ArrayList<>();
      for (int r = 0; r < rows.size(); r++) {
        List<Double> ofRow = new ArrayList<>();
        for (int token : rules.choiceTokens()) {
          ofRow.add((double) probabilities.getFloat(r, token));
        }
        ofRows.add(ofRow);
      }
      return ofRows;
    }

    private int longest() {
      return ownIds.stream().mapToInt(ids -> ids.length).max().orElse(0);
    }

    /** One prompt and its answer so far. */
    private final class Row {
      private final int promptLength;
      private final List<Integer> tokens = new ArrayList<>();
      private final List<List<TokenLogprob>> topLogprobs = new ArrayList<>();
      private List<Double> choiceProbabilities = List.of();
      private double logprob;
      private boolean failed;

      Row(int promptLength) {
        this.promptLength = promptLength;
      }

      void take(
          int token,
          double tokenLogprob,
          double smallestLogit,
          List<TokenLogprob> top,
          List<Double> choices) {
        if (!Double.isFinite(tokenLogprob) || !Double.isFinite(smallestLogit)) {
          failed = true;
          return;
        }
        if (tokens.isEmpty()) {
          choiceProbabilities = choices;
        }
        tokens.add(token);
        logprob += tokenLogprob;
        if (!top.isEmpty()) {
          topLogprobs.add(top);
        }
      }

      boolean hasStarted() {
        return !tokens.isEmpty();
      }

      boolean finished() {
        return failed || stopped() || tokens.size() == rules.maxNewTokens();
      }

      /** Own tokens so far; the newest has not been through the decoder yet. */
      int length() {
        return promptLength + tokens.size();
      }

      long lastToken() {
        return tokens.isEmpty() ? 0 : tokens.get(tokens.size() - 1);
      }

      Generated generated() {
        Finish finish = failed ? Finish.NUMERIC_FAILURE : stopped() ? Finish.STOP : Finish.LENGTH;
        return new Generated(tokens, logprob, finish, topLogprobs, choiceProbabilities);
      }

      private boolean stopped() {
        return !tokens.isEmpty() && rules.stopTokens().contains(tokens.get(tokens.size() - 1));
      }
    }
  }
}

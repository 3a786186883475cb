package io.sinklens.preprocessing;

import com.fasterxml.jackson.databind.JsonNode;
import io.sinklens.preprocessing.AddedTokens.AddedToken;
import io.sinklens.preprocessing.AddedTokens.Segment;
import io.sinklens.preprocessing.Piece.Special;
import io.sinklens.preprocessing.Piece.Text;
import io.sinklens.preprocessing.SentencePieceSettings.Code;
import io.sinklens.preprocessing.SentencePieceSettings.Spaces;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A tokenizer that comes as {@code tokenizer.model}: the slow ones of transformers 4.57.6, {@code
 * LlamaTokenizer} in {@code tokenization_llama.py}, and {@code InternLM2Tokenizer} in {@code
 * tokenization_internlm2.py} of the published InternVL2 folders.
 *
 * <p>Holds two native encoders where words could spell an added token, as {@code
 * [UNUSED_TOKEN_145]} does when a folder gives that id the name {@code <|im_end|>}. In the second
 * one they cannot.
 */
final class SentencePieceTokenizer implements Tokenizer {
  static final String MODEL = "tokenizer.model";

  private static final int MAX_BYTES = 100_000_000;
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPACE = SentencePieceVocabulary.SPACE;

  private final SentencePieceSettings settings;
  private final SentencePieceVocabulary vocabulary;
  private final AddedTokens added;
  private final int[] before; // ids put before every text
  private final int[] behind; // ids put behind every text
  private final String unknown; // name of the token for what the vocabulary lacks
  private final SentencePieceEncoder published;
  private final SentencePieceEncoder guarded;

  private SentencePieceTokenizer(
      SentencePieceSettings settings, SentencePieceFile model, AddedTokens added) {
    this.settings = settings;
    this.added = added;
    vocabulary = new SentencePieceVocabulary(model);
    before = settings.begins() ? id("bos_token", model.begin()) : new int[0];
    behind = settings.ends() ? id("eos_token", model.end()) : new int[0];
    unknown = settings.spaces() == Spaces.MODEL ? "" : added.named("unk_token");
    published = new SentencePieceEncoder(model);
    guarded = guarded(published, model, added.spelt(vocabulary));
  }

  private static SentencePieceEncoder guarded(
      SentencePieceEncoder published, SentencePieceFile model, Set<Integer> spelt) {
    if (spelt.isEmpty()) {
      return published;
    }
    try {
      return new SentencePieceEncoder(model.without(spelt));
    } catch (IllegalArgumentException e) {
      published.close();
      throw e;
    }
  }

  /**
   * Opens a folder's {@code tokenizer.model}.
   *
   * @throws UncheckedIOException when a file cannot be read
   * @throws IllegalArgumentException when the files describe a tokenizer that is not supported
   */
  static SentencePieceTokenizer open(Path folder, Legacy legacy) {
    Path file = folder.resolve(MODEL);
    try {
      if (!Files.exists(folder.resolve(CONFIG))) {
        throw new IllegalArgumentException("there is no %s beside it".formatted(CONFIG));
      }
      JsonNode config = FolderJson.object(folder.resolve(CONFIG));
      SentencePieceSettings settings = SentencePieceSettings.read(config, legacy);
      if (!Files.isRegularFile(file)) {
        throw new IllegalArgumentException("it is neither a file nor a link to one");
      }
      if (Files.size(file) > MAX_BYTES) {
        throw new IllegalArgumentException(
            "it has %d bytes, more than %d".formatted(Files.size(file), MAX_BYTES));
      }
      SentencePieceFile model = new SentencePieceFile(Files.readAllBytes(file));
      return new SentencePieceTokenizer(
          settings,
          settings.spaces() == Spaces.MODEL ? model : model.withoutSpaceBefore(),
          new AddedTokens(
              folder, config, settings.code().defaultTokens(), new SentencePieceVocabulary(model)));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "Cannot use tokenizer %s: %s".formatted(file, e.getMessage()), e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read tokenizer " + file, e);
    }
  }

  /** The id of the token at the beginning or end of every text. */
  private int[] id(String role, String nameInModel) {
    OptionalInt id =
        switch (settings.code()) {
          case LLAMA -> OptionalInt.of(added.require(added.named(role)).id());
          case INTERNLM2 -> vocabulary.controlId(nameInModel);
        };
    return new int[] {
      id.orElseThrow(() -> new IllegalArgumentException("it has no control token " + nameInModel))
    };
  }

  @Override
  public int[] encodeRaw(String text) {
    return enclosed(encodeRawContinuation(text));
  }

  @Override
  public int[] encodeRawContinuation(String text) {
    return text.isEmpty() ? new int[0] : ids(added.divide(spaced(text, true)), published);
  }

  @Override
  public int[] encode(List<Piece> pieces) {
    return enclosed(encodeContinuation(pieces));
  }

  @Override
  public int[] encodeContinuation(List<Piece> pieces) {
    List<Segment> segments = new ArrayList<>();
    StringBuilder words = new StringBuilder();
    for (Piece piece : pieces) {
      if (piece instanceof Text text) {
        words.append(text.text());
      } else if (piece instanceof Special special) {
        addWords(segments, words);
        segments.add(new Segment(special.name(), added.require(special.name())));
      }
    }
    if (!segments.isEmpty() || !words.isEmpty()) {
      addWords(segments, words);
    }
    return ids(segments, guarded);
  }

  private void addWords(List<Segment> segments, StringBuilder words) {
    String text = spaced(words.toString(), segments.isEmpty());
    if (!text.isEmpty()) {
      segments.add(Segment.words(text));
    }
    words.setLength(0);
  }

  /** The text as the encoder gets it: the whole, or what stands between special tokens. */
  private String spaced(String text, boolean first) {
    String valid = LoneSurrogates.replaced(text);
    return switch (settings.spaces()) {
      case MODEL -> valid;
      case TOKENIZER -> (first ? SPACE : "") + valid.replace(SPACE, " ");
      case NOBODY -> valid.replace(SPACE, " ");
    };
  }

  private int[] ids(List<Segment> divided, SentencePieceEncoder encoder) {
    List<Segment> segments = AddedTokens.settle(divided);
    List<int[]> parts = new ArrayList<>();
    for (Segment segment : segments) {
      AddedToken token = segment.token();
      parts.add(token == null ? words(segment.text(), encoder) : new int[] {token.id()});
    }
    boolean spaceOnly =
        settings.spaces() != Spaces.MODEL
            && segments.size() > 1
            && segments.get(0).isWords()
            && added.isSpecial(segments.get(1).text())
            && Arrays.equals(parts.get(0), vocabulary.id(SPACE).stream().toArray());
    return parts.stream().skip(spaceOnly ? 1 : 0).flatMapToInt(Arrays::stream).toArray();
  }

  /**
   * The ids of a text without added tokens. The model may drop a space that a text begins with, so
   * where the tokenizer cares for spaces such a text goes behind a name, whose ids are cut off.
   */
  private int[] words(String text, SentencePieceEncoder encoder) {
    int skipped = 0;
    int[] ids;
    if (settings.spaces() == Spaces.MODEL || !(text.startsWith(SPACE) || text.startsWith(" "))) {
      ids = encoder.encode(text);
    } else {
      ids = encoder.encode(unknown + text);
      int length = encoder.encode(unknown).length;
      skipped = ids.length >= length ? length : 0;
    }
    return Arrays.stream(ids).skip(skipped).map(this::idByName).toArray();
  }

  /** The id of a token, which is another one when the folder adds a token of the same name. */
  private int idByName(int id) {
    AddedToken token = added.byName(vocabulary.token(id));
    return token == null ? id : token.id();
  }

  private int[] enclosed(int[] ids) {
    return Stream.of(before, ids, behind).flatMapToInt(Arrays::stream).toArray();
  }

  @Override
  public String decode(int[] tokenIds) {
    List<String> texts = new ArrayList<>();
    List<String> run = new ArrayList<>();
    for (int id : tokenIds) {
      AddedToken token = added.byId(id);
      if (added.isSpecial(id) || (token == null && (id < 0 || id >= vocabulary.size()))) {
        continue;
      }
      String name = token == null ? vocabulary.token(id) : token.name();
      if (added.isSpecial(name)) {
        continue;
      }
      if (added.byName(name) == null) {
        run.add(name);
      } else {
        String before = text(run);
        if (!before.isEmpty()) {
          texts.add(before);
        }
        texts.add(name);
        run.clear();
      }
    }
    if (!run.isEmpty()) {
      texts.add(text(run));
    }
    String text = String.join(" ", texts);
    return settings.cleansUp() ? cleanedUp(text) : text;
  }

  /** The text of tokens of the vocabulary. */
  private String text(List<String> tokens) {
    if (tokens.isEmpty()) {
      return "";
    }
    List<String> rest = new ArrayList<>(tokens);
    if (settings.takesPrefixSpace() && tokens.get(0).startsWith(SPACE)) {
      rest.set(0, tokens.get(0).substring(1));
    }
    String text = vocabulary.decode(rest);
    return settings.code() == Code.INTERNLM2 ? cleanedUp(text) : text;
  }

  /** The text without spaces that tokenizers of English put before marks and endings. */
  private static String cleanedUp(String text) {
    return text.replace(" .", ".")
        .replace(" ?", "?")
        .replace(" !", "!")
        .replace(" ,", ",")
        .replace(" ' ", "'")
        .replace(" n't", "n't")
        .replace(" 'm", "'m")
        .replace(" 's", "'s")
        .replace(" 've", "'ve")
        .replace(" 're", "'re");
  }

  @Override
  public OptionalInt id(String token) {
    AddedToken known = added.byName(token);
    return known == null ? vocabulary.id(token) : OptionalInt.of(known.id());
  }

  @Override
  public void close() {
    published.close();
    guarded.close();
  }
}

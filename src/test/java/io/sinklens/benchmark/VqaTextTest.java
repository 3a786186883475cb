package io.sinklens.benchmark;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class VqaTextTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        // a mark beside a blank goes, any other becomes a blank
        "stop/go | stop go",
        "stop /go | stop go",
        "stop/ go/on | stop goon",
        "x/y /z | xy z",
        "red,blue | red blue",
        "red, blue | red blue",
        // one comma between digits, and every mark goes
        "10,000 t-shirts | 10000 tshirts",
        "10, 000 t-shirts | 10 000 t shirts",
        "٣,٤ t-shirts | ٣٤ tshirts",
        // marks that stay
        "12:30 & 50% $5 #3 2*2 don't ’s | 12:30 & 50% $5 #3 2*2 don't ’s",
        // dots that no digit follows
        "2. | 2",
        "3.5 | 3.5",
        ".5 | .5",
        "x.5 | x.5",
        "5. 6 | 5 6",
        "..5 | .5",
        "e.g. | eg",
        // words
        "None Zero One ten eleven | 0 0 1 10 eleven",
        "ones someone | ones someone",
        "A dog, an owl, The cat | dog owl cat",
        "Im Ive dont DONT | im ive don't don't",
        "somebody'd her | somebodyd her",
        "let's she's its lets id ill well were shell | let's she's its lets id ill well were shell",
        "couldn't've couldntve couldnt've | couldn't've couldntve couldn't've",
      })
  void normalisesAsTheScorerOfVqa(String answer, String normalised) {
    assertThat(VqaText.OFFICIAL.normalised(answer)).isEqualTo(normalised);
  }

  @Test
  void leavesNothingOfArticles() {
    assertThat(VqaText.OFFICIAL.normalised("The")).isEmpty();
    assertThat(VqaText.OFFICIAL.normalised("a, an; the.")).isEmpty();
  }

  @Test
  void removesThirtyTwoDotsAtMost() {
    assertThat(VqaText.OFFICIAL.normalised("x" + ".".repeat(40))).isEqualTo("x" + ".".repeat(8));
    assertThat(VqaText.VLMEVALKIT.normalised("x" + ".".repeat(33))).isEqualTo("x.");
  }

  @Test
  void takesUnicodeWhiteSpaceForWhiteSpaceAndNothingElse() {
    assertThat(VqaText.clean("\u00a0\u2003 two\n\tdogs\u3000")).isEqualTo("two  dogs");
    assertThat(VqaText.OFFICIAL.normalised("two\u00a0dogs\u001fand\u200bcats"))
        .isEqualTo("2 dogs and\u200bcats");
    assertThat(VqaText.OFFICIAL.normalised("İSTANBUL ΣΑΣ")).isEqualTo("i\u0307stanbul σας");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "1,000 t-shirts | 1000 t shirts",
        "John's | john 's",
        "it's let's what's | it 's let 's what 's",
        "whats | what's",
        "red,blue | redblue",
        "what?! | what",
        "man's | man 's",
        "The Two Dogs. | 2 dogs",
        "an? owl | owl",
      })
  void takesCommasQuestionMarksAndPossessivesApartFirst(String answer, String processed) {
    assertThat(VqaText.evalAi(answer)).isEqualTo(processed);
  }

  @Test
  void normalisesTheSamePunctuationInEachCopyButForItsOwnRule() {
    assertThat(VqaText.OFFICIAL.normalised("1,,2 t-shirts")).isEqualTo("1 2 t shirts");
    assertThat(VqaText.EVAL_AI.normalised("1,,2 t-shirts")).isEqualTo("12 tshirts");
    assertThat(VqaText.OFFICIAL.normalised("2. a.5 no.")).isEqualTo("2 a.5 no");
    assertThat(VqaText.VLMEVALKIT.normalised("2. a.5 no.")).isEqualTo("2. a.5 no");
  }

  @Test
  void writesCurlyApostrophesForVizWiz() {
    assertThat(VqaText.VIZWIZ.normalised("dont")).isEqualTo("don’t");
    assertThat(VqaText.VIZWIZ.normalised("cant weve somebody’d somebody'd"))
        .isEqualTo("can't we've somebodyd somebody'd");
  }
}

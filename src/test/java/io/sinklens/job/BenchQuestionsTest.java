package io.sinklens.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;

class BenchQuestionsTest {
  @Test
  void exchangesLeftAndRight() throws IOException {
    BufferedImage image = new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 6; i++) {
      image.setRGB(i % 3, i / 3, 0x010203 * (i + 1));
    }
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    ImageIO.write(image, "png", file);

    byte[] mirrored = BenchQuestions.mirrored(file.toByteArray());

    BufferedImage found = ImageIO.read(new ByteArrayInputStream(mirrored));
    assertThat(found.getRGB(0, 0, 3, 2, null, 0, 3))
        .containsExactly(0xff030609, 0xff020406, 0xff010203, 0xff060c12, 0xff050a0f, 0xff04080c);
  }
}

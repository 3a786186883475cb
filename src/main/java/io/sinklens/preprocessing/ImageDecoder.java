package io.sinklens.preprocessing;

import static java.util.Objects.requireNonNull;

import io.sinklens.dataset.FailureKind;
import io.sinklens.dataset.RowFailedException;
import java.awt.image.BufferedImage;
import java.awt.image.Raster;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import javax.imageio.IIOException;
import javax.imageio.ImageIO;
import javax.imageio.ImageReadParam;
import javax.imageio.ImageReader;
import javax.imageio.spi.IIORegistry;
import javax.imageio.spi.ImageReaderSpi;
import org.jspecify.annotations.Nullable;

/**
 * Reads JPEG, PNG, WebP, GIF, BMP and TIFF files as {@link RgbImage}, with the colours that Pillow
 * gives; of several frames or pages the first.
 *
 * <p>Embedded colour profiles and gamma are not applied, alpha is dropped and not blended, CMYK
 * goes through Pillow's formula (see {@link PillowColours}). Shared by threads.
 */
public final class ImageDecoder {
  /** Pixels beyond which an image is refused unless said otherwise. */
  public static final long DEFAULT_MAX_PIXELS = 100_000_000;

  /** Scans that an image of the maximum of pixels may have; programs write about ten. */
  private static final int MAX_SCANS = 20;

  /** What a pixel takes at least while it is decoded: three bytes as read, and three as RGB. */
  private static final int HEAP_BYTES = 6;

  /** The same for lossy WebP, measured. */
  private static final int LOSSY_WEBP_HEAP_BYTES = 30;

  private static final int MAX_REASON = 300;
  private static final int BMP_JPEG = 4;
  private static final int BMP_PNG = 5;

  private static final Map<ImageFormat, ImageReaderSpi> READERS = readers();

  private final Exif exif;
  private final long maxPixels;

  /** A decoder with the {@linkplain #DEFAULT_MAX_PIXELS default} limit. */
  public ImageDecoder(Exif exif) {
    this(exif, DEFAULT_MAX_PIXELS);
  }

  /**
   * A decoder with a limit of its own.
   *
   * @param exif what becomes of a camera's orientation; that of a TIFF file is always applied, as
   *     in Pillow
   * @param maxPixels an image of more pixels is refused undecoded, above 0
   */
  public ImageDecoder(Exif exif, long maxPixels) {
    if (maxPixels < 1) {
      throw new IllegalArgumentException("Maximum of pixels must be above 0, not " + maxPixels);
    }
    this.exif = exif;
    this.maxPixels = maxPixels;
  }

  /**
   * Decodes a whole image file.
   *
   * @throws RowFailedException {@link FailureKind#IMAGE_TOO_LARGE} when the header announces more
   *     than the maximum of pixels, or so many scans of them; {@link FailureKind#OUT_OF_MEMORY}
   *     when the pixels do not fit into the heap; {@link FailureKind#IMAGE_UNREADABLE} when the
   *     bytes are empty, no image, truncated, or of a kind that is not supported
   */
  public RgbImage decode(byte[] file) throws RowFailedException {
    if (file.length == 0) {
      throw unreadable("it is empty", null);
    }
    ImageFormat format =
        ImageFormat.of(file)
            .orElseThrow(
                () -> unreadable("not an image: starts with " + ImageFormat.opening(file), null));
    RgbImage image;
    try {
      image = read(file, format);
    } catch (IOException | RuntimeException | StackOverflowError | AssertionError e) {
      // Readers meet broken files with any of these.
      throw unreadable("%s: %s".formatted(format, reason(e)), e);
    } catch (OutOfMemoryError e) {
      throw new RowFailedException(
          FailureKind.OUT_OF_MEMORY,
          "Cannot decode the image: %s needs more memory than there is".formatted(format),
          e);
    }
    return exif == Exif.APPLY || format == ImageFormat.TIFF
        ? Orientation.upright(image, Orientation.of(file, format))
        : image;
  }

  private RgbImage read(byte[] file, ImageFormat format) throws IOException, RowFailedException {
    ImageReader reader = requireNonNull(READERS.get(format)).createReaderInstance();
    try (var stream = new EndingStream(file)) {
      reader.setInput(stream, false, true);
      int width = reader.getWidth(0);
      int height = reader.getHeight(0);
      requireAllowedSize(width, height);
      requireMemory(width, height, HEAP_BYTES);
      return switch (format) {
        case JPEG -> readJpeg(reader, file);
        case GIF -> {
          FirstFrame frame = FirstFrame.ofGif(file);
          requireAllowedCanvas(frame, reader);
          yield frame.onCanvas(reader.read(0));
        }
        case WEBP -> {
          FirstFrame frame = FirstFrame.ofWebp(file);
          requireAllowedCanvas(frame, reader);
          WebpPicture picture = WebpPicture.of(file);
          picture.requireSize(width, height);
          requireMemory(width, height, picture.lossy() ? LOSSY_WEBP_HEAP_BYTES : HEAP_BYTES);
          yield frame.onCanvas(readUnconverted(reader));
        }
        case TIFF -> {
          requireAllowedSize(reader.getTileWidth(0), reader.getTileHeight(0));
          TiffStreams.Total streams = TiffStreams.of(file);
          requireAllowedSize(streams.largest().width(), streams.largest().height());
          requireAllowedVisits(streams.visits());
          yield PillowColours.ofImage(reader.read(0));
        }
        case BMP -> {
          requireNoFileInside(file);
          yield PillowColours.ofImage(reader.read(0));
        }
        case PNG -> PillowColours.ofImage(reader.read(0));
      };
    } finally {
      reader.dispose();
    }
  }

  private RgbImage readJpeg(ImageReader reader, byte[] file)
      throws IOException, RowFailedException {
    JpegSize size = JpegSize.read(ByteBuffer.wrap(file));
    requireAllowedSize(size.width(), size.height());
    requireAllowedVisits(size.visits());
    List<String> warnings = new ArrayList<>();
    reader.addIIOReadWarningListener((source, warning) -> warnings.add(warning));
    Raster raster = reader.readRaster(0, null);
    if (warnings.stream().anyMatch(warning -> warning.contains("EOI"))) {
      throw new IIOException("truncated");
    }
    return PillowColours.ofJpeg(raster, JpegHeader.read(file).colours());
  }

  /** Reads into the type of the file itself, into which no colour profile is converted. */
  private static BufferedImage readUnconverted(ImageReader reader) throws IOException {
    ImageReadParam param = reader.getDefaultReadParam();
    param.setDestinationType(reader.getRawImageType(0));
    return reader.read(0, param);
  }

  private void requireAllowedCanvas(FirstFrame frame, ImageReader reader)
      throws IOException, RowFailedException {
    requireAllowedSize(
        frame.widthAround(reader.getWidth(0)), frame.heightAround(reader.getHeight(0)));
  }

  private void requireAllowedSize(int width, int height) throws RowFailedException {
    if ((long) width * height > maxPixels) {
      throw new RowFailedException(
          FailureKind.IMAGE_TOO_LARGE,
          "Cannot decode the image: %d x %d pixels are more than the maximum of %d"
              .formatted(width, height, maxPixels));
    }
  }

  private void requireAllowedVisits(long visits) throws RowFailedException {
    if (visits / MAX_SCANS > maxPixels) {
      throw new RowFailedException(
          FailureKind.IMAGE_TOO_LARGE,
          "Cannot decode the image: its JPEG scans hold %d pixels in all, more than %d times the maximum of %d"
              .formatted(visits, MAX_SCANS, maxPixels));
    }
  }

  private static void requireMemory(int width, int height, int heapBytes)
      throws RowFailedException {
    long needed = (long) width * height * heapBytes;
    if (needed > Runtime.getRuntime().maxMemory()) {
      throw new RowFailedException(
          FailureKind.OUT_OF_MEMORY,
          "Cannot decode the image: %d x %d pixels take %d MiB, and the heap has %d"
              .formatted(width, height, needed >> 20, Runtime.getRuntime().maxMemory() >> 20));
    }
  }

  /** Refuses JPEG and PNG in BMP, which printers read, and which have a size of their own. */
  private static void requireNoFileInside(byte[] bmp) throws IIOException {
    ByteBuffer header = ByteBuffer.wrap(bmp).order(ByteOrder.LITTLE_ENDIAN);
    int compression = header.getInt(14) < 40 ? 0 : header.getInt(30); // short headers have none
    if (compression == BMP_JPEG || compression == BMP_PNG) {
      throw new IIOException("compression %d is not supported".formatted(compression));
    }
  }

  private static RowFailedException unreadable(String reason, @Nullable Throwable cause) {
    String message = "Cannot decode the image: " + reason;
    return cause == null
        ? new RowFailedException(FailureKind.IMAGE_UNREADABLE, message)
        : new RowFailedException(FailureKind.IMAGE_UNREADABLE, message, cause);
  }

  private static String reason(Throwable error) {
    Throwable root = error;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    String message = root.getMessage();
    if (message == null || message.isBlank()) {
      return root.getClass().getSimpleName();
    }
    String start = message.substring(0, Math.min(MAX_REASON, message.length()));
    return start.replaceAll("[\\p{Cntrl}\\u2028\\u2029]", "?"); // may quote the file
  }

  /**
   * A reader for each format. Looks through this class's loader, as under Spark the thread's loader
   * may be missing or see none of ours.
   */
  private static Map<ImageFormat, ImageReaderSpi> readers() {
    ImageIO.setUseCache(false);
    IIORegistry registry = IIORegistry.getDefaultInstance();
    for (ImageReaderSpi ours :
        ServiceLoader.load(ImageReaderSpi.class, ImageDecoder.class.getClassLoader())) {
      registry.registerServiceProvider(ours, ImageReaderSpi.class);
    }
    Map<ImageFormat, ImageReaderSpi> readers = new EnumMap<>(ImageFormat.class);
    for (ImageFormat format : ImageFormat.values()) {
      Iterator<ImageReaderSpi> providers =
          registry.getServiceProviders(
              ImageReaderSpi.class,
              provider ->
                  List.of(((ImageReaderSpi) provider).getFormatNames())
                      .contains(format.imageIoName()),
              true); // in order of preference
      if (!providers.hasNext()) {
        throw new IllegalStateException("Cannot find an ImageIO reader for " + format);
      }
      readers.put(format, providers.next());
    }
    return Map.copyOf(readers);
  }
}

package io.sinklens.preprocessing;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.util.Objects.requireNonNull;

import java.awt.image.BufferedImage;
import java.awt.image.DataBuffer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Base64;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * Image files that nobody sends with good intentions: damaged, oversized and misleading ones, made
 * here byte by byte, and the small valid files that they are made of.
 */
public final class HostileImages {
  private static final List<String> GOLDEN =
      List.of("jpeg-cmyk.jpg", "jpeg-exif6.jpg", "palette-transparent.png", "bilevel.png");

  /** Written by Pillow 13 in WebP, which nothing here can write. */
  private static final Map<String, String> WEBP =
      Map.of(
          "lossy",
          "UklGRkYBAABXRUJQVlA4IDoBAACQBwCdASoYABQAPxF4tVOsJyUiqAqpgCIJbACdMoO6nbC8d54DnadMg9AD9gOti/3h"
              + "FeBf1Pfa65FiXCF/7ZvsrQ2fVAAA/qwX46K0UETZLL9Kl4IFyzSujOXEy9zhtxfvLiiVQ8tCzRp4tcJfE87dMmeM"
              + "3P8mnQAi5SemIIizME7V6vUAKo/Vqkt1HG59jIuP8LiNrKb/Sk1WDJ+IZfe5EpNygKA5/pna+acwAF/OXLCVv7un"
              + "ZyMwCQTzumqTtS1nyhOH4kuDkA5uTeXL0Z5pDxRh3+vfyhh6rXyZkJAqdKPApejP8hbIB4ocWVWtA0nxRLIQ3CQQ"
              + "N8WaoTj/h38n/x/Q9nLrb1JH8O/B//6MCtd9ZH83z+TfSkewpSvXhc8t/QSFZhJq4ZyWOk54PtGNJqojLW2YNAAA"
              + "AAA=",
          "lossless",
          "UklGRk4AAABXRUJQVlA4TEIAAAAvCwACALmM6H/sIggkbfG2v/9xCYK2bbP9D8rzpxIOYTAlZhog4WME4iUQr4F8DWSg"
              + "yEHCPtAWa3EtvkVZjMWxeAY=",
          "alpha",
          "UklGRrAAAABXRUJQVlA4WAoAAAAQAAAADwAACwAAQUxQSCwAAAARX6CgbRs21LNx+BER+tyfrK98GIgkI8D/I4sKqqig"
              + "kwo6ChDR/7ioWWT/BVZQOCBeAAAAMAIAnQEqEAAMAAdAliWwAnR/CP/gWILjoYAA/oObmxwv4Ax7/44qXKmcG17B"
              + "Y6+/7HWKmGa3kS2TM4srteYFTK3qI58Sqcy5U6GHX09MffQ10/WesD/phW7FktAAAA==",
          "palette",
          "UklGRlQAAABXRUJQVlA4TEgAAAAvCIABAB8gEEGMlrn9TeYQCBADVhTq8yUUQAwSySP/Fc/8B/bUkEExAKBRB0M+ISSV"
              + "Qu92z2JIQ0gjov8BAhn0H6vQXVTF5gQ=",
          "animated",
          "UklGRpwBAABXRUJQVlA4WAoAAAASAAAACAAABgAAQU5JTQYAAAAAAAAAAABBTk1GvgAAAAAAAAAAAAgAAAYAAAAAAANW"
              + "UDhMpgAAAC8IgAEQ96EYkiTpP3IDUJ6Ds1crLEJBKIokqSH9NvlCIHIws0aU1NaTzf24lZl9cnJBsFRA0gFLDjIQ"
              + "SEHbNnLMGordk6yrAwalK3AorcCn1AJOnRcAwPobAADAPxWYlHbg0rxYIJRKIAkMAwAsml22bdt2Ef2P6QQErwVJ"
              + "PV8QKehh2iw3TIlGlLXrg9CSGefd9qKMbLlFv38Yq9heORw/zqmOX41BTk1GqgAAAAAAAAAAAAcAAAYAAAAAAAJW"
              + "UDhMkQAAAC8HgAEQh6EYkiTpP3IDkLJLcissQkMoaiMJOfqhrxN9WsgIkshWJIFA2CeRBMFSAUkHulyGC0SQbZtq"
              + "7jGpZ5WMlng/0RPvI/rFe42a6HxRUMxeFBQUXyLaYkyeugADSZIMJ9dn2zY7ov+BaV7WbT/Q9cNYNy2SNMuLsoLr"
              + "+UEYxdB0w7RsB4QyLqTCed3P+/0A");

  /** What programs that compute with lengths do not expect. */
  private static final int[] UNEXPECTED = {
    0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0xffffff, 0x7fffffff, 0x80000000, 0xfffffff0, -1
  };

  private HostileImages() {}

  /** Small valid files of every format and of the kinds that readers treat apart, by name. */
  public static Map<String, byte[]> seeds() {
    Map<String, byte[]> seeds = new LinkedHashMap<>();
    try {
      BufferedImage rgb = picture(BufferedImage.TYPE_INT_RGB);
      BufferedImage palette = picture(BufferedImage.TYPE_BYTE_INDEXED);
      BufferedImage bilevel = picture(BufferedImage.TYPE_BYTE_BINARY);
      seeds.put("baseline.jpg", written("jpg", null, false, rgb));
      seeds.put("progressive.jpg", written("jpg", null, true, rgb));
      seeds.put("grey.jpg", written("jpg", null, false, picture(BufferedImage.TYPE_BYTE_GRAY)));
      seeds.put("rgb.png", written("png", null, false, rgb));
      seeds.put("interlaced.png", written("png", null, true, rgb));
      seeds.put("palette.png", written("png", null, false, palette));
      seeds.put("grey16.png", written("png", null, false, picture(BufferedImage.TYPE_USHORT_GRAY)));
      seeds.put("rgb16.png", written("png", null, false, deep()));
      seeds.put("apng.png", animatedPng());
      seeds.put("still.gif", written("gif", null, false, palette));
      seeds.put("interlaced.gif", written("gif", null, true, palette));
      seeds.put("animated.gif", written("gif", null, false, palette, palette, palette));
      seeds.put("rgb.bmp", written("bmp", null, false, picture(BufferedImage.TYPE_3BYTE_BGR)));
      seeds.put("bilevel.bmp", written("bmp", null, false, bilevel));
      seeds.put("rle8.bmp", written("bmp", "BI_RLE8", false, palette));
      for (String compression : List.of("LZW", "ZLib", "PackBits", "JPEG", "Deflate")) {
        seeds.put(compression + ".tiff", written("tiff", compression, false, rgb));
      }
      for (String compression : List.of("CCITT RLE", "CCITT T.4", "CCITT T.6")) {
        seeds.put(compression + ".tiff", written("tiff", compression, false, bilevel));
      }
      seeds.put("rgb.tiff", written("tiff", null, false, rgb));
      seeds.put("rgb16.tiff", written("tiff", null, false, deep()));
      seeds.put("pages.tiff", written("tiff", "LZW", false, rgb, palette));
      for (String name : GOLDEN) {
        seeds.put(name, golden(name));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    new TreeMap<>(WEBP)
        .forEach((name, file) -> seeds.put(name + ".webp", Base64.getDecoder().decode(file)));
    return seeds;
  }

  /** A valid file after one to three accidents. */
  public static byte[] mutated(byte[] seed, byte[] other, Random random) {
    byte[] file = seed.clone();
    for (int i = 1 + random.nextInt(3); i > 0 && file.length > 8; i--) {
      file = mutatedOnce(file, other, random);
    }
    if (file.length > 4 && random.nextInt(4) > 0) {
      System.arraycopy(seed, 0, file, 0, 4); // or most would end as no image at all
    }
    return file;
  }

  private static byte[] mutatedOnce(byte[] file, byte[] other, Random random) {
    int at =
        random.nextBoolean()
            ? random.nextInt(Math.min(96, file.length))
            : random.nextInt(file.length);
    int length = 1 + random.nextInt(Math.min(64, file.length - at));
    switch (random.nextInt(7)) {
      case 0 -> file[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> Arrays.fill(file, at, at + length, (byte) random.nextInt(256));
      case 2 -> {
        byte[] noise = new byte[length];
        random.nextBytes(noise);
        System.arraycopy(noise, 0, file, at, length);
      }
      case 3 -> {
        return Arrays.copyOf(file, at + 1);
      }
      case 4 -> { // The rest comes from another file.
        int from = random.nextInt(other.length);
        return joined(Arrays.copyOf(file, at), Arrays.copyOfRange(other, from, other.length));
      }
      case 5 -> { // A part stands twice, or is missing.
        byte[] rest = Arrays.copyOfRange(file, random.nextInt(at + length), file.length);
        return joined(Arrays.copyOf(file, at + length), rest);
      }
      default -> {
        int bytes = random.nextBoolean() ? 4 : 2;
        ByteBuffer buffer = ByteBuffer.wrap(file);
        buffer.order(random.nextBoolean() ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
        int value = UNEXPECTED[random.nextInt(UNEXPECTED.length)];
        int place = Math.min(at, file.length - bytes);
        if (bytes == 4) {
          buffer.putInt(place, value);
        } else {
          buffer.putShort(place, (short) value);
        }
      }
    }
    return file;
  }

  /** Files made to hurt, by name. */
  public static Map<String, byte[]> corpus() {
    Map<String, byte[]> corpus = new LinkedHashMap<>();
    try {
      putStrangers(corpus);
      putPngs(corpus);
      putGifs(corpus);
      putTiffs(corpus);
      putWebps(corpus);
      putBmps(corpus);
      putJpegs(corpus);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return corpus;
  }

  private static void putStrangers(Map<String, byte[]> corpus) throws IOException {
    corpus.put("empty", new byte[0]);
    corpus.put("zeros", new byte[5000]);
    corpus.put(
        "html", latin1("<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>"));
    corpus.put("svg", latin1("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"));
    corpus.put("zip", zip());
    corpus.put("shell", latin1("#!/bin/sh\nexit 1\n"));
    for (String magic :
        List.of("\u00ff\u00d8\u00ff", "\u0089PNG\r\n\u001a\n", "GIF89a", "BM", "II*\0", "MM\0*")) {
      corpus.put("only magic " + opening(magic), latin1(magic));
      corpus.put("magic and zeros " + opening(magic), joined(latin1(magic), new byte[3000]));
      byte[] ones = new byte[3000];
      Arrays.fill(ones, (byte) -1);
      corpus.put("magic and ones " + opening(magic), joined(latin1(magic), ones));
    }
  }

  private static String opening(String magic) {
    String letters = magic.replaceAll("[^A-Z]", "");
    return letters.isEmpty() ? "JPEG" : letters;
  }

  private static void putPngs(Map<String, byte[]> corpus) throws IOException {
    corpus.put(
        "png of two thousand million columns",
        png(Integer.MAX_VALUE, Integer.MAX_VALUE, new byte[0], deflated(100)));
    corpus.put("png of negative size", png(-1, -1, new byte[0], deflated(100)));
    corpus.put("png without pixels", png(0, 5, new byte[0], deflated(5)));
    corpus.put(
        "png that inflates to 400 million pixels",
        png(20_000, 20_000, new byte[0], deflated(20_001L * 20_000)));
    corpus.put(
        "png of one pixel that inflates to 400 MB", png(1, 1, new byte[0], deflated(400_000_000)));
    corpus.put(
        "png with 400 MB of compressed text",
        png(
            1,
            1,
            chunk("zTXt", joined(latin1("Comment\0\0"), deflated(400_000_000))),
            deflated(2)));
    corpus.put(
        "png with 400 MB of international text",
        png(
            1,
            1,
            chunk("iTXt", joined(latin1("Comment\0\1\0\0\0"), deflated(400_000_000))),
            deflated(2)));
    corpus.put(
        "png with 400 MB of colour profile",
        png(
            1,
            1,
            chunk("iCCP", joined(latin1("Profile\0\0"), deflated(400_000_000))),
            deflated(2)));
    byte[] announced = chunk("tEXt", latin1("a\0b"));
    ByteBuffer.wrap(announced).putInt(0, Integer.MAX_VALUE);
    corpus.put("png with a chunk of 2 GB announced", png(1, 1, announced, deflated(2)));
    byte[] negative = announced.clone();
    ByteBuffer.wrap(negative).putInt(0, -12);
    corpus.put("png with a chunk that ends before it begins", png(1, 1, negative, deflated(2)));
    corpus.put("png with two headers", png(1, 1, pngHeader(30_000, 30_000), deflated(2)));
    corpus.put(
        "png with a palette chunk of 2 GB announced", png(1, 1, announced("PLTE"), deflated(2)));
    corpus.put("png of 100000 chunks", png(1, 1, manyChunks(), deflated(2)));
    corpus.put("png of one column", png(1, 65_535, new byte[0], deflated(2 * 65_535)));
    corpus.put("png of one row", png(65_535, 1, new byte[0], deflated(65_536)));
    byte[] rgb = requireNonNull(seeds().get("rgb.png"));
    corpus.put("png with a zip behind it", joined(rgb, zip()));
    corpus.put(
        "png with html in a comment",
        png(1, 1, chunk("tEXt", latin1("Comment\0<script>alert(1)</script>")), deflated(2)));
    corpus.put(
        "png whose orientation points at itself",
        png(1, 1, chunk("eXIf", loopingTiff()), deflated(2)));
  }

  private static byte[] announced(String type) {
    byte[] chunk = chunk(type, new byte[3]);
    ByteBuffer.wrap(chunk).putInt(0, Integer.MAX_VALUE);
    return chunk;
  }

  private static byte[] manyChunks() {
    ByteArrayOutputStream chunks = new ByteArrayOutputStream();
    byte[] chunk = chunk("teXt", new byte[0]);
    for (int i = 0; i < 100_000; i++) {
      chunks.writeBytes(chunk);
    }
    return chunks.toByteArray();
  }

  private static void putGifs(Map<String, byte[]> corpus) throws IOException {
    corpus.put("gif of a huge screen", gif(65_535, 65_535, 0, 0, 1, 1));
    corpus.put("gif of a huge frame", gif(1, 1, 0, 0, 65_535, 65_535));
    corpus.put("gif with a frame far out", gif(1, 1, 65_535, 65_535, 1, 1));
    corpus.put("gif with a frame as large as is allowed", gif(300, 300, 0, 0, 1, 1));
    corpus.put("gif without pixels", gif(0, 0, 0, 0, 0, 0));
    corpus.put("gif of one column", gif(1, 65_535, 0, 0, 1, 65_535));
    corpus.put("gif of one row", gif(65_535, 1, 0, 0, 65_535, 1));
    byte[] gif = gif(1, 1, 0, 0, 1, 1);
    ByteArrayOutputStream extensions = new ByteArrayOutputStream();
    extensions.write(gif, 0, 19);
    for (int i = 0; i < 200_000; i++) {
      extensions.writeBytes(new byte[] {0x21, (byte) 0xfe, 1, 'x', 0});
    }
    extensions.write(gif, 19, gif.length - 19);
    corpus.put("gif of 200000 comments", extensions.toByteArray());
    corpus.put(
        "gif with html behind it", joined(gif, latin1("<html><script>alert(1)</script></html>")));
  }

  /** A GIF with a palette of two colours and one frame of a single code. */
  private static byte[] gif(
      int width, int height, int left, int top, int frameWidth, int frameHeight) {
    ByteBuffer gif = ByteBuffer.allocate(37).order(ByteOrder.LITTLE_ENDIAN);
    gif.put(latin1("GIF89a")).putShort((short) width).putShort((short) height);
    gif.put(new byte[] {(byte) 0x80, 0, 0, 0, 0, 0, -1, -1, -1});
    gif.put((byte) 0x2c).putShort((short) left).putShort((short) top);
    gif.putShort((short) frameWidth).putShort((short) frameHeight).put((byte) 0);
    gif.put(new byte[] {2, 2, 0x44, 1, 0, 0x3b});
    return Arrays.copyOf(gif.array(), gif.position());
  }

  private static void putTiffs(Map<String, byte[]> corpus) throws IOException {
    corpus.put(
        "tiff of four thousand million columns",
        tiff(0xffffffffL, 0xffffffffL, entry(258, 3, 1, 8)));
    corpus.put(
        "tiff of two thousand million columns",
        tiff(0x7fffffffL, 0x7fffffffL, entry(258, 3, 1, 8)));
    corpus.put("tiff of negative width", tiff(0x80000001L, 1, entry(258, 3, 1, 8)));
    corpus.put("tiff without pixels", tiff(0, 0, entry(258, 3, 1, 8)));
    corpus.put("tiff of few bytes and many pixels", tiff(300, 300, entry(258, 3, 1, 8)));
    corpus.put(
        "tiff with 65535 samples a pixel",
        tiff(300, 300, entry(258, 3, 1, 8), entry(277, 3, 1, 65_535)));
    corpus.put("tiff with samples of 65535 bits", tiff(300, 300, entry(258, 3, 1, 65_535)));
    corpus.put(
        "tiff with huge tiles",
        tiff(
            8,
            8,
            entry(258, 3, 1, 8),
            entry(322, 4, 1, 60_000),
            entry(323, 4, 1, 60_000),
            entry(324, 4, 1, 8),
            entry(325, 4, 1, 100)));
    corpus.put(
        "tiff with tiles of two thousand million columns",
        tiff(
            8,
            8,
            entry(258, 3, 1, 8),
            entry(322, 4, 1, 0x7fffffffL),
            entry(323, 4, 1, 0x7fffffffL),
            entry(324, 4, 1, 8),
            entry(325, 4, 1, 100)));
    corpus.put(
        "tiff with a strip of 2 GB",
        tiff(8, 8, entry(258, 3, 1, 8), entry(279, 4, 1, 0x7fffffffL)));
    corpus.put(
        "tiff with a compressed strip of 2 GB",
        tiff(8, 8, entry(258, 3, 1, 8), entry(259, 3, 1, 5), entry(279, 4, 1, 0x7fffffffL)));
    corpus.put(
        "tiff with a jpeg strip of 2 GB",
        tiff(8, 8, entry(258, 3, 1, 8), entry(259, 3, 1, 7), entry(279, 4, 1, 0x7fffffffL)));
    corpus.put(
        "tiff with a thousand million strips",
        tiff(8, 8, entry(258, 3, 1, 8), entry(273, 4, 0x3fffffffL, 8)));
    corpus.put(
        "tiff with four thousand million samples", tiff(8, 8, entry(258, 3, 0xffffffffL, 8)));
    corpus.put(
        "tiff with a thousand million letters",
        tiff(8, 8, entry(258, 3, 1, 8), entry(270, 2, 0x3fffffffL, 8)));
    corpus.put(
        "tiff with a palette of a thousand million colours",
        tiff(8, 8, entry(258, 3, 1, 8), entry(262, 3, 1, 3), entry(320, 3, 0x3fffffffL, 8)));
    corpus.put("tiff with rows of no strip", tiff(8, 8, entry(258, 3, 1, 8), entry(278, 4, 1, 0)));
    corpus.put("tiff whose directory follows itself", loopingTiff());
    corpus.put(
        "tiff whose directory contains itself",
        tiff(8, 8, entry(258, 3, 1, 8), entry(330, 4, 1, 8)));
    corpus.put(
        "tiff whose exif contains itself", tiff(8, 8, entry(258, 3, 1, 8), entry(34_665, 4, 1, 8)));
    corpus.put(
        "tiff whose gps contains itself", tiff(8, 8, entry(258, 3, 1, 8), entry(34_853, 4, 1, 8)));
    corpus.put(
        "tiff of 65535 entries",
        joined(latin1("II*\0\u0008\0\0\0\u00ff\u00ff"), new byte[12 * 65_535]));
    byte[] bomb = deflated(400_000_000);
    corpus.put(
        "tiff of 64 pixels that inflates to 400 MB",
        joined(
            tiff(
                8,
                8,
                entry(258, 3, 1, 8),
                entry(259, 3, 1, 8),
                entry(273, 4, 1, 4096),
                entry(279, 4, 1, bomb.length)),
            bomb,
            4096));
    for (String kind : List.of("baseline", "progressive")) {
      byte[] huge = resized(requireNonNull(seeds().get(kind + ".jpg")), 65_000, 65_000);
      corpus.put(
          "tiff around a huge " + kind + " jpeg",
          joined(
              tiff(
                  8,
                  8,
                  entry(258, 3, 1, 8),
                  entry(259, 3, 1, 7),
                  entry(262, 3, 1, 6),
                  entry(273, 4, 1, 400),
                  entry(277, 3, 1, 3),
                  entry(279, 4, 1, huge.length)),
              huge,
              400));
    }
    corpus.put(
        "tiff with an old jpeg 2 GB away",
        tiff(
            8,
            8,
            entry(258, 3, 1, 8),
            entry(259, 3, 1, 6),
            entry(273, 4, 1, 0x7fffffffL),
            entry(513, 4, 1, 8)));
    corpus.put(
        "tiff of one column",
        tiff(1, 65_535, entry(258, 3, 1, 8), entry(279, 4, 1, 65_535), new byte[70_000]));
    corpus.put(
        "tiff of one row",
        tiff(65_535, 1, entry(258, 3, 1, 8), entry(279, 4, 1, 65_535), new byte[70_000]));
  }

  /** An entry of a directory: tag, type, count, value. */
  private static byte[] entry(int tag, int type, long count, long value) {
    return ByteBuffer.allocate(12)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putShort((short) tag)
        .putShort((short) type)
        .putInt((int) count)
        .putInt((int) value)
        .array();
  }

  /** A grey TIFF of one strip, where the entries say nothing else. */
  private static byte[] tiff(long width, long height, byte[]... entries) {
    TreeMap<Integer, byte[]> directory = new TreeMap<>();
    byte[] rest = new byte[100];
    for (byte[] entry :
        List.of(
            entry(256, 4, 1, width),
            entry(257, 4, 1, height),
            entry(259, 3, 1, 1),
            entry(262, 3, 1, 1),
            entry(273, 4, 1, 8),
            entry(277, 3, 1, 1),
            entry(278, 4, 1, height),
            entry(279, 4, 1, 64))) {
      directory.put(tag(entry), entry);
    }
    for (byte[] entry : entries) {
      if (entry.length == 12) {
        directory.put(tag(entry), entry);
      } else {
        rest = entry;
      }
    }
    ByteBuffer tiff =
        ByteBuffer.allocate(14 + 12 * directory.size() + rest.length)
            .order(ByteOrder.LITTLE_ENDIAN);
    tiff.put(latin1("II*\0")).putInt(8).putShort((short) directory.size());
    directory.values().forEach(tiff::put);
    return tiff.putInt(0).put(rest).array();
  }

  private static int tag(byte[] entry) {
    return ByteBuffer.wrap(entry).order(ByteOrder.LITTLE_ENDIAN).getShort() & 0xffff;
  }

  /** A TIFF whose only directory is followed by itself. */
  private static byte[] loopingTiff() {
    byte[] tiff = tiff(8, 8, entry(258, 3, 1, 8));
    ByteBuffer.wrap(tiff).order(ByteOrder.LITTLE_ENDIAN).putInt(10 + 12 * 9, 8);
    return tiff;
  }

  private static void putWebps(Map<String, byte[]> corpus) {
    Map<String, byte[]> seeds = seeds();
    byte[] lossless = requireNonNull(seeds.get("lossless.webp"));
    byte[] lossy = requireNonNull(seeds.get("lossy.webp"));
    corpus.put("webp of a huge canvas", webp(canvas(0, 1 << 24, 1 << 24), part(lossless, 12)));
    corpus.put(
        "webp of a huge canvas animated",
        webp(
            canvas(2, 1 << 24, 1 << 24),
            chunkOf("ANIM", new byte[6]),
            frame(0, 12, 9, part(lossless, 12))));
    byte[] hugeLossless = lossless.clone();
    ByteBuffer.wrap(hugeLossless).putInt(21, -1).put(24, (byte) 0x0f);
    byte[] hugeLossy = lossy.clone();
    ByteBuffer.wrap(hugeLossy).putInt(26, 0xff3fff3f);
    corpus.put("webp of 16384 x 16384 lossless", hugeLossless);
    corpus.put("webp of 16383 x 16383 lossy", hugeLossy);
    corpus.put(
        "webp of a small canvas and huge lossless pixels",
        webp(canvas(0, 1, 1), part(hugeLossless, 12)));
    corpus.put(
        "webp of a small canvas and huge lossy pixels", webp(canvas(0, 1, 1), part(hugeLossy, 12)));
    corpus.put(
        "webp of a small frame and huge lossless pixels",
        webp(
            canvas(2, 12, 9),
            chunkOf("ANIM", new byte[6]),
            frame(0, 1, 1, part(hugeLossless, 12))));
    corpus.put(
        "webp of a small frame and huge lossy pixels",
        webp(canvas(2, 12, 9), chunkOf("ANIM", new byte[6]), frame(0, 1, 1, part(hugeLossy, 12))));
    corpus.put(
        "webp of a huge frame",
        webp(
            canvas(2, 12, 9),
            chunkOf("ANIM", new byte[6]),
            frame(0, 1 << 24, 1 << 24, part(lossless, 12))));
    corpus.put(
        "webp of a frame far out",
        webp(
            canvas(2, 12, 9),
            chunkOf("ANIM", new byte[6]),
            frame(0xffffff, 12, 9, part(lossless, 12))));
    corpus.put(
        "webp with an exif that points at itself",
        webp(canvas(8, 12, 9), part(lossless, 12), chunkOf("EXIF", loopingTiff())));
    corpus.put(
        "webp with a chunk of 2 GB announced",
        webp(canvas(0, 12, 9), announcedWebp(0x7fffffff), part(lossless, 12)));
    corpus.put(
        "webp with a chunk of minus 8 bytes",
        webp(canvas(2, 12, 9), announcedWebp(-8), part(lossless, 12)));
    corpus.put("webp animated without a frame", webp(canvas(2, 12, 9), announcedWebp(-8)));
    byte[] transforms = new byte[5 + 4000];
    ByteBuffer.wrap(transforms).put((byte) 0x2f).put((byte) 11).put((byte) 0).put((byte) 2);
    for (int bit = 0; bit < 8 * 4000; bit++) { // 1 0 1: another transform, subtract green
      transforms[5 + bit / 8] |= (byte) (bit % 3 == 1 ? 0 : 1 << bit % 8);
    }
    corpus.put("webp of ten thousand transforms", webp(chunkOf("VP8L", transforms)));
    corpus.put(
        "webp of two pictures", webp(canvas(0, 12, 9), part(lossless, 12), part(lossless, 12)));
    corpus.put("webp of nothing", webp());
    corpus.put(
        "webp with a colour profile of zeros",
        webp(canvas(32, 12, 9), chunkOf("ICCP", new byte[128]), part(lossless, 12)));
  }

  private static byte[] webp(byte[]... chunks) {
    byte[] content = latin1("WEBP");
    for (byte[] chunk : chunks) {
      content = joined(content, chunk);
    }
    return chunkOf("RIFF", content);
  }

  private static byte[] chunkOf(String type, byte[] content) {
    return ByteBuffer.allocate(8 + content.length + (content.length & 1))
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(latin1(type))
        .putInt(content.length)
        .put(content)
        .array();
  }

  private static byte[] announcedWebp(int length) {
    byte[] chunk = chunkOf("XMP ", new byte[2]);
    ByteBuffer.wrap(chunk).order(ByteOrder.LITTLE_ENDIAN).putInt(4, length);
    return chunk;
  }

  private static byte[] canvas(int flags, int width, int height) {
    ByteBuffer canvas = ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN);
    canvas.putInt(flags);
    putThreeBytes(canvas, width - 1);
    putThreeBytes(canvas, height - 1);
    return chunkOf("VP8X", canvas.array());
  }

  private static byte[] frame(int left, int width, int height, byte[] pixels) {
    ByteBuffer frame = ByteBuffer.allocate(16 + pixels.length).order(ByteOrder.LITTLE_ENDIAN);
    putThreeBytes(frame, left);
    putThreeBytes(frame, 0);
    putThreeBytes(frame, width - 1);
    putThreeBytes(frame, height - 1);
    return chunkOf("ANMF", frame.putInt(0).put(pixels).array());
  }

  private static void putThreeBytes(ByteBuffer buffer, int value) {
    buffer.putShort((short) value).put((byte) (value >> 16));
  }

  private static void putBmps(Map<String, byte[]> corpus) throws IOException {
    Map<String, byte[]> seeds = seeds();
    corpus.put(
        "bmp of two thousand million columns",
        bmp(Integer.MAX_VALUE, Integer.MAX_VALUE, 24, 0, 0, new byte[100]));
    corpus.put("bmp of the lowest height", bmp(1, Integer.MIN_VALUE, 24, 0, 0, new byte[100]));
    corpus.put("bmp of negative width", bmp(-5, 5, 24, 0, 0, new byte[100]));
    corpus.put("bmp of few bytes and many pixels", bmp(300, 300, 24, 0, 0, new byte[100]));
    corpus.put(
        "bmp with two thousand million colours", bmp(8, 8, 8, 0, Integer.MAX_VALUE, new byte[100]));
    corpus.put("bmp of 65535 bits", bmp(8, 8, 65_535, 0, 0, new byte[100]));
    corpus.put(
        "bmp around a png of another size",
        bmp(1, 1, 0, 5, 0, png(30_000, 30_000, new byte[0], deflated(100))));
    corpus.put(
        "bmp around a jpeg of another size",
        bmp(1, 1, 0, 4, 0, resized(requireNonNull(seeds.get("baseline.jpg")), 65_000, 65_000)));
    corpus.put("bmp of skipping runs", bmp(300, 300, 8, 1, 256, joined(new byte[1024], skips())));
    corpus.put("bmp of one column", bmp(1, 65_535, 24, 0, 0, new byte[4 * 65_535]));
    corpus.put("bmp of one row", bmp(65_535, 1, 24, 0, 0, new byte[3 * 65_535 + 3]));
  }

  /** Runs that go nowhere: 0 2 0 0 moves by no column and no row. */
  private static byte[] skips() {
    byte[] skips = new byte[400_000];
    for (int i = 1; i < skips.length; i += 4) {
      skips[i] = 2;
    }
    return skips;
  }

  private static byte[] bmp(
      int width, int height, int bits, int compression, int colours, byte[] rest) {
    ByteBuffer bmp = ByteBuffer.allocate(54 + rest.length).order(ByteOrder.LITTLE_ENDIAN);
    bmp.put(latin1("BM"))
        .putInt(54 + rest.length)
        .putInt(0)
        .putInt(colours == 256 ? 54 + 1024 : 54);
    bmp.putInt(40).putInt(width).putInt(height).putShort((short) 1).putShort((short) bits);
    bmp.putInt(compression).putInt(rest.length).putInt(0).putInt(0).putInt(colours).putInt(0);
    return bmp.put(rest).array();
  }

  private static void putJpegs(Map<String, byte[]> corpus) throws IOException {
    byte[] jpeg = requireNonNull(seeds().get("baseline.jpg"));
    byte[] progressive = requireNonNull(seeds().get("progressive.jpg"));
    corpus.put("jpeg of 65500 x 65500", resized(jpeg, 65_500, 65_500));
    corpus.put("jpeg of 65535 x 65535", resized(jpeg, 65_535, 65_535));
    corpus.put("jpeg of few bytes and many pixels", resized(jpeg, 300, 300));
    corpus.put("progressive jpeg of few bytes and many pixels", resized(progressive, 300, 300));
    corpus.put("jpeg without rows", resized(jpeg, 0, 24));
    byte[] frame = Arrays.copyOfRange(jpeg, frameOf(jpeg), frameOf(jpeg) + 19);
    byte[] second = resized(frame, 65_000, 65_000);
    corpus.put(
        "jpeg with a second frame",
        joined(
            Arrays.copyOf(jpeg, frameOf(jpeg) + 19),
            joined(second, part(jpeg, frameOf(jpeg) + 19))));
    byte[] components = jpeg.clone();
    components[frameOf(jpeg) + 9] = (byte) 255;
    corpus.put("jpeg of 255 components", components);
    byte[] lossless = jpeg.clone();
    lossless[frameOf(jpeg) + 1] = (byte) 0xc3;
    corpus.put("jpeg said to be lossless", lossless);
    corpus.put("large jpeg said to be lossless", resized(lossless, 300, 300));
    byte[] exif = joined(latin1("Exif\0\0"), loopingTiff());
    corpus.put(
        "jpeg whose exif points at itself",
        joined(Arrays.copyOf(jpeg, 2), joined(segment(0xe1, exif), part(jpeg, 2))));
    corpus.put(
        "jpeg with html in a comment",
        joined(
            Arrays.copyOf(jpeg, 2),
            joined(segment(0xfe, latin1("<html><script>alert(1)</script>")), part(jpeg, 2))));
    corpus.put("jpeg with a zip behind it", joined(jpeg, zip()));
    ByteArrayOutputStream segments = new ByteArrayOutputStream();
    segments.write(jpeg, 0, 2);
    for (int i = 0; i < 100_000; i++) {
      segments.writeBytes(segment(0xfe, new byte[] {'x'}));
    }
    segments.writeBytes(part(jpeg, 2));
    corpus.put("jpeg of 100000 comments", segments.toByteArray());
    byte[] scan = part(progressive, frameOf(progressive) + 19);
    ByteArrayOutputStream scans = new ByteArrayOutputStream();
    byte[] large = resized(progressive, 300, 300);
    scans.write(large, 0, large.length - 2);
    for (int i = 0; i < 300; i++) {
      scans.write(scan, 0, scan.length - 2);
    }
    scans.writeBytes(new byte[] {-1, (byte) 0xd9});
    corpus.put("progressive jpeg of a thousand scans", scans.toByteArray());
  }

  private static byte[] segment(int marker, byte[] content) {
    return ByteBuffer.allocate(4 + content.length)
        .put((byte) 0xff)
        .put((byte) marker)
        .putShort((short) (content.length + 2))
        .put(content)
        .array();
  }

  private static byte[] resized(byte[] jpeg, int width, int height) {
    byte[] file = jpeg.clone();
    ByteBuffer.wrap(file)
        .putShort(frameOf(file) + 5, (short) height)
        .putShort(frameOf(file) + 7, (short) width);
    return file;
  }

  /** Where the frame header of a JPEG file begins. */
  private static int frameOf(byte[] jpeg) {
    int at = 0;
    while ((jpeg[at] & 0xff) != 0xff || (jpeg[at + 1] & 0xfc) != 0xc0) {
      at++;
    }
    return at;
  }

  /** A PNG file, grey of 8 bits. */
  static byte[] png(int width, int height, byte[] extraChunks, byte[] pixels) {
    byte[] begin = joined(latin1("\u0089PNG\r\n\u001a\n"), pngHeader(width, height));
    byte[] end = joined(chunk("IDAT", pixels), chunk("IEND", new byte[0]));
    return joined(joined(begin, extraChunks), end);
  }

  private static byte[] pngHeader(int width, int height) {
    return chunk(
        "IHDR", ByteBuffer.allocate(13).putInt(width).putInt(height).put((byte) 8).array());
  }

  private static byte[] animatedPng() {
    byte[] control = chunk("acTL", ByteBuffer.allocate(8).putInt(2).array());
    ByteBuffer frame = ByteBuffer.allocate(26).putInt(0).putInt(3).putInt(2);
    byte[] second = chunk("fdAT", joined(new byte[] {0, 0, 0, 1}, deflated(8)));
    return joined(png(3, 2, joined(control, chunk("fcTL", frame.array())), deflated(8)), second);
  }

  private static byte[] chunk(String type, byte[] content) {
    byte[] typed = joined(latin1(type), content);
    CRC32 crc = new CRC32();
    crc.update(typed);
    return ByteBuffer.allocate(typed.length + 8)
        .putInt(content.length)
        .put(typed)
        .putInt((int) crc.getValue())
        .array();
  }

  /** Many zeros as few bytes. */
  static byte[] deflated(long zeros) {
    ByteArrayOutputStream compressed = new ByteArrayOutputStream();
    Deflater deflater = new Deflater(Deflater.BEST_SPEED);
    try (DeflaterOutputStream out = new DeflaterOutputStream(compressed, deflater)) {
      byte[] block = new byte[1 << 16];
      for (long left = zeros; left > 0; left -= block.length) {
        out.write(block, 0, (int) Math.min(left, block.length));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      deflater.end();
    }
    return compressed.toByteArray();
  }

  private static byte[] zip() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      zip.putNextEntry(new ZipEntry("index.html"));
      zip.write(latin1("<html>"));
    }
    return bytes.toByteArray();
  }

  private static BufferedImage picture(int type) {
    BufferedImage image = new BufferedImage(24, 20, type);
    fill(image);
    return image;
  }

  private static void fill(BufferedImage image) {
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        image.setRGB(
            x, y, 0xff000000 | (37 * x + 11 * y) << 16 | (91 * y ^ 5 * x) << 8 | 53 * x * y);
      }
    }
  }

  /** Three samples of 16 bits. */
  private static BufferedImage deep() {
    ImageTypeSpecifier type =
        ImageTypeSpecifier.createInterleaved(
            new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB).getColorModel().getColorSpace(),
            new int[] {0, 1, 2},
            DataBuffer.TYPE_USHORT,
            false,
            false);
    BufferedImage image = type.createBufferedImage(24, 20);
    fill(image);
    return image;
  }

  /** Images as ImageIO's writer of a format writes them. */
  private static byte[] written(
      String format, @Nullable String compression, boolean progressive, BufferedImage... frames)
      throws IOException {
    ImageWriter writer = writer(format);
    ImageWriteParam param = writer.getDefaultWriteParam();
    if (compression != null) {
      param.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
      param.setCompressionType(compression);
    }
    if (param.canWriteProgressive()) {
      param.setProgressiveMode(
          progressive ? ImageWriteParam.MODE_DEFAULT : ImageWriteParam.MODE_DISABLED);
    }
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try (ImageOutputStream out = new MemoryCacheImageOutputStream(file)) {
      writer.setOutput(out);
      if (frames.length == 1) {
        writer.write(null, new IIOImage(frames[0], null, null), param);
      } else {
        writer.prepareWriteSequence(null);
        for (BufferedImage frame : frames) {
          writer.writeToSequence(new IIOImage(frame, null, null), param);
        }
        writer.endWriteSequence();
      }
    } finally {
      writer.dispose();
    }
    return file.toByteArray();
  }

  /** The JDK's own writer, which makes more kinds of TIFF than others do. */
  private static ImageWriter writer(String format) {
    Iterator<ImageWriter> writers = ImageIO.getImageWritersByFormatName(format);
    while (writers.hasNext()) {
      ImageWriter writer = writers.next();
      if (writer.getClass().getName().startsWith("com.sun.imageio.")) {
        return writer;
      }
    }
    throw new IllegalStateException("Cannot find the JDK's writer of " + format);
  }

  private static byte[] golden(String name) throws IOException {
    try (InputStream file = HostileImages.class.getResourceAsStream("/golden/images/" + name)) {
      return requireNonNull(file, name).readAllBytes();
    }
  }

  private static byte[] latin1(String text) {
    return text.getBytes(ISO_8859_1);
  }

  private static byte[] part(byte[] file, int from) {
    return Arrays.copyOfRange(file, from, file.length);
  }

  /** Content at a place of a file. */
  private static byte[] joined(byte[] file, byte[] content, int place) {
    return joined(Arrays.copyOf(file, place), content);
  }

  static byte[] joined(byte[] first, byte[] second) {
    byte[] both = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, both, first.length, second.length);
    return both;
  }
}

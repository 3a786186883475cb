package io.sinklens.job;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.schema.MessageType;

/** A single file of Parquet, written by this process. */
final class ParquetFile {
  private ParquetFile() {}

  /** Begins a file in place of one that may be there. */
  static ParquetWriter<Group> create(String path, MessageType schema, Configuration hadoop)
      throws IOException {
    return ExampleParquetWriter.builder(new Path(path))
        .withType(schema)
        .withConf(withoutChecksumFiles(hadoop))
        .withCompressionCodec(CompressionCodecName.ZSTD)
        .withWriteMode(ParquetFileWriter.Mode.OVERWRITE)
        .build();
  }

  /** Files of this machine get no second file beside them. */
  static Configuration withoutChecksumFiles(Configuration hadoop) {
    Configuration plain = new Configuration(hadoop);
    plain.setClass("fs.file.impl", RawLocalFileSystem.class, Object.class);
    plain.setBoolean("fs.file.impl.disable.cache", true);
    return plain;
  }
}

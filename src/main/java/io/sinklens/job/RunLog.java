package io.sinklens.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sinklens.pipeline.Addresses;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.Configuration;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.config.Property;
import org.apache.logging.log4j.message.MapMessage;
import org.apache.spark.SparkContext;

/**
 * The events of a run, which go to the log as any message does; and the file of a process that they
 * go to if someone wants one, each as a line of JSON, together with what others warn of.
 */
final class RunLog implements AutoCloseable {
  /** The setting of Spark that names the folder; without it there is no file. */
  static final String FOLDER = "spark.sinklens.log.dir";

  private static final String LOGGER = "io.sinklens.run";

  private final LoggerContext context = context();
  private final Configuration configuration = context.getConfiguration();
  private final LinesOfJson file;

  private RunLog(LinesOfJson file) {
    this.file = file;
    LoggerConfig root = configuration.getRootLogger();
    boolean heardAnyway = root.getLevel().isLessSpecificThan(Level.INFO);
    LoggerConfig events = new LoggerConfig(LOGGER, Level.INFO, heardAnyway);
    file.start();
    events.addAppender(file, Level.INFO, null);
    root.addAppender(file, Level.WARN, null);
    configuration.addLogger(LOGGER, events);
    context.updateLoggers();
  }

  /** Tells that something has happened. */
  static void tell(String event, Map<String, ?> facts) {
    Map<String, Object> told = new LinkedHashMap<>();
    told.put("event", event);
    told.putAll(facts);
    context().getLogger(LOGGER).info(new Told(told));
  }

  /**
   * Begins a file, or goes on with one.
   *
   * @param process the file's name, and what every line calls this process
   */
  static RunLog open(Path folder, String process) {
    Path path = folder.resolve(process + ".jsonl");
    try {
      Files.createDirectories(folder);
      BufferedWriter writer =
          Files.newBufferedWriter(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      return new RunLog(new LinesOfJson(process, writer));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write the log " + path, e);
    }
  }

  @Override
  public void close() {
    configuration.removeLogger(LOGGER);
    configuration.getRootLogger().removeAppender(file.getName());
    context.updateLoggers();
    file.stop();
  }

  /** Spark's own: the program may have come with a class loader of its own. */
  private static LoggerContext context() {
    return (LoggerContext) LogManager.getContext(SparkContext.class.getClassLoader(), false);
  }

  /** An event, whose facts keep their types. */
  private static final class Told extends MapMessage<Told, Object> {
    private static final long serialVersionUID = 1L;

    Told(Map<String, Object> facts) {
      super(facts);
    }

    @Override
    public Told newInstance(Map<String, Object> facts) {
      return new Told(facts);
    }
  }

  private static final class LinesOfJson extends AbstractAppender {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String process;
    private final BufferedWriter writer;

    LinesOfJson(String process, BufferedWriter writer) {
      super("sinklens " + process, null, null, true, Property.EMPTY_ARRAY);
      this.process = process;
      this.writer = writer;
    }

    @Override
    public void append(LogEvent event) {
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("time", Instant.ofEpochMilli(event.getTimeMillis()).toString());
      line.put("level", event.getLevel().name());
      line.put("process", process);
      if (event.getMessage() instanceof Told told) {
        line.putAll(told.getData());
      } else {
        line.put("logger", event.getLoggerName());
        line.put("message", event.getMessage().getFormattedMessage());
        if (event.getThrown() != null) {
          line.put("error", event.getThrown().toString());
        }
      }
      write(line);
    }

    private synchronized void write(Map<String, Object> line) {
      try {
        writer.write(Addresses.withoutSecrets(JSON.writeValueAsString(line)));
        writer.newLine();
        writer.flush();
      } catch (JsonProcessingException e) {
        throw new IllegalStateException("Cannot write an event as JSON", e);
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot write to the log of " + process, e);
      }
    }

    @Override
    public void stop() {
      super.stop();
      try {
        writer.close();
      } catch (IOException e) {
        throw new UncheckedIOException("Cannot close the log of " + process, e);
      }
    }
  }
}

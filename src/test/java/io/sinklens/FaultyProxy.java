package io.sinklens;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Stands before an HTTP server and spoils requests. Each has a connection of its own; what is not
 * spoiled passes byte by byte.
 */
public final class FaultyProxy implements AutoCloseable {
  private static final int HEAD_BYTES = 1 << 16;

  private final ServerSocket listening;
  private final int target;
  private final Plan plan;
  private final ExecutorService threads =
      Executors.newCachedThreadPool(
          task -> {
            Thread thread = new Thread(task, "faulty proxy");
            thread.setDaemon(true);
            return thread;
          });
  private final AtomicInteger spoiled = new AtomicInteger();

  /** What becomes of a request. */
  public sealed interface Fate {
    /** Nothing. */
    record Pass() implements Fate {}

    /** The proxy answers in the server's place. */
    record Answer(int status) implements Fate {}

    /** It takes so long. */
    record Wait(int millis) implements Fate {}

    /** The connection ends when so many bytes of the answer have come. */
    record Cut(int bytes) implements Fate {}

    Fate PASS = new Pass();
  }

  /** Decides, by a request's method and path; called by several threads. */
  @FunctionalInterface
  public interface Plan {
    Fate of(String method, String path);
  }

  /** Begins to listen. */
  public FaultyProxy(int target, Plan plan) {
    this.target = target;
    this.plan = plan;
    try {
      listening = new ServerSocket(0, 100, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    threads.execute(this::listen);
  }

  public int port() {
    return listening.getLocalPort();
  }

  /** How many requests did not simply pass. */
  public int spoiled() {
    return spoiled.get();
  }

  @Override
  public void close() throws IOException {
    listening.close();
    threads.shutdownNow();
  }

  private void listen() {
    while (!listening.isClosed()) {
      try {
        Socket client = listening.accept();
        threads.execute(() -> serve(client));
      } catch (IOException e) {
        return; // Closed.
      }
    }
  }

  private void serve(Socket client) {
    try (client) {
      String head = head(client.getInputStream());
      if (head.isEmpty()) {
        return;
      }
      String[] request = head.split(" ", 3);
      Fate fate = plan.of(request[0], request[1]);
      if (!fate.equals(Fate.PASS)) {
        spoiled.incrementAndGet();
      }
      if (fate instanceof Fate.Answer answer) {
        answer(client, answer.status());
      } else {
        if (fate instanceof Fate.Wait wait) {
          Thread.sleep(wait.millis());
        }
        pass(client, head, fate instanceof Fate.Cut cut ? cut.bytes() : Long.MAX_VALUE);
      }
    } catch (IOException e) {
      // One of the two has gone, as they do.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Up to and with the empty line. */
  private static String head(InputStream in) throws IOException {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    int end = 0;
    while (end < 4 && head.size() < HEAD_BYTES) {
      int next = in.read();
      if (next < 0) {
        return "";
      }
      head.write(next);
      end = next == (end % 2 == 0 ? '\r' : '\n') ? end + 1 : next == '\r' ? 1 : 0;
    }
    return head.toString(StandardCharsets.ISO_8859_1);
  }

  private static void answer(Socket client, int status) throws IOException {
    byte[] body =
        "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>Spoiled</Message></Error>"
            .formatted(status == 503 ? "SlowDown" : "InternalError")
            .getBytes(StandardCharsets.UTF_8);
    OutputStream out = client.getOutputStream();
    out.write(
        "HTTP/1.1 %d Spoiled\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            .formatted(status, body.length)
            .getBytes(StandardCharsets.UTF_8));
    out.write(body);
    out.flush();
    client.shutdownOutput();
    client.getInputStream().transferTo(OutputStream.nullOutputStream());
  }

  private void pass(Socket client, String head, long bytes) throws IOException {
    try (Socket server = new Socket(InetAddress.getLoopbackAddress(), target)) {
      String once = head.replaceFirst("(?i)\r\nconnection: [^\r]*", "");
      server
          .getOutputStream()
          .write(
              once.replaceFirst("\r\n\r\n$", "\r\nConnection: close\r\n\r\n")
                  .getBytes(StandardCharsets.ISO_8859_1));
      threads.execute(() -> copy(client, server));
      InputStream answer = server.getInputStream();
      OutputStream out = client.getOutputStream();
      byte[] buffer = new byte[8192];
      long left = bytes;
      for (int read = answer.read(buffer); read >= 0 && left > 0; read = answer.read(buffer)) {
        out.write(buffer, 0, (int) Math.min(left, read));
        left -= read;
      }
    }
  }

  private static void copy(Socket from, Socket to) {
    try {
      from.getInputStream().transferTo(to.getOutputStream());
    } catch (IOException e) {
      // The answer has ended, and with it the connection.
    }
  }
}

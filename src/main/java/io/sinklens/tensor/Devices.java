package io.sinklens.tensor;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.engine.EngineException;
import ai.djl.util.cuda.CudaUtils;
import java.lang.management.MemoryUsage;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a model can run: the processor, or a GPU that the installed libtorch can use. */
public final class Devices {
  /** What {@code model.device} may say. */
  public static final Pattern SETTING = Pattern.compile("auto|cpu|gpu(?::(\\d{1,3}))?");

  private Devices() {}

  /**
   * The device that a setting names.
   *
   * @param setting {@code cpu}, {@code gpu} (the first), {@code gpu:N}, or {@code auto}: the first
   *     GPU, if there is one
   * @throws IllegalArgumentException if it names a GPU and libtorch finds none
   */
  public static Device resolve(String setting) {
    Device device = planned(setting);
    if (device.isGpu() && !hasCuda()) {
      throw new IllegalArgumentException(
          "Cannot use device %s: libtorch %s finds no CUDA device, or was built without CUDA"
              .formatted(setting, Engine.getEngine("PyTorch").getVersion()));
    }
    return device;
  }

  /** As {@link #resolve}, but a GPU that is named may be another machine's. */
  public static Device planned(String setting) {
    Matcher parts = SETTING.matcher(setting);
    if (!parts.matches()) {
      throw new IllegalArgumentException("Device must be auto, cpu, gpu or gpu:N, not " + setting);
    }
    boolean gpu = setting.equals("auto") ? hasCuda() : setting.startsWith("gpu");
    String number = parts.group(1);
    return gpu ? Device.gpu(number == null ? 0 : Integer.parseInt(number)) : Device.cpu();
  }

  /** As in settings: {@code cpu} or {@code gpu:N}. */
  public static String name(Device device) {
    return device.isGpu() ? "gpu:" + device.getDeviceId() : "cpu";
  }

  /** Bytes of a GPU's memory; empty for the processor, or where CUDA's runtime cannot be asked. */
  public static Optional<DeviceMemory> memory(Device device) {
    if (!device.isGpu()) {
      return Optional.empty();
    }
    try {
      MemoryUsage usage = CudaUtils.getGpuMemory(device);
      return Optional.of(new DeviceMemory(usage.getMax(), usage.getMax() - usage.getUsed()));
    } catch (IllegalStateException | IllegalArgumentException | EngineException e) {
      return Optional.empty(); // Its library is not where JNA looks, or there is no such device.
    }
  }

  private static boolean hasCuda() {
    return Engine.getEngine("PyTorch").hasCapability("CUDA");
  }

  /**
   * Memory of a device.
   *
   * @param total bytes it has
   * @param free bytes that nobody holds, other processes included
   */
  public record DeviceMemory(long total, long free) {}
}

package io.sinklens.cli;

import java.util.ArrayList;
import java.util.List;

/** Runs commands one after the other in a process of its own, and prints how each ended. */
final class SeveralCommands {
  static final String NEXT = ";";

  private SeveralCommands() {}

  public static void main(String[] arguments) {
    List<String> command = new ArrayList<>();
    for (String argument : arguments) {
      if (argument.equals(NEXT)) {
        int code = SinklensCommand.commandLine().execute(command.toArray(new String[0]));
        System.out.println("ended with " + code);
        command.clear();
      } else {
        command.add(argument);
      }
    }
    System.exit(0);
  }
}

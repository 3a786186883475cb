package io.sinklens.job;

import java.util.Locale;
import java.util.Set;

/** When a run is killed, as far as that is seen in its output. */
enum KillMoment {
  /** Any time since its start, and so in planning, loading and reading. */
  ANY_TIME {
    @Override
    boolean isReached(OutputView now, Before before) {
      return false; // It is only limited by how long a run takes.
    }
  },
  /** The lease is taken, and what lies there is about to be swept up. */
  LEASE_TAKEN {
    @Override
    boolean isReached(OutputView now, Before before) {
      String lease = now.lease();
      return !lease.isEmpty() && !lease.equals(before.lease());
    }
  },
  /** The manifest says that this run has begun. */
  BEGUN {
    @Override
    boolean isReached(OutputView now, Before before) {
      return now.generation() > before.generation();
    }
  },
  /** A wave is being written. */
  WRITING {
    @Override
    boolean isReached(OutputView now, Before before) {
      return BEGUN.isReached(now, before) && !now.waves().containsAll(now.folders());
    }

    @Override
    double delaySeconds() {
      return A_WHILE;
    }
  },
  /** A wave is written, and the manifest does not list it yet. */
  BETWEEN_DATA_AND_COMMIT {
    @Override
    boolean isReached(OutputView now, Before before) {
      return BEGUN.isReached(now, before) && now.hasWrittenWaveThatDoesNotCount();
    }
  },
  /** A manifest is about to take the place of the one before. */
  MANIFEST_DRAFTED {
    @Override
    boolean isReached(OutputView now, Before before) {
      return now.hasDraft();
    }
  },
  /** A wave was committed. */
  COMMITTED {
    @Override
    boolean isReached(OutputView now, Before before) {
      return now.waves().size() > before.waves().size();
    }
  },
  /** All waves are committed, and the output is checked. */
  CHECKING {
    @Override
    boolean isReached(OutputView now, Before before) {
      return BEGUN.isReached(now, before)
          && now.waves().size() == now.slices()
          && !now.isComplete();
    }

    @Override
    double delaySeconds() {
      return A_WHILE;
    }
  };

  private static final double A_MOMENT = 0.02;
  private static final double A_WHILE = 3;

  /**
   * What lay in an output before a run began.
   *
   * @param lease its text
   * @param generation of the manifest, below 0 if there was none
   * @param waves that counted
   * @param folders of waves, those that did not count too
   */
  record Before(String lease, int generation, Set<Integer> waves, Set<Integer> folders) {
    static Before of(OutputView view) {
      return new Before(view.lease(), view.generation(), view.waves(), view.folders());
    }
  }

  /** Whether a run has come so far. */
  abstract boolean isReached(OutputView now, Before before);

  /** How long after that the kill may come at the latest. */
  double delaySeconds() {
    return A_MOMENT;
  }

  /** In words. */
  String shown() {
    return name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }
}

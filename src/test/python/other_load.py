"""How much of the machine other processes used while something was measured."""

from __future__ import annotations

import os
import time
from pathlib import Path


class OtherLoad:
    """Counts from its making on. Children count as own once they have ended."""

    def __init__(self) -> None:
        self._start, self._busy, self._own = time.perf_counter(), _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """Of all processors' time, the part that neither this process used nor nobody."""
        elapsed = (time.perf_counter() - self._start) * (os.cpu_count() or 1)
        others = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return round(max(0.0, others) / elapsed, 4)


def _busy_seconds() -> float:
    """Of all processors together, with what other machines on the same host took."""
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, Path("/proc/stat").read_text("ascii").split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

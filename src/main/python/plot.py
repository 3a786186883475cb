"""Draws the loss curve of training logs, and the accuracies measured on the way.

    python plot.py runs/warmup.jsonl runs/answers.jsonl runs/sinks.jsonl --output runs/training.png

Runs follow one another along the axis of steps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402


def entries(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    figure, (losses, accuracies) = pyplot.subplots(2, 1, sharex=True, figsize=(9, 7), layout="constrained")
    curves: dict[str, tuple[list[int], list[float]]] = {}
    kinds: dict[str, tuple[list[int], list[float]]] = {}
    start = 0
    for log in arguments.logs:
        last = 0
        for entry in entries(log):
            step = entry.get("step", 0)
            last = max(last, step)
            for name in ("answers", "words", "patches", "sizes", "surplus", "idle"):
                if isinstance(entry.get(name), float):
                    curves.setdefault(name, ([], []))[0].append(start + step)
                    curves[name][1].append(entry[name])
            for kind, share in entry.get("accuracy", {}).items():
                kinds.setdefault(kind, ([], []))[0].append(start + step)
                kinds[kind][1].append(100 * share)
        for axes in (losses, accuracies):
            axes.axvline(start, color="0.8", linewidth=0.8)
        losses.annotate(log.stem, (start, 1.0), xycoords=("data", "axes fraction"), fontsize=8, va="bottom")
        start += last
    for name, (steps, values) in curves.items():
        losses.plot(steps, values, label=name, linewidth=1)
    for kind, (steps, values) in sorted(kinds.items()):
        accuracies.plot(steps, values, label=kind, marker=".", linewidth=1)
    losses.set(ylabel="loss, as weighted", yscale="log")
    accuracies.set(xlabel="step", ylabel="right on scenes never trained on, %", ylim=(0, 100))
    for axes in (losses, accuracies):
        axes.legend(fontsize=8, ncols=2)
    figure.savefig(arguments.output, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()

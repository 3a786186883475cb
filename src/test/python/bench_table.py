"""Prints how many times as fast Sinklens is as its peers, from the files that `sinklens bench` and `peer_bench.py` wrote.

    python bench_table.py FILE...

The first file of Sinklens on a workload belongs to the first of the peer, and so on: name them in the order they were measured in.
A ratio is taken within each pair; the table has the median of the ratios, and the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Measured:
    """All files of one workload in one dtype, in order."""

    sinklens: list[dict[str, Any]] = field(default_factory=list)
    peer: list[dict[str, Any]] = field(default_factory=list)


def gather(files: list[Path]) -> dict[tuple[str, str], Measured]:
    found: dict[tuple[str, str], Measured] = defaultdict(Measured)
    for file in files:
        document = json.loads(file.read_text("utf-8"))
        if "peer" in document:
            found[document["workload"], document["dtype"]].peer.append(document)
        else:
            found[document["workload"], document["model"]["dtype"]].sinklens.append(document)
    return found


def spread(values: list[float], digits: int) -> str:
    """Median, smallest and largest."""
    median = f"{statistics.median(values):.{digits}f}"
    return f"{median} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else median


def best_run(peer: dict[str, Any]) -> str:
    return ", ".join(f"{run['name']} at {run['batch_size']}" for run in peer["best"]["runs"])


def table(found: dict[tuple[str, str], Measured]) -> list[str]:
    lines = ["| workload | dtype | Sinklens, rows/s | peer, rows/s | peer's best | ratio |", "|---|---|---|---|---|---|"]
    for (workload, dtype), measured in found.items():
        pairs = list(zip(measured.sinklens, measured.peer))
        if len(measured.sinklens) != len(measured.peer):
            raise SystemExit(f"{workload} in {dtype}: {len(measured.sinklens)} files of Sinklens, {len(measured.peer)} of the peer")
        ours = [document["engine"]["rows_per_second"] for document, _ in pairs]
        peer = [document["best"]["rows_per_second"] for _, document in pairs]
        cells = [workload, dtype, spread(ours, 3), spread(peer, 3), best_run(pairs[0][1])]
        cells.append(spread([one / other for one, other in zip(ours, peer)], 2))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def released(found: dict[tuple[str, str], Measured], own: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Sinklens with VAR against the released loop, which the peer ran for the workload `pairs`."""
    lines = []
    for (workload, dtype), measured in found.items():
        rates = [
            run["rows_per_second"] for document in measured.peer for run in document["runs"] if run["name"] == "released-eager"
        ]
        ours = [document["engine"]["rows_per_second"] for document in own.get("questions-var", [])]
        if workload == "pairs" and rates and ours:
            ratios = [one / other for one, other in zip(ours, rates)]
            lines.append(f"| questions with VAR against the released loop, {dtype} | {spread(ratios, 2)} |")
    return lines


def own_table(own: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Sinklens against itself: how much longer one measurement took than another, repetition by repetition."""

    def seconds(document: dict[str, Any]) -> float:
        return document["engine"]["seconds"]

    lines = []
    for title, longer, shorter in (
        ("pairs against questions as baseline, time", "pairs", "questions-baseline"),
        ("questions with VAR against without, time", "questions-var", "questions-plain"),
        ("captions with VAR against without, time", "captions-var", "captions-plain"),
        ("questions with VAR, statistics summary against none, time", "questions-var", "questions-var-none"),
    ):
        if longer in own and shorter in own:
            ratios = [seconds(one) / seconds(other) for one, other in zip(own[longer], own[shorter])]
            lines.append(f"| {title} | {spread(ratios, 3)} |")
    return lines


def start_table(start: dict[str, float]) -> list[str]:
    lines = ["| bundled model, from start to end | seconds |", "|---|---|"]
    lines.append(f"| annotate of one question | {start['annotate_seconds']:.1f} |")
    return [*lines, f"| ask | {start['ask_seconds']:.1f} |"]


def growth_table(found: dict[str, dict[int, list[dict[str, Any]]]]) -> list[str]:
    """By what grew and how far: what processes printed that ran at once."""
    lines = ["| questions | | rows | seconds | rows/s |", "|---|---|---|---|---|"]
    for what, points in found.items():
        for number, documents in points.items():
            engines = [document["engine"] for document in documents]
            rows, rate = (sum(engine[key] for engine in engines) for key in ("rows", "rows_per_second"))
            lines.append(f"| {what} | {number} | {rows} | {max(engine['seconds'] for engine in engines):.2f} | {rate:.3f} |")
    return lines


def require_same_answers(found: dict[tuple[str, str], Measured]) -> None:
    """Fails where the first answers of both sides differ in float32, attention left alone; less precise types may differ."""
    for (workload, dtype), measured in found.items():
        for ours, peer in zip(measured.sinklens, measured.peer):
            for run in peer["runs"]:
                answer = ours["first_answer"].get(run["variant"])
                if dtype == "float32" and run["name"] == "transformers-sdpa" and answer != run["first_answer"]:
                    raise SystemExit(f"{workload} in float32: Sinklens answers {answer}, {run['name']} {run['first_answer']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    found = gather(parser.parse_args().files)
    print("\n".join(table(found)))
    require_same_answers(found)


if __name__ == "__main__":
    main()

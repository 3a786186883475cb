"""Measures Sinklens and its peers in turn and prints the table of ratios.

    python bench_all.py --model FOLDER --reference-checkout DIR --output FOLDER

Every repetition measures every workload with both, and the next one in the other order. The first repetition tries all batch sizes
of the peer, the others only the best of the first. What was measured while other processes had more than a few hundredths of the
machine is measured again; if that does not help, the run ends without a table. Measurements that are in the output folder already
are kept, so a run that ended early can be taken up again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_table
import workloads
from other_load import OtherLoad

HOME = Path(__file__).parents[3]
BATCH_SIZES = [1, 4, 8, 16]
QUIET = 0.05
"""Share of the machine that other processes may have meanwhile."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Own:
    """What Sinklens alone is measured on; no variants stand for the workload's."""

    workload: str
    variants: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)


OWN = {
    "questions-plain": Own("questions", ["plain"]),
    "questions-baseline": Own("questions", ["baseline"]),
    "questions-var": Own("questions", ["var"]),
    "questions-var-none": Own("questions", ["var"], ["statistics.level=none"]),
    "pairs": Own("pairs", ["baseline", "var"]),
    "captions-plain": Own("captions", ["plain"]),
    "captions-var": Own("captions", ["var"]),
}
"""Measured one after the other in every repetition, to be compared with each other."""


@dataclass(frozen=True)
class Plan:
    model: Path
    reference_checkout: Path
    output: Path
    threads: int
    images: int | None
    batch_sizes: list[int]

    def sinklens(self, workload: str, variants: list[str], settings: list[str]) -> list[str]:
        """The one place that knows the command line of `sinklens bench`."""
        command = [str(HOME / "jobs" / "sinklens"), "bench", "--workload", workload, "--model", str(self.model), "--engine-only"]
        command += ["--variants", ",".join(variants), "--set", "generation.batch-tokens=49152"]
        dimensions = json.loads((self.model / "sinks.json").read_text("utf-8"))["dimensions"]
        for index, variant in enumerate(variants):
            if variant != "plain":
                command += ["--set", f"variants.{index}.sink-dimensions={dimensions}"]
        for setting in settings:
            command += ["--set", setting]
        if self.images is not None:
            command += ["--images", str(self.images)]
        return command

    def peer(self, workload: str, batch_sizes: list[int], runs: list[str], file: Path) -> list[str]:
        command = [sys.executable, str(HOME / "src/test/python/peer_bench.py"), "--workload", workload,
                   "--model", str(self.model), "--threads", str(self.threads), "--reference-checkout", str(self.reference_checkout),
                   "--batch-sizes", ",".join(map(str, batch_sizes)), "--runs", ",".join(runs), "--output", str(file)]  # fmt: skip
        if self.images is not None:
            command += ["--images", str(self.images)]
        return command

    def measure(self, repetition: int, workload: str, side: str) -> Path:
        """Measures what is not there yet; says on the standard error what other processes had of the machine."""
        file = self.output / f"{workload}-{repetition}-{side}.json"
        if file.exists():
            return file
        for _ in range(ATTEMPTS):
            others = OtherLoad()
            if side == "peer":
                self.measure_peer(repetition, workload, file)
            else:
                self.measure_sinklens(OWN[side] if side in OWN else Own(workload), file)
            share = others.share()
            print(f"{file.name}: other processes had {share:.1%} of the machine", file=sys.stderr, flush=True)
            if share <= QUIET:
                return file
            file.unlink()
        raise SystemExit(f"Cannot measure {file.name}: the machine is busy")

    def measure_sinklens(self, own: Own, file: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        variants = own.variants or workloads.read()[own.workload].variants
        command = self.sinklens(own.workload, variants, own.settings)
        printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
        json.loads(printed)
        file.write_bytes(printed)

    def measure_peer(self, repetition: int, workload: str, file: Path) -> None:
        sizes, runs = self.batch_sizes, ["transformers-sdpa", "released-eager", "limits"]
        if repetition > 1:
            first = json.loads((self.output / f"{workload}-1-peer.json").read_text("utf-8"))
            sizes = [run["batch_size"] for run in first["best"]["runs"] if run["name"] == "transformers-sdpa"]
            runs.remove("limits")
        subprocess.run(self.peer(workload, sizes, runs, file), check=True, stdout=sys.stderr)


def main() -> None:
    known = workloads.read()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder that bench_checkpoint.py wrote")
    parser.add_argument("--reference-checkout", type=Path, required=True, help="seilk/VisAttnSink at 98e62d6")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(known), metavar="NAME[,NAME...]")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, help="default: each workload's own")
    parser.add_argument("--batch-sizes", type=lambda text: [int(size) for size in text.split(",")], default=BATCH_SIZES)
    arguments = parser.parse_args()
    plan = Plan(arguments.model, arguments.reference_checkout, arguments.output, arguments.threads, arguments.images,
                arguments.batch_sizes)  # fmt: skip
    plan.output.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for repetition in range(1, arguments.repetitions + 1):
        for workload in arguments.workloads:
            sides = ["sinklens", "peer"]
            files += [plan.measure(repetition, workload, side) for side in (sides if repetition % 2 else reversed(sides))]
    own: dict[str, list[dict[str, Any]]] = {}
    for repetition in range(1, arguments.repetitions + 1):
        for name, measurement in OWN.items():
            if measurement.workload in arguments.workloads:
                file = plan.measure(repetition, "own", name)
                own.setdefault(name, []).append(json.loads(file.read_text("utf-8")))
    found = bench_table.gather(files)
    lines = bench_table.table(found) + ["", "| | ratio |", "|---|---|"]
    lines += bench_table.released(found, own) + bench_table.own_table(own)
    (plan.output / "table.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

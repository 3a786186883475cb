"""Measures Sinklens and its peers in turn and prints the table of ratios.

    python bench_all.py --model FOLDER --reference-checkout DIR --output FOLDER

First the peer tries its batch sizes, on fewer images where `--sizing-images` says so: rows of one measurement should be a multiple
of every size, or the larger ones look slower than they are. Then every repetition measures every workload with both, the peer at
its best size, and the next one in the other order. What was measured while other processes had more than `--other-load` of the
machine is measured again; if that does not help, the run ends without a table. Measurements that are in the output folder already
are kept, so a run that ended early can be taken up again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_table
import workloads
from bench_inputs import DTYPES
from other_load import OtherLoad

HOME = Path(__file__).parents[3]
BATCH_SIZES = [1, 4, 8, 16]
QUIET = 0.05
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
    dtype: str
    images: int | None
    batch_sizes: list[int]
    sizing_images: int | None
    other_load: float

    def sinklens(self, workload: str, variants: list[str], settings: list[str]) -> list[str]:
        """The one place that knows the command line of `sinklens bench`."""
        command = [str(HOME / "jobs" / "sinklens"), "bench", "--workload", workload, "--model", str(self.model), "--engine-only"]
        command += ["--variants", ",".join(variants), "--set", "generation.batch-tokens=49152"]
        command += ["--set", f"model.dtype={self.dtype}"]
        dimensions = json.loads((self.model / "sinks.json").read_text("utf-8"))["dimensions"]
        for index, variant in enumerate(variants):
            if variant != "plain":
                command += ["--set", f"variants.{index}.sink-dimensions={dimensions}"]
        for setting in settings:
            command += ["--set", setting]
        if self.images is not None:
            command += ["--images", str(self.images)]
        return command

    def peer(self, workload: str, images: int | None, batch_sizes: list[int], runs: list[str], file: Path) -> list[str]:
        command = [sys.executable, str(HOME / "src/test/python/peer_bench.py"), "--workload", workload,
                   "--model", str(self.model), "--dtype", self.dtype, "--threads", str(self.threads),
                   "--reference-checkout", str(self.reference_checkout),
                   "--batch-sizes", ",".join(map(str, batch_sizes)), "--runs", ",".join(runs), "--output", str(file)]  # fmt: skip
        if images is not None:
            command += ["--images", str(images)]
        return command

    def measure(self, workload: str, number: int, side: str) -> Path:
        """Measures one repetition of a workload with one side."""
        file = self.output / f"{workload}-{number}-{side}.json"
        if side == "peer":
            return self.measured(file, lambda: self.measure_peer(number, workload, file))
        return self.measured(file, lambda: self.measure_sinklens(OWN.get(side, Own(workload)), file))

    def measured(self, file: Path, work: Callable[[], None]) -> Path:
        """Measures what is not there yet; says on the standard error what other processes had of the machine."""
        if file.exists():
            return file
        for _ in range(ATTEMPTS):
            others = OtherLoad()
            work()
            share = others.share()
            print(f"{file.name}: other processes had {share:.1%} of the machine", file=sys.stderr, flush=True)
            if share <= self.other_load:
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

    def sizing(self, workload: str) -> Path:
        """What the peer does at each batch size."""
        file = self.output / f"{workload}-sizing-peer.json"
        images = self.sizing_images or self.images
        command = self.peer(workload, images, self.batch_sizes, ["transformers-sdpa"], file)
        return self.measured(file, lambda: self.run_peer(command))

    def measure_peer(self, repetition: int, workload: str, file: Path) -> None:
        sizing = json.loads(self.sizing(workload).read_text("utf-8"))
        best = max(sizing["runs"], key=lambda run: run["rows_per_second"])
        runs = ["transformers-sdpa", "released-eager"] + ["limits"] * (repetition == 1)
        self.run_peer(self.peer(workload, self.images, [best["batch_size"]], runs, file))

    @staticmethod
    def run_peer(command: list[str]) -> None:
        subprocess.run(command, check=True, stdout=sys.stderr)

    def take_up(self) -> None:
        """Refuses a folder with measurements of something else."""
        file = self.output / "plan.json"
        plan = json.dumps({name: str(value) for name, value in vars(self).items() if name != "output"}, indent=2) + "\n"
        self.output.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.read_text("utf-8") != plan:
            raise SystemExit(f"Cannot measure into {self.output}: it holds measurements of something else, see {file.name}")
        file.write_text(plan, "utf-8")


def main() -> None:
    known = workloads.read()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder that bench_checkpoint.py wrote")
    parser.add_argument("--reference-checkout", type=Path, required=True, help="seilk/VisAttnSink at 98e62d6")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(known), metavar="NAME[,NAME...]")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="what to compute in; auto, the default, is the file's")
    parser.add_argument("--images", type=int, help="default: each workload's own")
    parser.add_argument("--batch-sizes", type=lambda text: [int(size) for size in text.split(",")], default=BATCH_SIZES)
    parser.add_argument("--sizing-images", type=int, help="images that batch sizes are tried on; default: all")
    parser.add_argument("--other-load", type=float, default=QUIET, help="share others may have; default: %(default)s")
    arguments = parser.parse_args()
    plan = Plan(arguments.model, arguments.reference_checkout, arguments.output, arguments.threads, arguments.dtype,
                arguments.images, arguments.batch_sizes, arguments.sizing_images, arguments.other_load)  # fmt: skip
    plan.take_up()
    for workload in arguments.workloads:
        plan.sizing(workload)
    files: list[Path] = []
    for repetition in range(1, arguments.repetitions + 1):
        for workload in arguments.workloads:
            sides = ["sinklens", "peer"]
            files += [plan.measure(workload, repetition, side) for side in (sides if repetition % 2 else reversed(sides))]
    own: dict[str, list[dict[str, Any]]] = {}
    for repetition in range(1, arguments.repetitions + 1):
        for name, measurement in OWN.items():
            if measurement.workload in arguments.workloads:
                file = plan.measure("own", repetition, name)
                own.setdefault(name, []).append(json.loads(file.read_text("utf-8")))
    found = bench_table.gather(files)
    lines = bench_table.table(found) + ["", "| | ratio |", "|---|---|"]
    lines += bench_table.released(found, own) + bench_table.own_table(own)
    (plan.output / "table.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

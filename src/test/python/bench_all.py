"""Measures Sinklens and its peers in turn and prints the table of ratios.

    python bench_all.py --model FOLDER --reference-checkout DIR --output FOLDER
    python bench_all.py --model demo --reference-checkout DIR --output FOLDER --growth

First the peer tries its batch sizes, on fewer images where `--sizing-images` says so: rows of one measurement should be a multiple
of every size, or the larger ones look slower than they are. Then every repetition measures every workload with both, the peer at
its best size, and the next one in the other order. What was measured while other processes had more than `--other-load` of the
machine is measured again; if that does not help, the run ends without a table. Measurements that are in the output folder already
are kept, so a run that ended early can be taken up again.

`demo` is the bundled model. `--growth` also measures how Sinklens's cost grows with questions, answers, images and processes. How
long the commands take from being started to their end is always measured, with the bundled model. Both sides must make the same
tokens of a question, and in float32 answer the first question alike, or the run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_table
import demo_golden
import workloads
from bench_inputs import DTYPES, Checkpoint, images
from other_load import OtherLoad

HOME = Path(__file__).parents[3]
SINKLENS = str(HOME / "jobs" / "sinklens")
BATCH_SIZES = [1, 4, 8, 16]
QUIET = 0.05
ATTEMPTS = 3


@dataclass(frozen=True)
class Own:
    """What Sinklens alone is measured on; no variants stand for the workload's."""

    workload: str
    variants: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    images: int | None = None
    questions: int | None = None


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


def of_length(tokens: int) -> Own:
    return Own("questions", settings=[f"generation.max-new-tokens={tokens}", f"generation.min-new-tokens={tokens}"])


GROWTH = {
    "questions an image": {count: Own("questions", questions=count) for count in (1, 2, 3, 6)},
    "tokens an answer": {tokens: of_length(tokens) for tokens in (1, 3, 16, 64)},
    "images": {count: Own("questions", images=count) for count in (1, 2, 4)},
}


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

    # ------------------------------------------------------------------------------------------------ commands

    def sinklens(self, own: Own) -> list[str]:
        """The one place that knows the command line of `sinklens bench`."""
        variants = own.variants or workloads.read()[own.workload].variants
        command = [SINKLENS, "bench", "--workload", own.workload, "--model", str(self.model), "--engine-only"]
        command += ["--variants", ",".join(variants)]
        settings = ["generation.batch-tokens=49152", f"model.dtype={self.dtype}", *own.settings]
        sinks = Checkpoint(self.model).sinks
        for index, variant in enumerate(variants):
            if variant != "plain":
                settings.append(f"variants.{index}.sink-dimensions={sinks['dimensions']}")
                settings.append(f"variants.{index}.sink-threshold={sinks['threshold']}")
        for setting in settings:
            command += ["--set", setting]
        for option, number in (("--images", own.images or self.images), ("--questions", own.questions)):
            if number is not None:
                command += [option, str(number)]
        return command

    def peer(self, workload: str, images: int | None, batch_sizes: list[int], runs: list[str], file: Path) -> list[str]:
        command = [sys.executable, str(HOME / "src/test/python/peer_bench.py"), "--workload", workload,
                   "--model", str(self.model), "--dtype", self.dtype, "--threads", str(self.threads),
                   "--reference-checkout", str(self.reference_checkout),
                   "--batch-sizes", ",".join(map(str, batch_sizes)), "--runs", ",".join(runs), "--output", str(file)]  # fmt: skip
        if images is not None:
            command += ["--images", str(images)]
        return command

    # --------------------------------------------------------------------------------------------- measurements

    def measured(self, name: str, work: Callable[[Path], None]) -> Path:
        """Measures what is not there yet; says on the standard error what other processes had of the machine."""
        file = self.output / f"{name}.json"
        if file.exists():
            return file
        for _ in range(ATTEMPTS):
            others = OtherLoad()
            work(file)
            share = others.share()
            print(f"{file.name}: other processes had {share:.1%} of the machine", file=sys.stderr, flush=True)
            if share <= self.other_load:
                return file
            file.unlink()
        raise SystemExit(f"Cannot measure {file.name}: the machine is busy")

    def sizing(self, workload: str) -> Path:
        """What the peer does at each batch size."""

        def measure(file: Path) -> None:
            count = self.sizing_images or self.images
            run_peer(self.peer(workload, count, self.batch_sizes, ["transformers-sdpa"], file))

        return self.measured(f"{workload}-sizing-peer", measure)

    def side(self, workload: str, repetition: int, side: str) -> Path:
        """What one side does on a workload."""

        def measure_peer(file: Path) -> None:
            sizing = json.loads(self.sizing(workload).read_text("utf-8"))
            best = max(sizing["runs"], key=lambda run: run["rows_per_second"])
            runs = ["transformers-sdpa", "released-eager"] + ["limits"] * (repetition == 1)
            run_peer(self.peer(workload, self.images, [best["batch_size"]], runs, file))

        name = f"{workload}-{repetition}-{side}"
        return self.measured(name, measure_peer) if side == "peer" else self.own(name, Own(workload))

    def own(self, name: str, own: Own) -> Path:
        """What Sinklens alone does."""
        return self.measured(name, lambda file: write(file, run_sinklens(self.sinklens(own), self.threads)))

    def processes(self, count: int) -> Path:
        """What processes do that run at once, each on one core: the output of each."""

        def measure(file: Path) -> None:
            command = self.sinklens(Own("questions"))
            started = [start_sinklens(["taskset", "-c", str(core), *command], 1) for core in range(count)]
            write(file, [finish(process) for process in started])

        return self.measured(f"growth-processes-{count}", measure)

    def growth(self) -> list[str]:
        found = {
            what: {number: [read(self.own(f"growth-{what}-{number}".replace(" ", "-"), own))] for number, own in points.items()}
            for what, points in GROWTH.items()
        }
        counts = (1, 2)[: os.cpu_count()]
        found["processes, a core each"] = {count: read(self.processes(count)) for count in counts}
        return bench_table.growth_table(found)

    def start(self) -> Path:
        """Seconds from starting commands to their end, which are more than to their first row; the model is the bundled one."""

        def measure(file: Path) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                paths = {"input": demo_golden.CHECKPOINT.parent / "scenes.parquet", "model": demo_golden.CHECKPOINT,
                         "output": Path(scratch) / "output"}  # fmt: skip
                settings = [part for name, path in paths.items() for part in ("--set", f"{name}.path={path}")]
                job = demo_golden.CHECKPOINT.parent / "job.yaml"
                annotate = seconds([SINKLENS, "annotate", str(job), *settings, "--limit", "1"])
                ask = seconds(asking(demo_golden.CHECKPOINT, Path(scratch), "What is in the image?"))
            write(file, {"annotate_seconds": annotate, "ask_seconds": ask})

        return self.measured("start", measure)

    # -------------------------------------------------------------------------------------------------- checks

    def take_up(self) -> None:
        """Refuses a folder with measurements of something else."""
        file = self.output / "plan.json"
        plan = {name: str(value) for name, value in vars(self).items() if name != "output"}
        self.output.mkdir(parents=True, exist_ok=True)
        if file.exists() and read(file) != plan:
            raise SystemExit(f"Cannot measure into {self.output}: it holds measurements of something else, see {file.name}")
        write(file, plan)

    def check_prompt(self, question: str) -> None:
        """Refuses to compare where Sinklens makes other tokens of a question than the peer is given."""
        with tempfile.TemporaryDirectory() as scratch:
            printed = json.loads(output_of([*asking(self.model, Path(scratch), question), "--json"]))
        if printed["prompt_token_ids"] != Checkpoint(self.model).prompt_ids(question):
            raise SystemExit(f"Cannot compare: both sides make other tokens of {question!r}: {printed['prompt_token_ids']}")


def asking(model: Path, scratch: Path, question: str) -> list[str]:
    """A question about the first bundled image; answers of one token are enough."""
    image = scratch / "image.png"
    images(1)[0].save(image)
    return [SINKLENS, "ask", "--model", str(model), "--image", str(image), "--question", question, "--max-new-tokens", "1"]


def run_peer(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def output_of(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    output_of(command)
    return time.perf_counter() - start


def start_sinklens(command: list[str], threads: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, stdout=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> Any:
    printed, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"Cannot measure: {SINKLENS} ended with {process.returncode}")
    return json.loads(printed)


def run_sinklens(command: list[str], threads: int) -> Any:
    return finish(start_sinklens(command, threads))


def read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def write(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def main() -> None:
    known = workloads.read()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder that bench_checkpoint.py wrote, or demo")
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
    parser.add_argument("--growth", action="store_true", help="also measure how cost grows")
    arguments = parser.parse_args()
    model = demo_golden.CHECKPOINT if str(arguments.model) == "demo" else arguments.model
    plan = Plan(model, arguments.reference_checkout, arguments.output, arguments.threads, arguments.dtype, arguments.images,
                arguments.batch_sizes, arguments.sizing_images, arguments.other_load)  # fmt: skip
    plan.take_up()
    plan.check_prompt(known[arguments.workloads[0]].questions[0])  # Builds Sinklens, too, which must not count.
    for workload in arguments.workloads:
        plan.sizing(workload)
    files: list[Path] = []
    for repetition in range(1, arguments.repetitions + 1):
        for workload in arguments.workloads:
            sides = ["sinklens", "peer"]
            files += [plan.side(workload, repetition, side) for side in (sides if repetition % 2 else reversed(sides))]
    own: dict[str, list[dict[str, Any]]] = {}
    for repetition in range(1, arguments.repetitions + 1):
        for name, measurement in OWN.items():
            if measurement.workload in arguments.workloads:
                own.setdefault(name, []).append(read(plan.own(f"own-{repetition}-{name}", measurement)))
    found = bench_table.gather(files)
    lines = bench_table.table(found) + ["", "| | ratio |", "|---|---|"]
    lines += bench_table.released(found, own) + bench_table.own_table(own)
    lines += ["", *bench_table.start_table(read(plan.start()))]
    if arguments.growth:
        lines += ["", *plan.growth()]
    (plan.output / "table.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))
    bench_table.require_same_answers(found)


if __name__ == "__main__":
    main()

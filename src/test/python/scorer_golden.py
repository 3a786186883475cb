"""Makes the golden files of the scorers: rows with awkward predictions, and what the published scripts say of them.

    python scorer_golden.py --checkouts DIR --output src/test/resources/golden/benchmarks [BENCHMARK ...]

DIR holds a checkout of each repository that a benchmark names in its module, in a folder of the repository's name. Nothing of
them is kept but what they compute. Two runs give the same bytes.

A benchmark is a function in a module of FAMILIES, which takes the folder of checkouts and a seeded generator and returns a
Golden. To add one, write a module with `BENCHMARKS = {"name": function}` and name it in FAMILIES.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
from pathlib import Path
from random import Random

from scorer_cases import Golden

FAMILIES = ["scorer_golden_vqa", "scorer_golden_choice", "scorer_golden_yes_no", "scorer_golden_letters", "scorer_golden_chair"]
SEED = 20264


def lines(golden: Golden) -> bytes:
    """The first line holds the summaries by mode, each other line a row."""
    objects = [{"summaries": golden.summaries}, *golden.rows]
    return "".join(json.dumps(each, ensure_ascii=True, sort_keys=True) + "\n" for each in objects).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="all, if none is named")
    arguments = parser.parse_args()
    makers = {}
    for family in FAMILIES:
        makers.update(importlib.import_module(family).BENCHMARKS)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.benchmarks or makers:
        golden = makers[name](arguments.checkouts.resolve(), Random(f"{SEED} {name}"))
        file = arguments.output / f"{name}.jsonl.gz"
        file.write_bytes(gzip.compress(lines(golden), 9, mtime=0))
        print(f"{file}: {len(golden.rows)} rows, modes {', '.join(golden.summaries)}, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()

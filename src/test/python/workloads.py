"""What is measured: the workloads that Java reads, too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

RESOURCES = Path(__file__).parents[2] / "main" / "resources" / "io" / "sinklens"


@dataclass(frozen=True)
class Workload:
    """Every question is asked of every image, under every variant, and answered in exactly `max_new_tokens` tokens.

    `images` is how many of the bundled scenes are asked about unless someone says otherwise: the first distinct ones in the
    order of the file, then the same again with left and right exchanged.
    """

    name: str
    description: str
    questions: list[str]
    max_new_tokens: int
    images: int
    variants: list[str]


def read() -> dict[str, Workload]:
    document = json.loads((RESOURCES / "job" / "workloads.json").read_text("utf-8"))
    return {name: Workload(name, **fields) for name, fields in document.items()}

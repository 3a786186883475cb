"""Measures a model of the demo's kind on questions it has not seen, with the annotation job itself.

    python evaluate.py --model ../resources/io/sinklens/demo/checkpoint --work runs/evaluation --knockout --contributions

Writes the questions and a job file into the work folder, runs `jobs/sinklens annotate`, reads what it wrote with DuckDB,
prints the results and leaves them in `results.json`. `--set` hands settings on to the job, such as another moved share.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

import scenes

LAUNCHER = Path(__file__).parents[3] / "jobs" / "sinklens"
SEED = 20262
"""Neither training nor the bundled questions use it."""
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "var": [{"name": "baseline", "hook": "observe"}, {"name": "var", "hook": "var"}],
    "knockout": [
        {"name": "sinks-masked", "hook": "knockout", "masked-tokens": "sinks"},
        {"name": "random-masked", "hook": "knockout", "masked-tokens": "random", "seed": 1},
    ],
    "contributions": [{"name": "contribution", "hook": "contribution"}],
}
"""What each experiment adds to the job; the first is always run."""
PAIRS = [("baseline", "var"), ("baseline", "sinks-masked"), ("baseline", "random-masked"), ("random-masked", "sinks-masked")]
"""Variants that are compared question by question, where the job has both."""

Row = dict[str, Any]

# ---------------------------------------------------------------------------------------------------- the job


def job(work: Path, model: Path, dtype: str, experiments: Iterable[str]) -> dict[str, Any]:
    """The job file."""
    return {
        "input": {
            "path": str(work / "questions.parquet"),
            "columns": {"id": "question_id", "image": "image", "image-id": "image_id", "question": "question",
                        "answers": "answer", "mask": "mask"},
        },
        "output": {"path": str(work / "output"), "keep-columns": ["category"]},
        "model": {"path": str(model), "dtype": dtype},
        "generation": {"max-new-tokens": 40},
        "variants": [variant for experiment in experiments for variant in VARIANTS[experiment]],
        "statistics": {"level": "full", "samples": 1_000_000},
        "run": {"max-failed-share": 0},
    }  # fmt: skip


def annotate(work: Path, document: dict[str, Any], overlays: Sequence[str]) -> None:
    """Runs the job; JSON is YAML, too."""
    file = work / "job.yaml"
    file.write_text(json.dumps(document, indent=2) + "\n")
    shutil.rmtree(work / "output", ignore_errors=True)
    settings = [argument for overlay in overlays for argument in ("--set", overlay)]
    subprocess.run([str(LAUNCHER), "annotate", str(file), *settings], check=True)


# ---------------------------------------------------------------------------------------------------- arithmetic


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p: how often fair coins split `one + other` disagreements at least as unevenly."""
    number = one + other
    tail = sum(math.comb(number, k) for k in range(min(one, other) + 1))
    return min(1.0, 2 * tail / 2**number)


_OBJECT = re.compile(rf"\b({'|'.join(scenes.COLOURS)}) ({'|'.join(scenes.SHAPES)})(?:e?s)?\b", re.IGNORECASE)


def objects(caption: str) -> set[tuple[str, str]]:
    """The different (colour, shape) pairs that a caption names."""
    return {(colour.lower(), shape.lower()) for colour, shape in _OBJECT.findall(caption)}


def hallucination(captions: Iterable[tuple[str, str]]) -> Row:
    """Of (answer, right answer): the share of named objects that are not there, of captions that name such a one, and of the
    objects there that go unnamed."""
    named = wrong = captions_wrong = there = missed = number = 0
    for answer, right in captions:
        said, true = objects(answer), objects(right)
        named, wrong = named + len(said), wrong + len(said - true)
        there, missed = there + len(true), missed + len(true - said)
        captions_wrong, number = captions_wrong + bool(said - true), number + 1
    return {"captions": number, "objects_named": named, "not_there": _share(wrong, named),
            "captions_with_one": _share(captions_wrong, number), "missed": _share(missed, there)}  # fmt: skip


def corrected(packed: bytes, shape: Sequence[int]) -> np.ndarray:
    """Head selection [answer token, layer, head] from its bits."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    return bits[: math.prod(shape)].reshape(shape)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


# ---------------------------------------------------------------------------------------------------- results


def opened(output: Path) -> duckdb.DuckDBPyConnection:
    """A database in which `annotations` are the rows of a run, with `right` where the answer is exactly the reference."""
    database = duckdb.connect()
    files = output / "annotations" / "*" / "*.parquet"
    database.execute(f"create view rows as from read_parquet('{files}')")
    prepare(database)
    return database


def prepare(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("""create table annotations as
        select *, category as kind, coalesce(answer = answers[1], false) as "right" from rows""")


def select(database: duckdb.DuckDBPyConnection, query: str, *parameters: Any) -> list[Row]:
    found = database.execute(query, parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def accuracy(database: duckdb.DuckDBPyConnection) -> list[Row]:
    """By kind, and over all, the share of right answers of every variant."""
    return select(database, """
        select coalesce(kind, 'all') as kind, variant, count(*) as questions, avg("right"::int) as accuracy
        from annotations group by grouping sets ((kind, variant), (variant)) order by annotations.kind nulls last, variant""")


def compared(database: duckdb.DuckDBPyConnection, one: str, other: str) -> list[Row]:
    """By kind, and over all, on how many questions two variants are right."""
    found = select(database, """
        select coalesce(a.kind, 'all') as kind, count(*) as questions,
          count(*) filter (a."right" and b."right") as both,
          count(*) filter (a."right" and not b."right") as only_one,
          count(*) filter (b."right" and not a."right") as only_other,
          count(*) filter (a.answer is distinct from b.answer) as changed
        from annotations a join annotations b using (sample_id)
        where a.variant = ? and b.variant = ?
        group by grouping sets ((a.kind), ()) order by a.kind nulls last""", one, other)
    return [{"one": one, "other": other} | row | {"p": mcnemar(row["only_one"], row["only_other"])} for row in found]


def captions(database: duckdb.DuckDBPyConnection) -> list[Row]:
    variants = select(database, "select distinct variant from annotations order by 1")
    query = "select coalesce(answer, ''), answers[1] from annotations where kind = 'caption' and variant = ?"
    return [row | hallucination(database.execute(query, [row["variant"]]).fetchall()) for row in variants]


def sinks(database: duckdb.DuckDBPyConnection, variant: str = "baseline") -> list[Row]:
    """By layer: how many image sinks a question has, what lies under them, whether they lie at the same places in other
    images, and what the heads look at. Sinks of the image are the same for all questions on it, so places count images."""
    return select(database, """
        with layers as (
          select image_id, image_token_count as tokens, mask_background as background, s.layer as layer,
            s.image_positions as positions, len(s.text_positions) as text_sinks, s.max_value as max_value,
            list_filter(head_statistics, lambda h: h.layer = s.layer)[1] as heads
          from (select *, unnest(sinks) as s from annotations where variant = ? and status = 'answered')
        ), places as (
          select layer, position, count(*) as images
          from (select distinct layer, image_id, unnest(positions) as position from layers) group by all
        ), recurrence as (
          -- For a random sink: how many of the other images have one at its place.
          select layer, sum(images * (images - 1)) / sum(images) / greatest((select count(distinct image_id) from layers) - 1, 1)
            as same_place, max(images) / (select count(distinct image_id) from layers) as most_common_place
          from places group by layer
        ), numbers as (
          select layer, avg(len(positions)) as image_sinks, avg((len(positions) = 0)::int) as without,
            avg(len(positions) / tokens) as same_place_by_chance, avg(text_sinks) as text_sinks,
            median(max_value) as median_largest_value,
            sum(list_sum(list_transform(positions, lambda p: background[p + 1]))) / sum(len(positions)) as on_background,
            avg(list_avg(background)) as background, avg(list_avg(heads.image_attention)) as attention_on_image,
            avg(list_avg(heads.sink_attention)) as attention_on_sinks, avg(list_avg(heads.nonsink_ratio)) as nonsink_ratio
          from layers group by layer
        )
        select * from numbers left join recurrence using (layer) order by layer""", variant)


def heads_corrected(database: duckdb.DuckDBPyConnection, variant: str = "var") -> list[Row]:
    """By layer, the share of heads that were corrected, over all answer tokens."""
    query = "select head_selection, head_selection_shape from annotations where variant = ? and head_selection is not null"
    found = [corrected(*row) for row in database.execute(query, [variant]).fetchall()]
    if not found:
        return []
    shares = np.concatenate(found).mean((0, 2))
    return [{"layer": layer, "corrected": float(share)} for layer, share in enumerate(shares)]


def contributions(database: duckdb.DuckDBPyConnection, variant: str = "contribution") -> list[Row]:
    """By layer, what one image token adds to an answer's query on average: a sink, and any other."""
    return select(database, """
        select h.layer as layer, avg(list_avg(h.sink_contribution)) as sink, avg(list_avg(h.nonsink_contribution)) as nonsink,
          sink / nonsink as ratio
        from (select unnest(head_statistics) as h from annotations where variant = ? and status = 'answered')
        where h.sink_contribution is not null group by all order by layer""", variant)


def attention(database: duckdb.DuckDBPyConnection, variant: str) -> list[Row]:
    """By layer, from the attention maps: what an answer's queries give to all image sinks, and how much more to one of them
    than to one other image token. Means over questions with sinks, before anything was changed and after."""
    query = """select attention_maps.shape, attention_maps.before, attention_maps.after, sinks
        from annotations where variant = ? and attention_maps is not null"""
    found: dict[int, list[tuple[float, ...]]] = {}
    for shape, before, after, sinks_of in database.execute(query, [variant]).fetchall():
        maps = [np.frombuffer(packed, "<f2").reshape(shape).astype(float) for packed in (before, after)]
        for layer in sinks_of:
            places = layer["image_positions"]
            if places and len(places) < shape[1]:
                rows = [each[layer["layer"]] for each in maps]
                held = [row[places].sum() for row in rows]
                others = [np.delete(row, places).sum() for row in rows]
                found.setdefault(layer["layer"], []).append((*held, *others, len(places), shape[1] - len(places)))
    tables = []
    for layer, rows in sorted(found.items()):
        sinks_before, sinks_after, others_before, others_after, count, rest = np.mean(rows, 0)
        tables.append({
            "variant": variant, "layer": layer, "image_sinks_before": sinks_before, "image_sinks_after": sinks_after,
            "other_image_before": others_before, "other_image_after": others_after,
            "a_sink_to_another_before": (sinks_before / count) / (others_before / rest),
        })  # fmt: skip
    return [{name: value if isinstance(value, str | int) else float(value) for name, value in row.items()} for row in tables]


def results(database: duckdb.DuckDBPyConnection) -> dict[str, list[Row]]:
    """All tables that the run has the variants for."""
    variants = {row["variant"] for row in select(database, "select distinct variant from annotations")}
    pairs = [pair for pair in PAIRS if variants.issuperset(pair)]
    tables = {
        "accuracy": accuracy(database),
        "pairs": [row for pair in pairs for row in compared(database, *pair)],
        "captions": captions(database),
        "sinks": sinks(database),
        "heads": heads_corrected(database),
        "attention": [row for variant in ("baseline", "var") for row in attention(database, variant)],
    }
    return tables | ({"contributions": contributions(database)} if "contribution" in variants else {})


def table(rows: Sequence[Row]) -> str:
    """Rows as text in columns."""

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for questions, job file, output and results")
    parser.add_argument("--results", type=Path, help="file for the results, instead of results.json in the work folder")
    parser.add_argument("--images", type=int, default=334)
    parser.add_argument("--questions", type=int, default=6, help="questions per image")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--knockout", action="store_true", help="also mask sinks, and as many random image tokens")
    parser.add_argument("--contributions", action="store_true", help="also measure what image tokens contribute")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=YAML", help="a setting of the job")
    arguments = parser.parse_args()
    work, model = arguments.work.resolve(), arguments.model.resolve()
    work.mkdir(parents=True, exist_ok=True)
    scenes.write(work / "questions.parquet", arguments.seed, arguments.images, arguments.questions, images_per_group=30)
    experiments = ["var", *(name for name in ("knockout", "contributions") if getattr(arguments, name))]
    annotate(work, job(work, model, arguments.dtype, experiments), getattr(arguments, "set"))
    tables = results(opened(work / "output"))
    manifest = json.loads((work / "output" / "manifest.json").read_text())
    run = {"seed": arguments.seed, "images": arguments.images, "counts": manifest["counts"],
           "model": {name: value for name, value in manifest["model"].items() if name != "path"}, "variants": manifest["settings"]["variants"]}  # fmt: skip
    (arguments.results or work / "results.json").write_text(json.dumps({"run": run, **tables}, indent=1) + "\n")
    for name, rows in tables.items():
        print(f"\n{name}\n{table(rows)}")


if __name__ == "__main__":
    main()

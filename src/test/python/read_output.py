"""Reads the output of `sinklens demo` as other programs would, and holds it against its own claims.

    python read_output.py OUTPUT_FOLDER

Checks with DuckDB and pandas that every input row has exactly one row a variant, that packed head selections have the
shape they claim, that attention maps read as float16, and that the sums of the manifest add up. Exits with 1 and one
line at the first thing that is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd


def require(condition: bool, what: str) -> None:
    """Ends the program when something does not hold."""
    if not condition:
        sys.exit(f"read_output: {what}")


def main(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    require((folder / "_SUCCESS").exists(), "no _SUCCESS")
    files = str(folder / "annotations" / "*" / "*.parquet")
    database = duckdb.connect()
    rows, keys, answered, failed = database.execute(
        f"""select count(*), count(distinct (sample_id, variant)),
                   count(*) filter (status = 'answered'), count(*) filter (status = 'failed')
            from read_parquet('{files}')"""
    ).fetchone()
    variants = [variant["name"] for variant in manifest["settings"]["variants"]]
    require(rows == keys, f"{rows} rows but {keys} different keys")
    require(rows == answered + failed, f"{rows} rows, {answered} answered, {failed} failed")
    require(rows == manifest["input"]["rows"] * len(variants), f"{rows} rows of {manifest['input']['rows']} x {variants}")

    frame = pd.concat([pd.read_parquet(file) for file in sorted((folder / "annotations").glob("*/*.parquet"))])
    require(len(frame) == rows, f"pandas reads {len(frame)} rows, DuckDB {rows}")
    looked = frame[frame["head_selection"].notna()]
    require(len(looked) > 0, "no row holds a head selection")
    for packed, shape, ids in zip(looked["head_selection"], looked["head_selection_shape"], looked["answer_token_ids"]):
        require(shape[0] == len(ids), f"head selection of {shape[0]} answer tokens beside {len(ids)} ids")
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        require(len(bits) - 8 < int(np.prod(shape)) <= len(bits), f"{len(bits)} bits for shape {list(shape)}")
    mapped = frame[frame["attention_maps"].notna()]
    samples = manifest["settings"]["statistics"]["samples"]
    require(mapped["sample_id"].nunique() <= samples, f"maps of {mapped['sample_id'].nunique()} rows, not {samples}")
    for maps, tokens in zip(mapped["attention_maps"], mapped["image_token_count"]):
        before, after = (np.frombuffer(maps[side], "<f2").reshape(maps["shape"]) for side in ("before", "after"))
        require(maps["shape"][1] == tokens, f"maps of {maps['shape'][1]} image tokens, not {tokens}")
        require(bool((before >= 0).all() and (after.sum(1, np.float64) < 1.01).all()), "attention is not from 0 to 1")
    by_variant = frame.groupby("variant")["status"].value_counts().to_dict()
    print(f"{rows} rows, {len(variants)} variants, {by_variant}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: read_output.py OUTPUT_FOLDER")
    main(Path(sys.argv[1]))

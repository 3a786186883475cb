"""What golden files of scorers are made of: rows, awkward texts, and ways to run published scripts without installing them."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import runpy
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any


@dataclass
class Golden:
    """Rows and what the scripts say of them.

    A row holds `id`, `columns` (named as on the Hub, null left out), `prediction` (left out where there is none), `scores` and
    perhaps `parsed`. `scores` has by mode the row's score; null where the mode's script refuses the row; a mode that is not
    named does not get the row. `parsed` has by mode what the script compared. Rows that are judged in pairs are in order.

    `summaries` has by mode what the script prints of all rows, under the names of the Java scorer, as fractions.
    """

    rows: list[dict[str, Any]]
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)


WORDS = (
    "yes no red blue white dog cat bus man woman table tennis frisbee baseball bat pizza left right north stop sign unanswerable "
    "unsuitable image none zero one two three four five six seven eight nine ten eleven a an the"
).split()
CONTRACTIONS = (
    "dont don't cant isnt couldnt couldn'tve couldnt've wouldnt've Im im Ive I'dve id've let's lets she's its it's shell well were "
    "somebody'd somebodyd've yall y'all youre whats what's thats man's john's 'ows'at ow's'at oclock o'clock couldn’tve dont’ve "
    "hed’ve"
).split()
NUMBERS = "0 1 2 3 10 12 3.5 .5 a.5 2. 5. 10,000 1,,2 1,000 1, 2,a ٣,٤ ٣.٤ 7.٣ 12:30 1/2 50% $5 #3".split()
STRANGE = ["İstanbul", "ΣΑΣ", "ﬁve", "ONE", "Straße", "café", "日本", "🙂", "two\u00a0dogs", "\u200bred", "x\u2028y", "ǅ", "A\u0085b"]
MARKS = list(";/[]\"{}()=+\\_-><@`,?!") + list(".:&%$#*'~^|’‘") + [".", ".", ",", "..", "...", "'s", "'S"]
BLANKS = [" ", " ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u2003", "\x1f", "\r\n"]


def text(random: Random) -> str:
    """An answer of a few words with marks in and around them; now and then empty, long, or full of dots."""
    kind = random.random()
    if kind < 0.02:
        return random.choice(["", " ", ".", "the", "a", "An the", "?", ",", "-", "\n"])
    if kind < 0.04:
        return random.choice([". ", ".", "a.", "x. ", "1."]) * random.randrange(20, 70)
    if kind < 0.05:
        return " ".join(word(random) for _ in range(random.randrange(30, 60)))
    parts = []
    for _ in range(random.choices([1, 2, 3, 5], [6, 4, 2, 1])[0]):
        parts.append(word(random))
        parts.append(random.choice(BLANKS) if random.random() < 0.7 else random.choice(MARKS))
    if random.random() < 0.6:
        parts.pop()
    return "".join(parts)


def word(random: Random) -> str:
    """A word, perhaps in other case, perhaps with a mark at one end."""
    some = random.choices([WORDS, CONTRACTIONS, NUMBERS, STRANGE], [10, 4, 4, 1])[0]
    chosen = random.choice(some)
    if random.random() < 0.25:
        chosen = random.choice([chosen.upper(), chosen.capitalize(), chosen.title()])
    if random.random() < 0.15:
        chosen = random.choice([chosen + random.choice(MARKS), random.choice(MARKS) + chosen])
    return chosen


def disturbed(random: Random, answer: str) -> str:
    """The answer as a model might write it: in other case, with marks, articles, blanks or number words."""
    changes: list[Callable[[str], str]] = [
        str.upper,
        str.capitalize,
        lambda it: it + ".",
        lambda it: it + random.choice(MARKS),
        lambda it: random.choice(MARKS) + it,
        lambda it: "the " + it,
        lambda it: " " + it + "\n",
        lambda it: it.replace(" ", random.choice(["  ", "-", "\t", " the ", ""])),
        lambda it: f'"{it}"',
        lambda it: it.replace("'", ""),
    ]
    for _ in range(random.choices([0, 1, 2], [3, 4, 2])[0]):
        answer = random.choice(changes)(answer)
    return answer


def module(file: Path, name: str) -> types.ModuleType:
    """A script as a module, without its package."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def definition(file: Path, name: str, **names: Any) -> Any:
    """One function or class of a file whose imports cannot be had, with the names that it uses."""
    tree = ast.parse(file.read_text("utf-8"))
    found = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
    assert len(found) == 1, f"{name} is not in {file}"
    found[0].decorator_list.clear()
    exec(compile(ast.Module(body=list(found), type_ignores=[]), str(file), "exec"), names)
    return names[name]


def stub(name: str, **names: Any) -> types.ModuleType:
    """A module that stands in for one which a script imports but does not need."""
    made = types.ModuleType(name)
    made.__dict__.update(names)
    made.__path__ = []  # a package too
    sys.modules[name] = made
    return made


def script(file: Path, *arguments: str | Path) -> dict[str, Any]:
    """Runs a script as a program, quietly, and gives the names it leaves."""
    before = sys.argv
    sys.argv = [str(file), *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return runpy.run_path(str(file), run_name="__main__")
    finally:
        sys.argv = before


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder that scripts can write to; it is the current one meanwhile."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        try:
            yield Path(made)
        finally:
            os.chdir(before)

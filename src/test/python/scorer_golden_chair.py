"""Golden file of CHAIR in its two variants.

Checkouts: CHAIR-metric-standalone (Maxlinn, 640c5071) with pattern (clips; `pattern/text/en/inflect.py`) for variant a, and
lmms-eval (EvolvingLMMs-Lab, 75571cfe) for variant b; nltk_data with `tokenizers/punkt_tab`, `corpora/wordnet` of WordNet 3.0 and
`taggers/averaged_perceptron_tagger_eng`. Needs NLTK 3.9.1.

Variant b of the published scorer tags words in their sentences, and ours gives each word one reading. Captions in which that makes a
difference are left out of mode b, and the script says how many they are.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

import scorer_cases as cases
from scorer_cases import Golden
from scorer_golden_yes_no import printed

ROWS = 2400
RESOURCES = Path(__file__).parents[3] / "src/main/resources/io/sinklens/benchmark/chair"
ODD = (
    "seated|skiing|snowboarding|skateboarding|biking|tied|tying|surfing|glass|wine glass|wine glasses|tennis racket|sports ball|sports|"
    "hot dog|hot-dog|hotdog|train track|home plate|toilet seat|seat of the toilet|bow tie|baby elephant|adult bears|passenger jets|"
    "stove top oven|motor bike|motor bikes|iPhone|cheesecake|cell phones|teddy bears|traffic lights|potted plants|fire hydrants|o'clock|"
    "men|women|people|children|buses|bus|vases|ties|collies|knives|geese|mice|scissors|skis|umbrellas|oxen|sheep|dog/cat|dog.cat|11 o'clock|"
    "cat's|dogs'|t.v.|U.S.|Mr. Smith|St.|3.5|1,000|e.g.|a.m.|No. 5|it's|don't|can't|they'll|he'd|gonna|cannot|Bus|CAR|İ|Straße|naïve"
).split("|")
FRAMES = (
    "The image features {0} and {1}.|There is {0} on {1}.|A {0} next to the {1}, with {2} in the background.|Two {0}, one of them near {1}|"
    "In the scene, {0} can be seen: {1}, {2}.|He is standing by {0}; {1} is behind.|a man holding {0} while {1} ({2}) watches!|"
    "\"{0}\" is written on {1}.|It shows '{0}' and “{1}” or ‘{2}’.|{0}... {1}|{0} -- {1} – {2}|Is it {0}? {1}! Or {2}|the {0}'s {1}|"
    "{0},{1};{2}|[{0}] <{1}> {{{2}}}|{0} & {1} * {2}|{0}: {1}\n{2}|1. {0}\n2. {1}.\n\n3. {2}.|{0}. {1}.) {2}.\"|{0}.! {1}.. {2}|{0}\t{1}\u00a0{2}|"
    "@{0} #{1} ${2} %|{0}``{1}'' {2}|'{0}' `{1}` ''{2}''|{0},,{1}, ,{2}|{0}.'{1}'.{2}.|({0}.) {1}.] {2}.'|{0}?{1}!{2}.|{0}.{1}. {2}"
).split("|")


def vocabulary() -> list[str]:
    words = []
    for file in ["objects.txt", "forms-a.txt", "forms-b.txt", "pairs.txt"]:
        for line in (RESOURCES / file).read_text().splitlines():
            if not line.startswith("#"):
                first, rest = line.split(":")
                words += [word for word in [first, *rest.strip().split(", ")] if word]
    return sorted(set(words))


def caption(random: Random, words: list[str]) -> str:
    def word() -> str:
        chosen = random.choices([random.choice(words), random.choice(ODD), cases.word(random)], [6, 3, 1])[0]
        return chosen.capitalize() if random.random() < 0.1 else chosen

    sentences = [random.choice(FRAMES).format(word(), word(), word()) for _ in range(random.choices([0, 1, 2, 3], [1, 20, 40, 15])[0])]
    return random.choice([" ", " ", " ", " ", "\n", ""]).join(sentences)


def pattern_inflections(checkouts: Path) -> Any:
    """Pattern's module, whose package needs more than singularising does."""
    text = cases.stub("pattern.text", Verbs=type("Verbs", (), {"__init__": lambda *a, **k: None, "__getattr__": lambda *a: None}))
    text.__dict__["__getattr__"] = lambda name: name  # constants of grammar
    cases.stub("pattern")
    return cases.module(checkouts / "pattern/pattern/text/en/inflect.py", "pattern_inflect")


def lines(file: str) -> dict[str, str]:
    pairs = [line.split(":") for line in (RESOURCES / file).read_text().splitlines() if not line.startswith("#")]
    return {word: first for first, rest in pairs for word in rest.strip().split(", ") if word}


def chair(checkouts: Path, random: Random) -> Golden:
    nltk.data.path[:] = [str(checkouts / "nltk_data")]
    WordNetCorpusReader.map_wn = lambda self, version="wordnet": None  # WordNet 3.0 needs no map to itself
    words = vocabulary()

    cases.stub("pattern.en", singularize=pattern_inflections(checkouts).singularize)
    standalone = cases.module(checkouts / "CHAIR-metric-standalone/chair.py", "chair_standalone")
    standalone.CHAIR.get_annotations = lambda self: None
    first = standalone.CHAIR("")
    second = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/coco_cap_chair/utils.py", "lmms_chair")
    categories = sorted(set(second.INVERSE_SYNONYM_DICT.values()))

    rows: list[dict[str, Any]] = []
    for index in range(ROWS):
        text = caption(random, words)
        named = first.caption_to_words(text)[1]
        truth = {name for name in named if random.random() < 0.7} | set(random.sample(categories, random.randrange(4)))
        row = {"id": str(index), "columns": {"gt_object": sorted(truth)}, "prediction": text, "scores": {}, "parsed": {}}
        rows.append(row)

    generated = [{"image_id": int(row["id"]), "caption": row["prediction"]} for row in rows]
    first.imid_to_objects = {int(row["id"]): set(row["columns"]["gt_object"]) for row in rows}
    standalone.load_generated_captions = lambda *arguments: ([each["caption"] for each in generated], [each["image_id"] for each in generated])
    results: list[Any] = []
    printed(lambda: results.append(first.compute_chair("", "image_id", "caption")))
    for row, sentence in zip(rows, results[0]["sentences"], strict=True):
        row["scores"]["a"] = len(sentence["mscoco_hallucinated_words"])
        row["parsed"]["a"] = ", ".join(sentence["mscoco_generated_words"])
    metrics = results[0]["overall_metrics"]
    golden = Golden(rows, {"a": {"chair_i": metrics["CHAIRi"], "chair_s": metrics["CHAIRs"], "recall": metrics["Recall"], "captions": ROWS}})

    forms = lines("forms-b.txt")
    known = set(words)
    readings: list[tuple[str, str]] = []
    lemmatize = second.WordNetLemmatizer.lemmatize

    def recorded(self: Any, word: str, pos: str) -> str:
        readings.append((word, lemmatize(self, word, pos)))
        return readings[-1][1]

    second.WordNetLemmatizer.lemmatize = recorded
    kept = []
    for row in rows:
        readings.clear()
        doc = {"question_id": row["id"], "gt_object": row["columns"]["gt_object"]}
        result = second.coco_cap_chair_process_result(doc, [row["prediction"]])["coco_cap_chair_i"]
        ours = [(forms.get(word, word), lemma) for word, lemma in readings]
        if any(form != lemma and known & {form, lemma} for form, lemma in ours):
            continue  # the sentence decides
        kept.append(result)
        row["scores"]["b"] = sum(name not in result["answer"] for name in result["pred"])
        row["parsed"]["b"] = ", ".join(result["pred"])
    golden.summaries["b"] = {
        "chair_i": second.coco_cap_chair_aggregate_results_chair_i(kept) / 100,
        "chair_s": second.coco_cap_chair_aggregate_results_chair_s(kept) / 100,
        "recall": second.coco_cap_chair_aggregate_results_recall(kept) / 100,
        "captions": len(kept),
    }
    print(f"Mode b leaves out {ROWS - len(kept)} of {ROWS} captions in which a word's reading depends on its sentence", file=sys.stderr)
    return golden


BENCHMARKS = {"chair": chair}

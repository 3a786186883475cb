"""Golden files of benchmarks with one right answer: GQA, ScienceQA.

Checkouts: VCoder (SHI-Labs, 4e85acef; has GQA's `eval.py`), LLaVA (haotian-liu, c121f043), lmms-eval (EvolvingLMMs-Lab,
75571cfe), cambrian (cambrian-mllm, 539ffc32).
"""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import scorer_cases as cases
from scorer_cases import Golden
from scorer_golden_vqa import quiet

ROWS = 2100
OPERATIONS = ["select", "exist", "query: name", "query: color", "choose name", "choose color", "verify rel", "filter", "relate", "and"]
ARGUMENTS = ["dog (1)", "name", "nonexistent", "table,left,o (2)", "?", "scene"]


def table(scores: dict[Any, tuple[float, int]]) -> dict[str, Any]:
    return {str(category): {"accuracy": percent / 100, "rows": rows} for category, (percent, rows) in scores.items()}


def gqa(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    for i in range(ROWS):
        answer = random.choice(["yes", "no", "t-shirt", "stop sign", "left", "dog", "Dog", "tv", "table", "wood.", "baseball bat"])
        semantic = [
            {"operation": random.choice(OPERATIONS), "argument": random.choice(ARGUMENTS), "dependencies": []}
            for _ in range(random.randrange(1, 6))
        ]
        columns = {
            "question": random.choice(["Is", "Is\u00a0it", ""]) + random.choice([" it", "  that"]) * random.randrange(1, 16) + random.choice(["?", " ?"]),
            "answer": answer,
            "isBalanced": random.random() > 0.05,
            "types": {
                "structural": random.choice(["query", "verify", "logical", "choose", "compare"]),
                "semantic": random.choice(["rel", "attr", "obj", "cat", "global"]),
                "detailed": "any",
            },
            "groups": {"global": random.choice([None, "color", "furniture", "animal", "place"]), "local": "06-x"},
            "semantic": semantic,
        }
        row = {"id": f"{i:07d}", "columns": columns, "scores": {}, "parsed": {}}
        if random.random() < 0.75:
            row["prediction"] = random.choice([answer, answer, cases.disturbed(random, answer), answer + "..", answer + ". "])
        elif random.random() > 0.04:
            row["prediction"] = cases.text(random)
        rows.append(row)

    given = {row["id"]: row["prediction"] for row in rows if "prediction" in row}
    lost = {row["id"] for row in rows if row["columns"]["isBalanced"]} - given.keys()
    with cases.folder() as work:
        (work / "merge.jsonl").write_text("".join(json.dumps({"question_id": each, "text": text}) + "\n" for each, text in given.items()))
        cases.script(checkouts / "LLaVA/scripts/convert_gqa_for_eval.py", "--src", work / "merge.jsonl", "--dst", work / "predictions.json")
        converted = {each["questionId"]: each["prediction"] for each in json.loads((work / "predictions.json").read_text())}
        (work / "questions.json").write_text(json.dumps({row["id"]: row["columns"] for row in rows if row["id"] not in lost}))
        arguments = ["--tier", "any", "--questions", work / "questions.json", "--predictions", work / "predictions.json"]
        evaluation = checkouts / "VCoder/playground/data/eval/gqa/data/eval/eval.py"
        scores = quiet(cases.script, evaluation, *arguments)["scores"]
    balanced = 0
    for row in rows:
        if row["id"] in lost:
            row["scores"]["llava"] = None  # the script ends with an error
        elif not row["columns"]["isBalanced"]:
            row["scores"]["llava"] = 0
        else:
            balanced += 1
            row["scores"]["llava"] = int(converted[row["id"]] == row["columns"]["answer"])
            row["parsed"]["llava"] = converted[row["id"]]
    llava = {name: scores[name] / 100 for name in ["accuracy", "binary", "open"]}
    llava["rows"] = balanced
    llava["distribution"] = scores["distribution"]
    for name, key in [("structural_types", "StructuralType"), ("semantic_types", "SemanticType"), ("steps", "Steps"), ("lengths", "Length")]:
        llava[name] = table(scores["accuracyPer" + key])
    golden = Golden(rows, {"llava": llava})

    cases.stub("nltk")
    script = cases.module(checkouts / "cambrian/eval/eval/gqa/gqa_test.py", "cambrian_gqa")
    golden.summaries["cambrian"] = cambrian(
        script, [row for row in rows if "prediction" in row], lambda row: {"gt_answer": row["columns"]["answer"]}
    )

    match = cases.definition(checkouts / "lmms-eval/lmms_eval/api/metrics.py", "exact_match_hf_evaluate", np=np, re=re, string=string)
    for row in rows:
        result = match([row.get("prediction", "").strip()], [row["columns"]["answer"]], ignore_case=True, ignore_punctuation=True)
        row["scores"]["lmms-eval"] = int(result["exact_match"])
    golden.summaries["lmms-eval"] = {"accuracy": sum(row["scores"]["lmms-eval"] for row in rows) / len(rows), "rows": len(rows)}
    return golden


def cambrian(script: Any, rows: list[dict[str, Any]], truth: Any) -> dict[str, Any]:
    """Runs one of Cambrian's scripts; it writes down the lines that are wrong."""
    printed: list[dict[str, Any]] = []
    script.add_data_to_csv = lambda file, data: printed.append(data)
    with cases.folder() as work:
        with (work / "answers.jsonl").open("w") as file:
            for row in rows:
                file.write(json.dumps({"id": row["id"], "answer": row["prediction"], **truth(row)}) + "\n")
        quiet(script.compute_metrics, work / "answers.jsonl", str(work / "wrong.jsonl"), work / "out.csv")
        wrong = {json.loads(line)["id"] for line in (work / "wrong.jsonl").read_text().splitlines()}
    for row in rows:
        row["scores"]["cambrian"] = int(row["id"] not in wrong)
    summary = dict(printed[0], rows=len(rows))
    summary["accuracy"] = summary["accuracy"] / 100 if "correct" in summary else summary["accuracy"]
    return {name: summary[name] for name in summary if name in ("accuracy", "rows") or isinstance(summary[name], dict)}


LETTERS = "ABCDEFGabcdeÅK"
FORMS = (
    "{0}|{0}|{0}.|{0}. {1}|{0}.{1}|{0}: {1}|({0})|{0})|{0} {1}|{1}|{1}.|{0}. |{0} .|The answer is {0}.|The answer is {0}|The answer is {0}!|"
    "the answer is {0}.|The answer is {0}\n|The answer is {0}\u2028|The answer is {0}. The answer is {2}.|The answer is {1}.|Answer: {0}|"
    "ANSWER: {0}. {1}|answer is: ({0})|answer is: {0}|The answer is ({0}).|{0}..|.{0}|{0}. {2}. {1}|So the answer is {2}. No, answer: {1}!|"
    " {0}\n|{0}\u00a0|“{1}”|{1}, {1}|The answer is {0}.The answer is {0}"
).split("|")


def scienceqa(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    for i in range(ROWS):
        choices = [cases.word(random) + random.choice(["", " tree", ", too", "."]) for _ in range(random.choice([2, 2, 3, 4, 5, 6]))]
        answer = random.randrange(min(5, len(choices)))
        row = {
            "id": str(i),
            "columns": {"choices": choices, "answer": answer, "grade": random.choice(["grade1", "grade2", "grade8"])},
            "scores": {},
            "parsed": {},
        }
        if random.random() > 0.02:
            right = random.random() < 0.6
            letter = chr(ord("A") + answer) if right else random.choice(LETTERS)
            said = choices[answer] if right else random.choice(choices)
            form = random.choice(FORMS).format(letter, said, random.choice(LETTERS))
            row["prediction"] = form if random.random() < 0.9 else cases.text(random)
        rows.append(row)

    with cases.folder() as work:
        (work / "pid_splits.json").write_text(json.dumps({"test": [row["id"] for row in rows]}))
        (work / "problems.json").write_text(json.dumps({row["id"]: row["columns"] for row in rows}))
        with (work / "answers.jsonl").open("w") as file:
            for row in rows:
                if "prediction" in row:
                    file.write(json.dumps({"question_id": row["id"], "text": row["prediction"], "prompt": "<image>\n"}) + "\n")
        left = cases.script(
            checkouts / "LLaVA/llava/eval/eval_science_qa.py",
            *["--base-dir", work, "--result-file", work / "answers.jsonl"],
            *["--output-file", work / "results.json", "--output-result", work / "result.json"],
        )
    rights = {each["question_id"] for each in left["results"]["correct"]}
    parsed = {each["question_id"]: each["parsed_ans"] for kind in left["results"].values() for each in kind}
    for row in rows:
        row["scores"]["llava"] = int(row["id"] in rights)
        row["parsed"]["llava"] = None if parsed[row["id"]] == "FAILED" else parsed[row["id"]]
    golden = Golden(rows)
    golden.summaries["llava"] = {
        "accuracy": left["sqa_results"]["acc"] / 100,
        "rows": left["total"],
        "img_accuracy": left["multimodal_correct"] / left["multimodal_total"],
        "img_rows": left["multimodal_total"],
    }

    process = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/scienceqa/utils.py", "lmms_scienceqa").sqa_process_results
    for row in rows:
        row["scores"]["lmms-eval"] = process(row["columns"], [row.get("prediction", "").strip()])["exact_match"]
    golden.summaries["lmms-eval"] = {"accuracy": sum(row["scores"]["lmms-eval"] for row in rows) / len(rows), "rows": len(rows)}

    def truth(row: dict[str, Any]) -> dict[str, Any]:
        columns = row["columns"]
        return {
            "gt_answer": chr(ord("A") + columns["answer"]),
            "text_answer": columns["choices"][columns["answer"]],
            "type": True,
            "category": columns["grade"],
        }

    script = cases.module(checkouts / "cambrian/eval/eval/scienceqa/scienceqa_test.py", "cambrian_scienceqa")
    summary = cambrian(script, [row for row in rows if "prediction" in row], truth)
    image = summary.pop("is_multimodal")
    assert abs(image["accuracy"] - summary["accuracy"]) < 1e-12
    golden.summaries["cambrian"] = {
        "accuracy": image["accuracy"],
        "rows": image["total"],
        "grades": {
            grade: {"accuracy": each["accuracy"], "rows": each["total"]} for grade, each in summary.items() if isinstance(each, dict)
        },
    }
    return golden


BENCHMARKS = {"gqa": gqa, "scienceqa": scienceqa}

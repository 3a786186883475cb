"""Golden files of benchmarks with lettered options from Cambrian and its neighbours: MMVP, CV-Bench.

Checkouts: MMVP (tsb0601, 76350059), lmms-eval (EvolvingLMMs-Lab, 75571cfe), cambrian (cambrian-mllm, 539ffc32).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import scorer_cases as cases
from scorer_cases import Golden
from scorer_golden_yes_no import printed

ROWS = 2400
FORMS = (
    "{0}|{0}|{0}|({0})|({0})|{0}.|{0})|{0}:|{0},|(({0}))|({0}).|{0}.:,|{0} {1}|({0}) {1}|{0}. {1}|{0}){1}|{1}|{1}.|{1}, {2}|{2} {0}|"
    "The answer is {0}|The answer is ({0}).|the answer  is {0}|answer\u00a0is ({2})|answer is: ({0})|Answer: {0}|ANSWER: ({0}) {1}|"
    "The answer is {2}. No, the answer is {0}.|Option {0}|option ({0}) is right|Both options {2}|{0}\n{1}|\u2003{0}\u2003|There are {1}|"
    "a dog|A dog is {1}|left|chair|seen by a tab|near the tab|both|about|open|((( {0}|((({0}|)))|.{0}|-{0}|3|({1})|)|(|.|:|,|It is {0}.|"
    "ſ{0}|ıs {0}|K. {0}|anſwer is {0}|optİon {0}|🙂 {0}|\u200b{0}|{0}🙂|answer is|answer:|It shows a {1} and a {2} b|Å|"
).split("|")


def said(random: Random, letter: str, option: str, other: str) -> str:
    kind = random.random()
    if kind < 0.2:
        return random.choice([letter, letter.lower(), f"({letter})"])
    if kind < 0.85:
        text = random.choice(FORMS).format(random.choice([letter, letter.lower()]), option, other)
        return cases.disturbed(random, text) if random.random() < 0.1 else text
    return cases.text(random)


def cambrian(script: Any, rows: list[dict[str, Any]], columns: Any) -> dict[str, Any]:
    """Runs one of Cambrian's scripts; it writes down the rows that are wrong."""
    found: list[dict[str, Any]] = []
    script.add_data_to_csv = lambda file, data: found.append(data)
    with cases.folder() as work:
        with (work / "answers.jsonl").open("w") as file:
            for row in rows:
                file.write(json.dumps({"id": row["id"], "answer": row.get("prediction", ""), **columns(row["columns"])}) + "\n")
        printed(script.compute_metrics, work / "answers.jsonl", str(work / "wrong.jsonl"), work / "out.csv")
        wrong = {json.loads(line)["id"] for line in (work / "wrong.jsonl").read_text().splitlines()}
    for row in rows:
        row["scores"]["cambrian"] = int(row["id"] not in wrong)
        if "prediction" in row:
            row["parsed"]["cambrian"] = script.extract_mcq_answer(row["prediction"]) or None
    return found[0]


OPTIONS = ["Open", "Closed", "Left", "Right", "One", "Two (2)", "a", "Yes", "The cat", "blue, red", "4", "B", "In a (big) box", "on a tab"]
REPLIES = ["yes", "yes", "Yes", "no", "No", "YES", "Yes.", " yes", "no\n", "Yes\n", "yes, it does", "", "yeſ", "NO", "I cannot say"]


def mmvp(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    for index in range(1, ROWS + 1):
        first, second = random.sample(OPTIONS, 2)
        answer = random.choice("ab")
        columns = {
            "Index": index,
            "Options": f"(a) {first} (b) {second}",
            "Correct Answer": random.choice([f"({answer})", f"({answer})", f"({answer.upper()})", f"({answer}) "]),
            "judge_reply": random.choice(REPLIES),
        }
        row = {"id": f"{index:04d}", "columns": columns, "scores": {}, "parsed": {}}
        if random.random() > 0.01:
            option, other = (first, second) if answer == "a" else (second, first)
            row["prediction"] = answer if random.random() < 0.35 else said(random, answer.upper(), option, other)
        rows.append(row)
    golden = Golden(rows)

    grader = checkouts / "MMVP/scripts/gpt_grader.py"
    replies: list[str] = []

    class Judge:
        @staticmethod
        def create(**request: Any) -> dict[str, Any]:
            return {"choices": [{"message": {"content": replies.pop(0)}}]}

    openai = cases.stub("openai", ChatCompletion=Judge)
    grade = cases.definition(grader, "get_yes_no_answer", openai=openai, re=re)
    for row in rows:
        replies.append(row["columns"]["judge_reply"])
        verdict = grade("?")
        row["scores"]["official"] = int(verdict == "yes")
        row["parsed"]["official"] = verdict if verdict in ("yes", "no") else None
    replies.extend(row["columns"]["judge_reply"] for row in rows)
    with cases.folder() as work:
        line = json.dumps({"prompt": "", "answer": "", "response": ""}) + "\n"
        (work / "answer.jsonl").write_text(line * len(rows))
        left = cases.script(grader, "--answer_file", work / "answer.jsonl")
    golden.summaries["official"] = {"pair_accuracy": left["num_correct"] / left["num_total"], "pairs": left["num_total"]}

    lmms = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/mmvp/utils.py", "lmms_mmvp")
    lmms.eval_logger = cases.stub("silent", info=lambda text: None)
    results = []
    for row in rows:
        result = lmms.mmvp_process_results(row["columns"], [row.get("prediction", "")])["mmvp_accuracy"]
        results.append(result)
        row["scores"]["lmms-eval"] = int(result["is_correct"])
        row["parsed"]["lmms-eval"] = result["pred_letter"] or None
    golden.summaries["lmms-eval"] = {
        "pair_accuracy": lmms.mmvp_aggregate_pair_results(results),
        "accuracy": lmms.mmvp_aggregate_results(results),
        "rows": len(rows),
    }

    folder = checkouts / "cambrian/eval/eval/mmvp"
    options = cases.definition(folder / "mmvp_eval.py", "give_options")
    table = cambrian(
        cases.module(folder / "mmvp_test.py", "cambrian_mmvp"),
        rows,
        lambda columns: {"text_options": options(columns["Options"]), "gt_answer": columns["Correct Answer"]},
    )
    golden.summaries["cambrian"] = {"pair_accuracy": table["accuracy"] / 100}
    return golden


SOURCES = {"ADE20K": ("ade", "2D"), "COCO": ("coco", "2D"), "Omni3D": ("omni", "3D")}
CHOICES = ["left", "right", "above", "chair", "3", "4", "t", "a", "b", "0", "table", "There"]


def cv_bench(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    for index in range(ROWS):
        source = random.choices(list(SOURCES), [3, 4, 5])[0]
        choices = random.sample(CHOICES, random.randrange(2, 7))
        at = random.randrange(len(choices))
        columns = {
            "idx": index,
            "type": SOURCES[source][1],
            "task": random.choice(["Count", "Relation"] if source != "Omni3D" else ["Depth", "Distance"]),
            "source": source,
            "choices": choices,
            "answer": f"({'ABCDEF'[at]})",
        }
        row = {"id": str(index), "columns": columns, "scores": {}, "parsed": {}}
        if random.random() > 0.01:
            row["prediction"] = said(random, "ABCDEF"[at], choices[at], random.choice(choices))
        rows.append(row)
    golden = Golden(rows)

    sources = {}
    for source, (name, _) in SOURCES.items():
        own = [row for row in rows if row["columns"]["source"] == source]
        script = cases.module(checkouts / f"cambrian/eval/eval/{name}/{name}_test.py", f"cambrian_{name}")
        table = cambrian(
            script,
            own,
            lambda columns: {"options": columns["choices"], "gt_answer": columns["answer"], "category": columns["task"]},
        )
        sources[source] = {"accuracy": table["accuracy"], "rows": table["total_count"]}
    for row in rows:
        for field in ("scores", "parsed"):
            if "cambrian" in row[field]:
                row[field]["official"] = row[field]["cambrian"]
    flat = (sources["ADE20K"]["accuracy"] + sources["COCO"]["accuracy"]) / 2
    deep = sources["Omni3D"]["accuracy"]
    golden.summaries["official"] = {
        "source_mean": {"overall": (flat + deep) / 2, "2d": flat, "3d": deep},
        "sources": sources,
    }
    golden.summaries["cambrian"] = golden.summaries["official"]

    lmms = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/cv_bench/utils.py", "lmms_cv_bench")
    results = []
    for row in rows:
        result = lmms.cv_bench_process_results(row["columns"], [row.get("prediction", "").strip()])["cv_bench_acc"]
        results.append(result)
        row["scores"]["lmms-eval"] = int(result["is_correct"])
        row["parsed"]["lmms-eval"] = result["pred_parsed"] or None

    def pooled(kind: str) -> float:
        return lmms.cv_bench_aggregate_results([result for result in results if kind in ("", result["type"])])

    golden.summaries["lmms-eval"] = {"pooled": {"overall": pooled(""), "2d": pooled("2D"), "3d": pooled("3D")}}
    return golden


BENCHMARKS = {"mmvp": mmvp, "cv-bench": cv_bench}

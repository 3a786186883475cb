"""Golden files of benchmarks with ten human answers: VQAv2, VizWiz, TextVQA.

Checkouts: VQA (GT-Vision-Lab, a013f004), LLaVA (haotian-liu, c121f043), lmms-eval (EvolvingLMMs-Lab, 75571cfe), cambrian
(cambrian-mllm, 539ffc32), VLMEvalKit (open-compass, e8e78f05), and VizWiz: a repository that holds `vqaEval.py` of the VizWiz API
at the path below (peyajm29/VizWiz-VQA, ae80bef5).
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import statistics
import sys
import types
import warnings
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from lib2to3.refactor import RefactoringTool, get_fixers_from_package

import scorer_cases as cases
from scorer_cases import Golden

ROWS = 2050
VIZWIZ = "evaluation/API/PythonEvaluationTools/vqaEvaluation/vqaEval.py"


def answers(random: Random) -> list[str]:
    """Ten answers: of one kind or of a few, which the scorers may or may not find equal."""
    kinds = [cases.text(random)[:40] if random.random() < 0.5 else cases.word(random)]
    while random.random() < 0.6:
        kinds.append(cases.disturbed(random, kinds[0]) if random.random() < 0.5 else cases.word(random))
    if random.random() < 0.25:
        kinds = kinds[:1]
    return [random.choice(kinds) for _ in range(10)]


def prediction(random: Random, given: list[str]) -> str:
    if given and random.random() < 0.75:
        return cases.disturbed(random, random.choice(given))
    return cases.text(random)


def rows_of(random: Random, name: str, columns: Any) -> list[dict[str, Any]]:
    rows = []
    for i in range(ROWS):
        given = answers(random)
        row = {"id": f"{name}_val_{i:08d}", "columns": columns(random, i, given), "scores": {}, "parsed": {}}
        if random.random() > 0.01:
            row["prediction"] = prediction(random, given)
        rows.append(row)
    return rows


def table(scores: dict[str, float], rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    """The script's percent by category, and the rows of each."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row["columns"][column]] += 1
    assert counts.keys() == scores.keys()
    return {category: {"accuracy": scores[category] / 100, "rows": counts[category]} for category in scores}


def python2(file: Path, name: str) -> types.ModuleType:
    tool = RefactoringTool(get_fixers_from_package("lib2to3.fixes"))
    made = types.ModuleType(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(str(tool.refactor_string(file.read_text("utf-8") + "\n", name)), str(file), "exec"), made.__dict__)
    return made


def lmms_eval(checkouts: Path, task: str) -> types.ModuleType:
    root = checkouts / "lmms-eval/lmms_eval"
    cases.stub("loguru", logger=None)
    for package in ["lmms_eval", "lmms_eval.tasks", "lmms_eval.tasks._task_utils"]:
        cases.stub(package)
    for shared in ["file_utils", "vqa_eval_metric"]:
        name = f"lmms_eval.tasks._task_utils.{shared}"
        setattr(sys.modules["lmms_eval.tasks._task_utils"], shared, cases.module(root / f"tasks/_task_utils/{shared}.py", name))
    return cases.module(root / f"tasks/{task}/utils.py", f"lmms_{task}")


def processor(checkouts: Path) -> types.ModuleType:
    """LLaVA's module with the EvalAI processor, under the name that its scripts import."""
    for package in ["llava", "llava.eval"]:
        cases.stub(package)
    return cases.module(checkouts / "LLaVA/llava/eval/m4c_evaluator.py", "llava.eval.m4c_evaluator")


def cambrian(checkouts: Path, task: str) -> types.ModuleType:
    folder = checkouts / f"cambrian/eval/eval/{task}"
    cases.module(folder / "m4c_evaluator.py", "m4c_evaluator")
    return cases.module(folder / f"{task}_test.py", f"cambrian_{task}")


def quiet(call: Any, *arguments: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return call(*arguments)


def normalised(evaluator: Any, text: str) -> str:
    clean = text.replace("\n", " ").replace("\t", " ").strip()
    return evaluator.processDigitArticle(evaluator.processPunctuation(clean))


# VQAv2


def vqav2(checkouts: Path, random: Random) -> Golden:
    def columns(random: Random, i: int, given: list[str]) -> dict[str, Any]:
        records: list[dict[str, Any]] = [
            {"answer": answer, "answer_confidence": "maybe" if random.random() < 0.05 else "yes", "answer_id": place + 1}
            for place, answer in enumerate(given)
        ]
        if random.random() < 0.04:
            records = [{"answer": each["answer"]} for each in records]
        return {
            "question_id": i,
            "question_type": random.choice(["what", "is the", "how many", "none of the above"]),
            "answer_type": random.choice(["yes/no", "number", "other"]),
            "answers": records,
        }

    rows = rows_of(random, "vqa", columns)
    evaluation = python2(checkouts / "VQA/PythonEvaluationTools/vqaEvaluation/vqaEval.py", "vqaEval")

    def official(predicted: dict[int, str], digits: int) -> Any:
        asked = {row["columns"]["question_id"]: copy.deepcopy(row["columns"]) for row in rows}
        vqa = types.SimpleNamespace(qa=asked, getQuesIds=lambda: list(predicted))
        results = types.SimpleNamespace(qa={each: {"answer": text} for each, text in predicted.items()})
        evaluator = evaluation.VQAEval(vqa, results, n=digits)
        quiet(evaluator.evaluate)
        return evaluator

    def scored(mode: str, predicted: dict[int, str]) -> dict[str, Any]:
        exact = official(predicted, 12)
        for row in rows:
            number = row["columns"]["question_id"]
            row["scores"][mode] = exact.evalQA[number] / 100 if number in predicted else None
            if number in predicted and "prediction" in row and len({each["answer"].replace("\n", " ").replace("\t", " ").strip() for each in row["columns"]["answers"]}) > 1:
                row["parsed"][mode] = normalised(exact, predicted[number])
        printed = official(predicted, 2).accuracy
        there = [row for row in rows if row["columns"]["question_id"] in predicted]
        return {
            "accuracy": printed["overall"] / 100,
            "rows": len(there),
            "question_types": table(printed["perQuestionType"], there, "question_type"),
            "answer_types": table(printed["perAnswerType"], there, "answer_type"),
        }

    given = {row["columns"]["question_id"]: row["prediction"] for row in rows if "prediction" in row}
    golden = Golden(rows, {"official": scored("official", given)})

    processor(checkouts)
    with cases.folder() as work:
        answers_file = work / "answers/test/model/merge.jsonl"
        answers_file.parent.mkdir(parents=True)
        answers_file.write_text("".join(json.dumps({"question_id": each, "text": text}) + "\n" for each, text in given.items()))
        questions = "".join(json.dumps({"question_id": row["columns"]["question_id"]}) + "\n" for row in rows)
        (work / "llava_vqav2_mscoco_test2015.jsonl").write_text(questions)
        cases.script(checkouts / "LLaVA/scripts/convert_vqav2_for_submission.py", "--dir", work, "--ckpt", "model", "--split", "test")
        uploaded = json.loads((work / "answers_upload/test/model.json").read_text())
    golden.summaries["llava"] = scored("llava", {each["question_id"]: each["answer"] for each in uploaded})

    task = lmms_eval(checkouts, "vqav2")
    for row in rows:
        result = task.vqav2_process_results(copy.deepcopy(row["columns"]), [row.get("prediction", "").strip()])
        row["scores"]["lmms-eval"] = float(result["exact_match"])
        if "prediction" in row:
            row["parsed"]["lmms-eval"] = result["submission"]["answer"]
    golden.summaries["lmms-eval"] = {"accuracy": statistics.mean(row["scores"]["lmms-eval"] for row in rows), "rows": len(rows)}
    return golden


# VizWiz


def vizwiz(checkouts: Path, random: Random) -> Golden:
    def columns(random: Random, i: int, given: list[str]) -> dict[str, Any]:
        raw = [answer.lower() if random.random() < 0.7 else answer for answer in given]
        if random.random() < 0.5:  # as released: already as the scorer writes it, so that something can match
            raw = [normalised(evaluator, answer) for answer in raw]
        there = {"category": random.choice(["unanswerable", "other", "yes/no", "number"]), "answers": raw}
        return {"category": there["category"]} if random.random() < 0.01 else there

    # Captions are not scored.
    captions = lambda *ignored: types.SimpleNamespace(evaluate=lambda: None, eval={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluation = cases.definition(checkouts / "VizWiz" / VIZWIZ, "VQAEval", re=re, sys=sys, COCOEvalCap=captions)
    evaluator = evaluation(types.SimpleNamespace(getImgs=list), None)
    rows = rows_of(random, "VizWiz", columns)

    def official(predicted: dict[str, str], digits: int) -> Any:
        asked = {
            row["id"]: {
                "answers": [{"answer": answer} for answer in row["columns"].get("answers", [])],
                "answer_type": row["columns"]["category"],
            }
            for row in rows
        }
        vqa = types.SimpleNamespace(imgToQA=asked, getImgs=lambda: list(predicted))
        results = types.SimpleNamespace(imgToQA={each: {"answer": text, "image": each} for each, text in predicted.items()})
        made = evaluation(vqa, results, n=digits)
        quiet(made.evaluate)
        return made

    def scored(mode: str, predicted: dict[str, str]) -> dict[str, Any]:
        exact = official(predicted, 12)
        for row in rows:
            row["scores"][mode] = exact.evalQA[row["id"]] / 100 if row["id"] in predicted else None
            if row["id"] in predicted:
                row["parsed"][mode] = normalised(exact, predicted[row["id"]])
        printed = official(predicted, 2).accuracy
        there = [row for row in rows if row["id"] in predicted]
        return {"accuracy": printed["overall"] / 100, "rows": len(there), "answer_types": table(printed["perAnswerType"], there, "category")}

    # The script dies of rows without answers and of rows without prediction.
    whole = {row["id"]: row["prediction"] for row in rows if "prediction" in row and "answers" in row["columns"]}
    golden = Golden(rows, {"official": scored("official", whole)})

    processor(checkouts)
    with cases.folder() as work:
        (work / "answers.jsonl").write_text("".join(json.dumps({"question_id": each, "text": text}) + "\n" for each, text in whole.items()))
        (work / "test.jsonl").write_text("".join(json.dumps({"question_id": each, "image": each}) + "\n" for each in whole))
        cases.script(
            checkouts / "LLaVA/scripts/convert_vizwiz_for_submission.py",
            *["--annotation-file", work / "test.jsonl", "--result-file", work / "answers.jsonl"],
            *["--result-upload-file", work / "upload/answers.json"],
        )
        uploaded = json.loads((work / "upload/answers.json").read_text())
    golden.summaries["llava"] = scored("llava", {each["image"]: each["answer"] for each in uploaded})

    task = lmms_eval(checkouts, "vizwiz_vqa")
    for row in rows:
        doc = {"question_id": row["id"], "answers": list(row["columns"].get("answers", []))}
        result = task.vizwiz_vqa_process_results(doc, [row.get("prediction", "").strip()])
        row["scores"]["lmms-eval"] = float(result["exact_match"])
        if "prediction" in row:
            row["parsed"]["lmms-eval"] = result["submission"]["answer"]
    golden.summaries["lmms-eval"] = {"accuracy": statistics.mean(row["scores"]["lmms-eval"] for row in rows), "rows": len(rows)}
    golden.summaries["cambrian"] = cambrian_accuracy(checkouts, "vizwiz", [row for row in rows if row["id"] in whole])
    return golden


def cambrian_accuracy(checkouts: Path, task: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    script = cambrian(checkouts, task)
    evaluator = script.TextVQAAccuracyEvaluator()
    printed: list[dict[str, Any]] = []
    script.add_data_to_csv = lambda file, data: printed.append(data)
    with cases.folder() as work:
        (work / "answers").mkdir()
        with (work / "answers.jsonl").open("w") as file:
            for row in rows:
                file.write(json.dumps({"answer": row["prediction"], "gt_answer": row["columns"]["answers"], "category": "val"}) + "\n")
        quiet(script.compute_metrics, work / "answers.jsonl", work / "out.csv")
    for row in rows:
        entry = {"pred_answer": row["prediction"].lower(), "gt_answers": [answer.lower() for answer in row["columns"]["answers"]]}
        row["scores"]["cambrian"] = quiet(evaluator.eval_pred_list, [entry])
    return {"accuracy": printed[0]["accuracy"] / 100, "rows": len(rows)}


# TextVQA


def textvqa(checkouts: Path, random: Random) -> Golden:
    rows = rows_of(random, "textvqa", lambda random, i, given: {"question_id": i, "answers": given})
    evaluator = processor(checkouts).TextVQAAccuracyEvaluator()
    golden = Golden(rows)

    # A row without a prediction is not in the script's input.
    entries = []
    for row in rows:
        if "prediction" in row:
            entries.append({"pred_answer": row["prediction"], "gt_answers": row["columns"]["answers"]})
            row["scores"]["llava"] = quiet(evaluator.eval_pred_list, entries[-1:])
            row["parsed"]["llava"] = evaluator.answer_processor(row["prediction"])
    golden.summaries["llava"] = {"accuracy": quiet(evaluator.eval_pred_list, entries), "rows": len(entries)}

    task = lmms_eval(checkouts, "textvqa")
    for row in rows:
        result = task.textvqa_process_results(copy.deepcopy(row["columns"]), [row.get("prediction", "").strip()])
        row["scores"]["lmms-eval"] = float(result["exact_match"])
        if "prediction" in row:
            row["parsed"]["lmms-eval"] = result["submission"]["answer"]
    golden.summaries["lmms-eval"] = {"accuracy": statistics.mean(row["scores"]["lmms-eval"] for row in rows), "rows": len(rows)}

    smp = checkouts / "VLMEvalKit/vlmeval/smp/misc.py"
    cases.stub("vlmeval")
    cases.stub(
        "vlmeval.smp",
        **{name: cases.definition(smp, name) for name in ["istype", "listinstr", "process_punctuation"]},
    )
    script = cases.module(checkouts / "VLMEvalKit/vlmeval/dataset/utils/vqa_eval.py", "vqa_eval")
    results = []
    for row in rows:
        if "prediction" in row:
            results.append(script.process_line({"answer": str(row["columns"]["answers"]), "prediction": row["prediction"]}))
            row["scores"]["vlmevalkit"] = float(script.hit_calculate(results[-1:], "TextVQA_VAL")[0])
            row["parsed"]["vlmevalkit"] = results[-1]["pred"]
    hits = script.hit_calculate(results, "TextVQA_VAL")
    golden.summaries["vlmevalkit"] = {"accuracy": float(script.np.mean(hits)), "rows": len(results)}
    return golden


BENCHMARKS = {"textvqa": textvqa, "vizwiz": vizwiz, "vqav2": vqav2}

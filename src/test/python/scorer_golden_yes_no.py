"""Golden files of benchmarks that are answered with yes or no: POPE, MME.

Checkouts: POPE (RUCAIBox, 3df3ba1b), LLaVA (haotian-liu, c121f043), lmms-eval (EvolvingLMMs-Lab, 75571cfe), cambrian
(cambrian-mllm, 539ffc32), VLMEvalKit (open-compass, e8e78f05), MME (what `tools/eval_tool.zip` holds at dd295090 of BradyFU's
Awesome-Multimodal-Large-Language-Models). The scripts need pandas, scikit-learn and loguru.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pandas as pd

import scorer_cases as cases
from scorer_cases import Golden

ROWS = 2400
SAID = (
    "Yes|No|yes|no|YES|NO|Yes.|No.|Yes, it is|No, it is not|not|There is no dog|It does not. Yes|isn't|none|nope|no;|No!|Yes!|yes.no|"
    "Yes. No.|.no|No\nsir|unknown|maybe|y|n|Y.|N.|Y.E.S| yes|  no|   no|Uh no|know|snow|north|not sure|eyes|yes or no|no or yes|yesterday|"
    "(Yes)|\"no\"|'no'|yes/no|no/dog|no-dog|no-dog 1,000|yes,dog|yes,dog , ok|n,o|n\to|The answer is yes|The answer is: no.|Well, yes.|"
    "no\u00a0dog|\u00a0no|no.1|1.no|...yes|yes...|YeS:|no:,|İyes|ÿes|yeſ|NO.\n|yes no|No\r\nYes|nyes|nono|yes-man|no one|\u200bno|ｎｏ"
).split("|")


def said(random: Random, truth: str) -> str:
    kind = random.random()
    if kind < 0.3:
        return random.choice([truth, truth.capitalize(), truth.capitalize() + "."])
    if kind < 0.75:
        return random.choice(SAID)
    if kind < 0.8:
        return "." * random.randrange(28, 38) + random.choice(["yes", "no"])
    if kind < 0.93:
        return cases.disturbed(random, random.choice(["yes", "no", "yes it is", "it is not", "there is no cat", "no and yes"]))
    return cases.text(random)


def printed(run: Any, *arguments: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run(*arguments)
    return out.getvalue()


def vlmevalkit(checkouts: Path, rows: list[dict[str, Any]], image: Any) -> tuple[Any, pd.DataFrame]:
    """The script, and what it makes of the rows."""
    folder = checkouts / "VLMEvalKit/vlmeval"
    cases.stub("vlmeval")
    cases.stub(
        "vlmeval.smp",
        d2df=lambda it: it,
        load=lambda it: it,
        process_punctuation=cases.definition(folder / "smp/misc.py", "process_punctuation"),
    )
    script = cases.module(folder / "dataset/utils/yorn.py", "vlmeval_yorn")
    table = pd.DataFrame(
        {
            "category": [row["columns"]["category"] for row in rows],
            "image_path": [image(row) for row in rows],
            "answer": [row["columns"]["answer"].capitalize() for row in rows],
            "extracted": [script.YOrN_Extraction(row.get("prediction", "")) for row in rows],
        }
    )
    table["score"] = table["answer"] == table["extracted"]
    for row, score, extracted in zip(rows, table["score"], table["extracted"], strict=True):
        row["scores"]["vlmevalkit"] = int(score)
        if "prediction" in row:
            row["parsed"]["vlmevalkit"] = None if extracted == "Unknown" else extracted.lower()
    return script, table


def cambrian(script: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs one of Cambrian's scripts on rows it does not refuse; it writes down those that are wrong."""
    found: list[dict[str, Any]] = []
    script.add_data_to_csv = lambda file, data: found.append(data)
    with cases.folder() as work:
        with (work / "answers.jsonl").open("w") as file:
            for row in rows:
                columns = row["columns"]
                line = {"id": row["id"], "category": columns["category"], "gt_answer": columns["answer"], "answer": row.get("prediction", "")}
                file.write(json.dumps(line) + "\n")
        printed(script.compute_metrics, work / "answers.jsonl", str(work / "wrong.jsonl"), work / "out.csv")
        wrong = {json.loads(line)["id"] for line in (work / "wrong.jsonl").read_text().splitlines()}
    for row in rows:
        row["scores"]["cambrian"] = int(row["id"] not in wrong)
    return found[0]


def pope(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    for i in range(ROWS):
        truth = random.choice(["yes", "no"])
        category = random.choices(["adversarial", "popular", "random"], [3, 3, 2])[0]
        row = {"id": f"{category}/{i}", "columns": {"category": category, "answer": truth}, "scores": {}, "parsed": {}}
        if random.random() > 0.01:
            row["prediction"] = said(random, truth)
        rows.append(row)
    groups = {name: [row for row in rows if row["columns"]["category"] == name] for name in ["adversarial", "popular", "random"]}
    golden = Golden(rows)

    llava = cases.module(checkouts / "LLaVA/llava/eval/eval_pope.py", "llava_pope")
    source = (checkouts / "POPE/evaluate.py").read_text()
    official, copied = {}, {}
    for name, group in groups.items():
        with cases.folder() as work:
            (work / "labels").write_text("".join(json.dumps({"label": row["columns"]["answer"]}) + "\n" for row in group))
            (work / "answers").write_text("".join(json.dumps({"answer": row.get("prediction", "")}) + "\n" for row in group))
            left: dict[str, Any] = {}
            filled = source.replace("ans_file = ''", "ans_file = 'answers'").replace("label_file = ''", "label_file = 'labels'")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(filled, "evaluate.py", "exec"), left)
            answers = [{"text": row.get("prediction", "")} for row in group]
            lines = dict(
                line.split(": ") for line in printed(llava.eval_pope, answers, work / "labels").splitlines() if ": " in line
            )
        official[name] = {
            "accuracy": left["acc"],
            "precision": left["precision"],
            "recall": left["recall"],
            "f1": left["f1"],
            "yes_ratio": left["yes_ratio"],
        }
        names = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1 score", "yes_ratio": "Yes ratio"}
        copied[name] = {key: float(lines[value]) for key, value in names.items()}
        for row, answer, other in zip(group, left["answers"], answers, strict=True):
            for mode, text in [("official", answer["answer"]), ("llava", other["text"])]:
                row["scores"][mode] = int(text == row["columns"]["answer"])
                if "prediction" in row:
                    row["parsed"][mode] = text
    golden.summaries["official"] = by_category(official, groups)
    golden.summaries["llava"] = by_category(copied, groups)

    lmms = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/pope/utils.py", "lmms_pope")
    results = {}
    for row in rows:
        doc = {"question_id": row["id"], "answer": row["columns"]["answer"]}
        results[row["id"]] = lmms.pope_process_results(doc, [row.get("prediction", "")])["pope_accuracy"]
        row["scores"]["lmms-eval"] = int(results[row["id"]]["score"])
        if "prediction" in row:
            row["parsed"]["lmms-eval"] = results[row["id"]]["prediction"]

    def aggregated(group: list[dict[str, Any]]) -> dict[str, float]:
        own = [results[row["id"]] for row in group]
        return {
            "accuracy": lmms.pope_aggregate_accuracy(own),
            "precision": lmms.pope_aggregate_precision(own),
            "recall": lmms.pope_aggregate_recall(own),
            "f1": lmms.pope_aggregate_f1_score(own),
            "yes_ratio": lmms.pope_aggregate_yes_ratio(own),
        }

    golden.summaries["lmms-eval"] = by_category({name: aggregated(group) for name, group in groups.items()}, groups)
    golden.summaries["lmms-eval"]["pooled"] = {**aggregated(rows), "rows": len(rows)}

    script, table = vlmevalkit(checkouts, rows, lambda row: row["id"])
    rated = script.POPE_rating(table).set_index("split")
    shares = {
        name: {"accuracy": line["acc"] / 100, "precision": line["precision"] / 100, "recall": line["recall"] / 100, "f1": line["Overall"] / 100}
        for name, line in rated.iterrows()
    }
    overall = shares.pop("Overall")
    golden.summaries["vlmevalkit"] = by_category(shares, groups) | {"pooled": {**overall, "rows": len(rows)}}

    spoken = [row for row in rows if row.get("prediction", "").split()]
    for row in rows:
        row["scores"]["cambrian"] = None  # the script ends with an error
    script = cases.module(checkouts / "cambrian/eval/eval/pope/pope_test.py", "cambrian_pope")
    golden.summaries["cambrian"] = {"pooled": {"accuracy": cambrian(script, spoken)["accuracy"] / 100, "rows": len(spoken)}}
    return golden


def by_category(measures: dict[str, dict[str, float]], groups: dict[str, list[Any]]) -> dict[str, Any]:
    names = next(iter(measures.values()))
    return {
        "mean": {name: mean(measure[name] for measure in measures.values()) for name in names},
        "categories": {category: {**measures[category], "rows": len(group)} for category, group in groups.items()},
    }


def mme(checkouts: Path, random: Random) -> Golden:
    tool = cases.module(checkouts / "MME/eval_tool/calculation.py", "mme_tool")
    kinds = tool.eval_type_dict
    subtasks = [subtask for kind in kinds.values() for subtask in kind]
    rows: list[dict[str, Any]] = []
    for subtask in [*subtasks, "chess"]:
        for image in range(random.randrange(80, 100) if subtask != "chess" else 6):
            good = random.random() < 0.6
            for truth in ["Yes", "No"]:
                name = f"{subtask}/{image:04d}.png"
                columns = {"category": subtask, "question_id": name, "answer": truth}
                row = {"id": f"{name}/{truth}", "columns": columns, "scores": {}, "parsed": {}}
                if random.random() > 0.01:
                    row["prediction"] = truth if good and random.random() < 0.8 else said(random, truth.lower())
                rows.append(row)
    known = [row for row in rows if row["columns"]["category"] != "chess"]
    unknown = [row for row in rows if row["columns"]["category"] == "chess"]
    golden = Golden(rows)

    calculator = tool.calculate_metrics()
    accuracies: list[float] = []
    compute = calculator.compute_metric

    def computed(gts: list[str], preds: list[str]) -> dict[str, Any]:
        metrics = compute(gts, preds)
        accuracies.append(metrics["acc"])
        return metrics

    calculator.compute_metric = computed
    with cases.folder() as work:
        for subtask in subtasks:
            lines = []
            for row in known:
                if row["columns"]["category"] == subtask:
                    # As the tool's readme asks for.
                    answer = re.sub(r"[\t\n\r]", "", row.get("prediction", ""))
                    lines.append(f"{row['columns']['question_id']}\tQ?\t{row['columns']['answer']}\t{answer}\n")
                    label = calculator.parse_pred_ans(answer.lower() + "\n")
                    row["scores"]["official"] = int(label == row["columns"]["answer"].lower())
                    if "prediction" in row:
                        row["parsed"]["official"] = None if label == "other" else label
            (work / f"{subtask}.txt").write_text("".join(lines), newline="")
        text = printed(calculator.process_result, str(work))
    totals = [float(total) for total in re.findall(r"total score: (\S+)", text)]
    scores = dict(re.findall(r"(\S+)  score: (\S+)", text))
    official = {name: (float(scores[name]), accuracy) for name, accuracy in zip(subtasks, accuracies, strict=True)}
    golden.summaries["official"] = points(dict(zip(["perception", "cognition"], totals, strict=True)), official, rows)
    golden.summaries["llava"] = golden.summaries["official"]
    for row in known:
        row["scores"]["llava"] = row["scores"]["official"]
    for row in unknown:
        row["scores"]["cambrian"] = None  # the script ends with an error; others never see the row

    lmms = cases.module(checkouts / "lmms-eval/lmms_eval/tasks/mme/utils.py", "lmms_mme")
    lmms.eval_logger = cases.stub("silent", info=lambda text: None)
    results: dict[str, list[dict[str, Any]]] = {"mme_perception_score": [], "mme_cognition_score": []}
    for row in rows:
        [(kind, result)] = lmms.mme_process_results(row["columns"], [row.get("prediction", "")]).items()
        results[kind].append(result)
        row["scores"]["lmms-eval"] = int(result["score"])
        if "prediction" in row:
            label = lmms.parse_pred_ans(row["prediction"])
            row["parsed"]["lmms-eval"] = None if label == "other" else label
    each = {}
    for subtask in [*subtasks, "chess"]:
        own = [result for kind in results.values() for result in kind if result["category"] == subtask]
        each[subtask] = (lmms.mme_aggregate_results(own), mean(result["score"] for result in own))
    totals_by_kind = {kind.split("_")[1]: lmms.mme_aggregate_results(own) for kind, own in results.items()}
    golden.summaries["lmms-eval"] = points(totals_by_kind, each, rows)

    script = cases.module(checkouts / "cambrian/eval/eval/mme/mme_test.py", "cambrian_mme")
    table = cambrian(script, known)
    golden.summaries["cambrian"] = points(
        {"perception": table["Perception"], "cognition": table["Cognition"]},
        {name: (table[name]["score"], table[name]["acc_score"] / 100) for name in subtasks},
        rows,
    )

    script, frame = vlmevalkit(checkouts, known, lambda row: row["columns"]["question_id"])
    rated = script.MME_rating(frame)
    golden.summaries["vlmevalkit"] = points(
        {"perception": rated["perception"], "cognition": rated["reasoning"]},
        {name: (rated[name], frame[frame["category"] == name]["score"].mean()) for name in subtasks},
        rows,
    )
    return golden


def points(totals: dict[str, float], subtasks: dict[str, tuple[float, float]], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **totals,
        "subtasks": {
            name: {
                "score": float(score),
                "accuracy": float(accuracy),
                "accuracy_plus": float(score) / 100 - float(accuracy),
                "rows": sum(row["columns"]["category"] == name for row in rows),
            }
            for name, (score, accuracy) in subtasks.items()
        },
    }


BENCHMARKS = {"pope": pope, "mme": mme}

"""Golden files of benchmarks that a judge scores, for made-up replies: MM-Vet, MMHal-Bench.

Checkouts: MM-Vet (yuweihao, acde8431), LLaVA-RLHF (llava-rlhf, 830a083f). The first needs pandas.
"""

from __future__ import annotations

import json
import re
from argparse import Namespace
from pathlib import Path
from random import Random
from typing import Any

import scorer_cases as cases
from scorer_cases import Golden
from scorer_golden_yes_no import printed

CAPABILITIES = ["rec", "ocr", "know", "gen", "spat", "math"]
SCORES = "0.0|0.1|0.2|0.3|0.4|0.5|0.6|0.7|0.8|0.9|1.0|0|1|.5|1.|0.25|0.875|1e-1|+0.5|0.5\n|0.5 (partly)|\n0.3|-0.0|00.5".split("|")
NO_SCORES = "|?|Score: 0.5| 0.5|1.1|2|-0.1|0.5,|0,5|half|1/2|0.5/1|inf|10|1.0.|0.5.|0x1|e1|.|1e|- 1".split("|")


def mm_vet(checkouts: Path, random: Random) -> Golden:
    rows: list[dict[str, Any]] = []
    data = {}
    for index in range(2200):
        name = f"v1_{index}"
        capabilities = random.sample(CAPABILITIES, random.randrange(1, 4))
        replies = [random.choice(NO_SCORES) for _ in range(random.choices(range(7), [20, 4, 2, 2, 2, 2, 1])[0])] + [random.choice(SCORES)]
        columns = {"capability": ",".join(capabilities), "judge_reply": replies if len(replies) > 1 else replies[0]}
        data[name] = {"question": "?", "answer": "!", "capability": capabilities, "replies": replies}
        rows.append({"id": name, "columns": columns, "prediction": name, "scores": {}})
    golden = Golden(rows)

    cases.stub("openai", OpenAI=None)
    cases.stub("openai._exceptions", RateLimitError=type("RateLimitError", (Exception,), {}))
    cases.stub("yaml")
    cases.stub("tqdm", tqdm=lambda it: it)
    script = cases.module(checkouts / "MM-Vet/mm-vet_evaluator.py", "mm_vet_evaluator")
    asked: dict[str, int] = {}

    def create(messages: list[dict[str, str]], **request: Any) -> Any:
        name = re.findall(r"\| (v1_\d+) \|", messages[0]["content"])[-1]
        asked[name] = asked.get(name, -1) + 1
        message = Namespace(content=data[name]["replies"][asked[name]] if asked[name] < len(data[name]["replies"]) else "")
        return Namespace(choices=[Namespace(message=message)], model="judge")

    script.client = Namespace(chat=Namespace(completions=Namespace(create=create)))
    with cases.folder() as work:
        (work / "mm-vet.json").write_text(json.dumps(data))
        (work / "results.json").write_text(json.dumps({name: name for name in data}))
        arguments = Namespace(
            mmvet_path=str(work),
            result_file=str(work / "results.json"),
            use_sub_set=False,
            num_run=1,
            prompt="",
            gpt_model="judge",
            decimal_places=12,
        )
        metadata = script.load_metadata(arguments)
        names = "sub_set sub_set_name data counter cap_set_list cap_set_counter len_data df df2 cap_set_names".split()
        script.__dict__.update(zip(names, metadata, strict=True))
        script.json = Namespace(load=json.load, dump=lambda *a, **k: None)  # it writes all grades after each
        grades: list[Any] = []
        printed(lambda: grades.append(script.runs(arguments, str(work / "grades.json"), script.data, script.len_data)))
        script.cap_score_file, script.cap_int_score_file = "scores.csv", "combinations.csv"
        single, combined = script.export_result(
            arguments, "model", script.df, script.df2, grades[0], script.data, script.cap_set_counter, script.cap_set_names
        )
    for row in rows:
        row["scores"]["official"] = grades[0][row["id"]]["score"][0]

    def sets(row: dict[str, Any]) -> str:
        return "_".join(sorted(row["columns"]["capability"].split(",")))

    golden.summaries["official"] = {
        "accuracy": single.loc["model"]["total"] / 100,
        "rows": len(rows),
        "capabilities": {
            name: {
                "accuracy": single.loc["model"][name] / 100,
                "rows": sum(name in row["columns"]["capability"].split(",") for row in rows),
            }
            for name in CAPABILITIES
        },
        "combinations": {
            "_".join(sorted(name.split("_"))): {
                "accuracy": combined.loc["model"][name] / 100,
                "rows": sum(sets(row) == "_".join(sorted(name.split("_"))) for row in rows),
            }
            for name in combined.columns
            if name not in ("total", "std", "runs")
        },
    }
    return golden


TYPES = "attribute adversarial comparison counting relation environment holistic other".split()
RATINGS = (
    "Rating: {0}|Rating: {0}|- Rating: {0}, very informative|**Rating: {0}**|RATING: {0}.|rating: {0}{1}|Rating:{0}|Rating : {0}|Rating: 7|"
    "Rating: {0} or rating: {1}|Rating: {0}. So, rating: {0}|Rating: |{0}|Rating:  {0}|Rating:\u00a0{0}|My rating: {0}/6|Ratİng: {0}|"
).split("|")


def mmhal_bench(checkouts: Path, random: Random) -> Golden:
    """The script takes 96 rows at a time; sums over its runs are sums over all, since all have one size."""
    rows: list[dict[str, Any]] = []
    script = checkouts / "LLaVA-RLHF/Eval/summarize_gpt_mmhal.py"
    scores: list[int] = []
    for run in range(22):
        own = []
        for place in range(96):
            reply = random.choice(RATINGS).format(random.randrange(7), random.randrange(7))
            columns = {"question_type": TYPES[place % 8], "judge_reply": reply}
            own.append({"id": f"{run}/{place}", "columns": columns, "prediction": "a cat", "scores": {}})
        with cases.folder() as work:
            replies = [{"choices": [{"message": {"content": row["columns"]["judge_reply"]}}]} for row in own]
            (work / "replies.json").write_text(json.dumps(replies))
            left = cases.script(script, "--evaluation", work / "replies.json")
        for row, score in zip(own, left["scores"], strict=True):
            row["scores"]["official"] = score
        scores += left["scores"]
        rows += own
    by_type = {kind: [score for score, row in zip(scores, rows, strict=True) if row["columns"]["question_type"] == kind] for kind in TYPES}
    summary = {
        "rating": sum(scores) / len(scores),
        "hallucination_rate": sum(score < 3 for score in scores) / len(scores),
        "rows": len(rows),
        "question_types": {kind: {"rating": sum(own) / len(own), "rows": len(own)} for kind, own in by_type.items()},
    }
    return Golden(rows, {"official": summary})


BENCHMARKS = {"mm-vet": mm_vet, "mmhal-bench": mmhal_bench}

"""Tests of what `evaluate.py` computes: ``python -m unittest``."""

import unittest

import duckdb
import numpy as np

import evaluate
import scenes


class ArithmeticTest(unittest.TestCase):
    def test_mcnemar_is_a_two_sided_sign_test(self) -> None:
        for one, other, p in ((0, 0, 1), (1, 0, 1), (3, 3, 1), (0, 6, 2 / 64), (10, 2, 2 * (1 + 12 + 66) / 4096)):
            self.assertAlmostEqual(evaluate.mcnemar(one, other), p, places=12)
            self.assertEqual(evaluate.mcnemar(one, other), evaluate.mcnemar(other, one))
        self.assertLess(evaluate.mcnemar(0, 2004), 1e-300)

    def test_objects_of_a_caption(self) -> None:
        for caption, expected in (
            ("An orange cross on a striped background.", {("orange", "cross")}),
            ("Two orange crosses, a red circle and three white squares on a noisy background.",
             {("orange", "cross"), ("red", "circle"), ("white", "square")}),
            ("a red red circle blue and a square", {("red", "circle")}),
            ("A redcircle and a hundred circles", set()),
            ("", set()),
        ):
            self.assertEqual(evaluate.objects(caption), expected)

    def test_objects_of_every_right_caption_are_the_scene_s(self) -> None:
        for index in range(200):
            example = scenes.example(3, index, 1)
            there = {(shape.colour, shape.kind) for shape in example.scene.shapes}
            self.assertEqual(evaluate.objects(example.questions[0].answer), there)

    def test_hallucination(self) -> None:
        right = "A red circle and a blue square on a noisy background."
        found = evaluate.hallucination([
            (right, right),
            ("A red circle and a blue circle on a noisy background.", right),
            ("A red star, a green cross and a blue square.", right),
            ("Nothing.", right),
        ])
        expected = {"captions": 4, "objects_named": 7, "not_there": 3 / 7, "captions_with_one": 0.5, "missed": 4 / 8}
        self.assertEqual(found, expected)
        self.assertIsNone(evaluate.hallucination([])["not_there"])

    def test_head_selection_is_unpacked_in_c_order(self) -> None:
        wanted = np.random.default_rng(0).integers(0, 2, (3, 5, 7))
        packed = np.packbits(wanted.reshape(-1), bitorder="little").tobytes()
        np.testing.assert_array_equal(evaluate.corrected(packed, wanted.shape), wanted)


class TablesTest(unittest.TestCase):
    """A run of three questions on two images of four tokens."""

    def setUp(self) -> None:
        self.database = duckdb.connect()
        self.database.execute("""create table rows as select * from (values
            ('1', 'x', 'baseline', 'count', '2', ['2'], [0, 1], '\\x00'::blob),
            ('2', 'x', 'baseline', 'count', '3', ['1'], [0, 1], '\\x00'::blob),
            ('3', 'y', 'baseline', 'colour', 'red', ['red'], [1], '\\x00'::blob),
            ('1', 'x', 'var', 'count', '1', ['2'], [0, 1], '\\x01'::blob),
            ('2', 'x', 'var', 'count', '1', ['1'], [0, 1], '\\x03'::blob),
            ('3', 'y', 'var', 'colour', NULL, ['red'], [1], NULL),
            ) as _(sample_id, image_id, variant, category, answer, answers, positions, head_selection)""")
        self.database.execute("""alter table rows add column status varchar default 'answered'""")
        self.database.execute("""create or replace table rows as select *, 4 as image_token_count,
            [1.0, 0.5, 0.0, 0.1] as mask_background, [1, 1, 2] as head_selection_shape,
            [{'layer': 2, 'image_positions': positions, 'text_positions': [0], 'max_value': 5.0}] as sinks,
            [{'layer': 2, 'image_attention': [0.2, 0.4], 'nonsink_ratio': [0.5, 0.7], 'sink_attention': [0.1, 0.3],
              'sink_contribution': [2.0, 4.0], 'nonsink_contribution': [1.0, 1.0]}] as head_statistics from rows""")
        evaluate.prepare(self.database)

    def test_accuracy_counts_rows_without_an_answer_as_wrong(self) -> None:
        found = {(row["kind"], row["variant"]): row["accuracy"] for row in evaluate.accuracy(self.database)}
        self.assertEqual(found, {("count", "baseline"): 0.5, ("count", "var"): 0.5, ("colour", "baseline"): 1,
                                 ("colour", "var"): 0, ("all", "baseline"): 2 / 3, ("all", "var"): 1 / 3})

    def test_variants_are_compared_question_by_question(self) -> None:
        *kinds, every = evaluate.compared(self.database, "baseline", "var")
        self.assertEqual([row["kind"] for row in kinds], ["colour", "count"])
        self.assertEqual(every, {"one": "baseline", "other": "var", "kind": "all", "questions": 3, "both": 0, "only_one": 2,
                                 "only_other": 1, "changed": 3, "p": 1.0})

    def test_sinks(self) -> None:
        (row,) = evaluate.sinks(self.database)
        expected = {"layer": 2, "image_sinks": 5 / 3, "without": 0, "text_sinks": 1, "median_largest_value": 5,
                    "on_background": (1 + 0.5 + 1 + 0.5 + 0.5) / 5, "background": 0.4, "attention_on_image": 0.3,
                    "attention_on_sinks": 0.2, "nonsink_ratio": 0.6, "same_place_by_chance": (0.5 + 0.5 + 0.25) / 3,
                    # Of the sinks x0, x1 and y1, the last two have one at their place in the other image.
                    "same_place": 2 / 3, "most_common_place": 1}
        self.assertEqual(row.keys(), expected.keys())
        for name, value in expected.items():
            self.assertAlmostEqual(float(row[name]), value, places=6, msg=name)

    def test_heads_corrected(self) -> None:
        self.assertEqual(evaluate.heads_corrected(self.database), [{"layer": 0, "corrected": 0.75}])

    def test_contributions(self) -> None:
        (row,) = evaluate.contributions(self.database, "baseline")
        self.assertEqual(row, {"layer": 2, "sink": 3, "nonsink": 1, "ratio": 3})

    def test_a_table_has_its_columns_under_each_other(self) -> None:
        self.assertEqual(evaluate.table([{"kind": "all", "p": 0.123456}, {"kind": "count", "p": None}]),
                         " kind       p\n  all  0.1235\ncount       -")


if __name__ == "__main__":
    unittest.main()

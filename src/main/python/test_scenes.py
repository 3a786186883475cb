"""Tests of the scene generator: ``python -m unittest``.

Most tests look at the written files only. They find the shapes again in the pixels of
image and mask, and answer every question from what they found.
"""

import colorsys
import dataclasses
import io
import itertools
import re
import tempfile
import unittest
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import scenes

BUNDLED = Path(__file__).parents[1] / "resources/io/sinklens/demo/scenes.parquet"
SEED = 20
HUES = {"red": 0, "orange": 30, "yellow": 52, "green": 127, "cyan": 186, "blue": 228, "purple": 285}
NUMERALS = {"two": 2, "three": 3, "four": 4}


@dataclasses.dataclass(frozen=True)
class Found:
    """A shape as seen in the pixels; x and y run from 0 to 1."""

    colour: str
    kind: str
    x: float
    y: float


def find_colour(pixels: np.ndarray) -> str:
    red, green, blue = np.median(pixels, axis=0) / 255
    hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    if saturation < 0.2:
        return "white"
    return min(HUES, key=lambda name: abs((hue * 360 - HUES[name] + 180) % 360 - 180))


def find_kind(x: np.ndarray, y: np.ndarray) -> str:
    """Tells shapes apart by their rotational symmetry and how spread out they are."""
    points = (x - x.mean()) + 1j * (y - y.mean())
    radii, angles = np.abs(points), np.angle(points)
    folds = {
        fold: abs(np.sum(radii**4 * np.exp(1j * fold * angles))) / np.sum(radii**4)
        for fold in (2, 3, 4, 5)
    }
    spread = 2 * np.pi * np.sum(radii**2) / len(points) ** 2
    fold = max(folds, key=folds.get)
    if folds[fold] < 0.1:
        return "circle"
    if fold == 4:
        return "cross" if spread > 1.1 else "square"
    return {2: "diamond", 3: "triangle", 5: "star"}[fold]


def find(image: Image.Image, mask: Image.Image) -> list[Found]:
    pixels, numbers = np.asarray(image.convert("RGB")), np.asarray(mask)
    found = []
    for number in range(1, numbers.max() + 1):
        inside = numbers == number
        core = inside.copy()
        core[1:] &= inside[:-1]
        core[:-1] &= inside[1:]
        core[:, 1:] &= inside[:, :-1]
        core[:, :-1] &= inside[:, 1:]
        y, x = np.nonzero(inside)
        found.append(
            Found(
                find_colour(pixels[core]),
                find_kind(x, y),
                (x.mean() + 0.5) / image.width,
                (y.mean() + 0.5) / image.height,
            )
        )
    return found


class Reader:
    """Answers questions from found shapes; fails where there is not exactly one answer."""

    def __init__(self, found: list[Found]) -> None:
        self.found = found

    def those(self, phrase: str) -> list[Found]:
        words = set(phrase.split()) - {"shape", "object"}
        return [shape for shape in self.found if words <= {shape.colour, shape.kind}]

    def the(self, phrase: str) -> Found:
        (only,) = self.those(phrase)
        return only

    def answer(self, question: str) -> str:
        for pattern, method in (
            (r"Is there an? (.+) in the image\?", self.presence),
            (r"What colour is the (\w+)\?", lambda kind: self.the(kind).colour),
            (r"What shape is the (\w+) object\?", lambda colour: self.the(colour).kind),
            (r"How many (.+) are in the image\?", self.count),
            (r"Is the (.+) to the left or to the right of the (.+)\?", self.relation),
            (r"Where is the (.+)\?", self.position),
        ):
            match = re.fullmatch(pattern, question)
            if match:
                return method(*match.groups())
        raise AssertionError(f"unexpected question: {question}")

    def presence(self, phrase: str) -> str:
        return "yes" if self.those(phrase) else "no"

    def count(self, phrase: str) -> str:
        singular = re.sub(r"(?<=ss)es$|s$", "", phrase)
        return str(len(self.those(singular)))

    def relation(self, one: str, other: str) -> str:
        distance = self.the(one).x - self.the(other).x
        assert abs(distance) > 0.16, f"too near to tell: {distance}"
        return "left" if distance < 0 else "right"

    def position(self, phrase: str) -> str:
        shape = self.the(phrase)
        right, below = shape.x - 0.5, shape.y - 0.5
        if abs(right) < 0.08 and abs(below) < 0.08:
            return "center"
        assert abs(right) > 0.11 and abs(below) > 0.11, f"not clearly in a corner: {shape}"
        return f"{'top' if below < 0 else 'bottom'} {'left' if right < 0 else 'right'}"


def captioned(caption: str) -> Counter:
    """How many of each shape a caption tells of."""
    listed = re.fullmatch(r"(.+) on an? \w+ background\.", caption).group(1)
    counts = Counter()
    for part in re.split(r", | and ", listed):
        number, colour, kind = part.lower().split()
        counts[colour, kind if number in ("a", "an") else re.sub(r"(?<=ss)es$|s$", "", kind)] += (
            NUMERALS.get(number, 1)
        )
    return counts


class ScenesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.examples = [scenes.example(SEED, index) for index in range(1000)]
        cls.rows = [scenes.rows(SEED, example) for example in cls.examples]
        cls.found = [
            find(Image.open(io.BytesIO(rows[0]["image"]["bytes"])),
                 Image.open(io.BytesIO(rows[0]["mask"]["bytes"])))
            for rows in cls.rows
        ]

    def test_files_show_the_scene(self) -> None:
        for example, rows, found in zip(self.examples, self.rows, self.found):
            with self.subTest(example.index):
                self.assertEqual(
                    [(shape.colour, shape.kind) for shape in found],
                    [(shape.colour, shape.kind) for shape in example.scene.shapes],
                )
                image = Image.open(io.BytesIO(rows[0]["image"]["bytes"]))
                mask = Image.open(io.BytesIO(rows[0]["mask"]["bytes"]))
                self.assertEqual((image.format, image.mode), (rows[0]["format"], "RGB"))
                self.assertEqual((mask.format, mask.mode), ("PNG", "L"))
                self.assertEqual(image.size, (rows[0]["width"], rows[0]["height"]))
                self.assertEqual(mask.size, image.size)

    def test_mask_numbers_shapes_and_keeps_them_apart(self) -> None:
        for example in self.examples:
            with self.subTest(example.index):
                mask = np.asarray(example.mask).astype(int)
                self.assertEqual(
                    np.unique(mask).tolist(), list(range(len(example.scene.shapes) + 1))
                )
                for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
                    self.assertFalse(np.any((one != other) & (one > 0) & (other > 0)))
                edge = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
                self.assertFalse(edge.any())

    def test_answers_follow_from_the_pixels(self) -> None:
        for rows, found in zip(self.rows, self.found):
            for row in rows:
                if row["category"] == "caption":
                    continue
                with self.subTest(row["question_id"], question=row["question"]):
                    self.assertEqual(Reader(found).answer(row["question"]), row["answer"])

    def test_more_questions_than_usual_have_answers_too(self) -> None:
        for index, found in enumerate(self.found[:200]):
            asked = scenes.example(SEED, index, scenes.MAX_QUESTIONS).questions
            self.assertEqual(len(asked), scenes.MAX_QUESTIONS)
            self.assertEqual(len({question.text for question in asked}), len(asked))
            for question in asked[1:]:
                with self.subTest(index, question=question.text):
                    self.assertEqual(Reader(found).answer(question.text), question.answer)

    def test_captions_tell_what_the_pixels_show(self) -> None:
        for example, found in zip(self.examples, self.found):
            with self.subTest(example.index):
                first = example.questions[0]
                self.assertEqual((first.kind, first.text), ("caption", "Describe the image."))
                self.assertEqual(
                    captioned(first.answer), Counter((shape.colour, shape.kind) for shape in found)
                )
                self.assertIn(scenes.BACKGROUNDS[example.scene.background.kind], first.answer)

    def test_caption_wording(self) -> None:
        scene = self.examples[0].scene
        circle = dataclasses.replace(scene.shapes[0], kind="circle", colour="red")
        cross = dataclasses.replace(circle, kind="cross", colour="orange")
        square = dataclasses.replace(circle, kind="square", colour="blue")
        striped = dataclasses.replace(scene.background, kind="stripes")
        for shapes, wording in (
            ((cross,), "An orange cross on a striped background."),
            ((circle, square), "A red circle and a blue square on a striped background."),
            ((cross, circle, cross),
             "Two orange crosses and a red circle on a striped background."),
            ((circle, square, cross),
             "A red circle, a blue square and an orange cross on a striped background."),
        ):
            scene = dataclasses.replace(scene, shapes=shapes, background=striped)
            self.assertEqual(scenes.caption(scene), wording)

    def test_questions_are_balanced(self) -> None:
        kinds, answers = Counter(), defaultdict(Counter)
        for example in self.examples:
            self.assertEqual(len(example.questions), 6)
            for question in example.questions:
                kinds[question.kind] += 1
                answers[question.kind][question.answer] += 1
            if len(example.scene.shapes) == 1:
                self.assertNotIn("relation", {question.kind for question in example.questions})
        self.assertEqual(set(kinds), set(scenes.KINDS))
        self.assertEqual(kinds.pop("caption"), len(self.examples))
        self.assertLess(max(kinds.values()), 1.5 * min(kinds.values()))
        for kind, answer in (("presence", "yes"), ("relation", "left")):
            share = answers[kind][answer] / kinds[kind]
            self.assertTrue(0.45 <= share <= 0.55, f"{kind}: {share}")
        for kind, number in (("colour", 8), ("shape", 6), ("count", 5), ("position", 5)):
            self.assertEqual(len(answers[kind]), number)

    def test_wording_of_a_presence_question_does_not_give_it_away(self) -> None:
        answers = defaultdict(Counter)
        for example in self.examples:
            for question in example.questions:
                if question.kind == "presence":
                    for word in set(question.text.split()) & {*scenes.COLOURS, *scenes.SHAPES}:
                        answers[word][question.answer] += 1
                    answers[len(question.text.split())][question.answer] += 1
        for word, counts in answers.items():
            share = counts["yes"] / counts.total()
            self.assertTrue(0.33 <= share <= 0.67, f"{word}: {counts}")

    def test_many_absent_things_are_nearly_there(self) -> None:
        near = total = 0
        for example, found in zip(self.examples, self.found):
            for question in example.questions:
                match = re.fullmatch(r"Is there an? (\w+) (\w+) in the image\?", question.text)
                if match and question.answer == "no":
                    colour, kind = match.groups()
                    total += 1
                    near += any(colour == shape.colour or kind == shape.kind for shape in found)
        self.assertGreater(near / total, 0.6)
        self.assertLess(near / total, 1)

    def test_an_example_depends_on_seed_and_index_only(self) -> None:
        for index in (0, 5, 999):
            again = scenes.example(SEED, index)
            self.assertEqual(again.scene, self.examples[index].scene)
            self.assertEqual(scenes.rows(SEED, again), self.rows[index])
        self.assertNotEqual(scenes.example(SEED + 1, 5).scene, self.examples[5].scene)
        part = itertools.islice(scenes.stream(SEED, start=3, step=4), 3)
        self.assertEqual([example.index for example in part], [3, 7, 11])

    def test_scenes_keep_to_what_was_asked_for(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(50):
            scene = scenes.Scene.random(rng, sizes=[(80, 70)], max_shapes=2, formats=["PNG"])
            self.assertEqual((scene.width, scene.height, scene.format), (80, 70, "PNG"))
            self.assertLessEqual(len(scene.shapes), 2)
        with self.assertRaises(ValueError):
            scenes.Scene.random(rng, max_shapes=5)
        with self.assertRaises(ValueError):
            scenes.Scene.random(rng, sizes=[(32, 64)])
        with self.assertRaises(ValueError):
            scenes.questions(self.examples[0].scene, rng, 0)


class ParquetTest(unittest.TestCase):
    def test_same_seed_same_bytes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            contents = []
            for name, seed in (("a", 7), ("b", 7), ("c", 8)):
                path = Path(folder, name)
                scenes.main(["--images", "9", "--seed", str(seed), "--images-per-group", "4",
                             "--output", str(path)])
                contents.append(path.read_bytes())
            self.assertEqual(contents[0], contents[1])
            self.assertNotEqual(contents[0], contents[2])
            self.assertEqual(pq.ParquetFile(Path(folder, "a")).num_row_groups, 3)

    def test_bundled_file(self) -> None:
        file = pq.ParquetFile(BUNDLED)
        self.assertEqual(file.num_row_groups, 4)
        self.assertLess(BUNDLED.stat().st_size, 2_000_000)
        rows = file.read().to_pylist()
        self.assertEqual(len(rows), 720)
        self.assertEqual(len({row["question_id"] for row in rows}), 720)
        images = defaultdict(list)
        for row in rows:
            images[row["image_id"]].append((row["image"]["bytes"], row["mask"]["bytes"]))
        self.assertEqual(len(images), 120)
        for repeated in images.values():
            self.assertEqual(len(repeated), 6)
            self.assertEqual(len(set(repeated)), 1)
        # Other versions may encode images otherwise, but the questions stay.
        expected = [row for index in range(120) for row in scenes.rows(7, scenes.example(7, index))]
        for row, wanted in zip(rows, expected, strict=True):
            for column in ("question_id", "question", "answer", "category", "width", "height"):
                self.assertEqual(row[column], wanted[column])


if __name__ == "__main__":
    unittest.main()

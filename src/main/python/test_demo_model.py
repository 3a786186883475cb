"""Tests of what the demo model is trained on, and of how its sinks are measured and planted."""

from __future__ import annotations

import unittest

import torch

import demo_model as demo
import llama_tokenizer as llama
import measure
import planting
import scenes


class DemoModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        torch.manual_seed(0)
        cls.tokenizer = llama.train_tokenizer(demo.corpus(), demo.PIECES, legacy=False)
        cls.prompts = demo.Prompts.of(cls.tokenizer)
        cls.config = demo.config(cls.tokenizer)
        cls.model = demo.fresh(cls.config, seed=3).eval()

    def test_a_word_of_an_answer_is_one_token(self) -> None:
        for answer in ["yes", "no", "center", "left", *scenes.COLOURS, *scenes.SHAPES]:
            self.assertEqual(len(self.prompts.answer(answer)), 2, answer)

    def test_parts_of_a_prompt_are_the_ids_of_the_whole(self) -> None:
        question = "Is the red circle to the left or to the right of the blue star?"
        for system in (demo.SYSTEM, ""):
            parts = [*self.prompts.prefix(system), self.prompts.image_token, *self.prompts.question(question),
                     *self.prompts.answer("left")]  # fmt: skip
            whole = self.prompts.encode(f"{system}USER: {llama.IMAGE}\n{question} ASSISTANT: left")
            self.assertEqual(parts, [*whole, llama.EOS_ID])

    def test_a_question_in_a_batch_is_answered_as_if_alone(self) -> None:
        example = scenes.example(21, 5, 6)
        batch = demo.collate([example], self.prompts)
        before = self.prompts.prefix(demo.SYSTEM)
        with torch.no_grad():
            together = self.model(**demo.inputs(batch, before, self.prompts.image_token)).logits[0]
        shared = len(before) + demo.IMAGE_TOKENS
        for turn, question in enumerate(example.questions):
            ids = [*before, *[self.prompts.image_token] * demo.IMAGE_TOKENS, *self.prompts.question(question.text),
                   *self.prompts.answer(question.answer)]  # fmt: skip
            with torch.no_grad():
                alone = self.model(input_ids=torch.tensor([ids]), pixel_values=batch.pixels).logits[0, shared:]
            torch.testing.assert_close(together[shared:][batch.turns[0] == turn], alone, atol=1e-4, rtol=1e-4)

    def test_explicit_attention_agrees_with_the_fused_kernel(self) -> None:
        batch = demo.collate([scenes.example(21, 6, 4)], self.prompts)
        forward = demo.inputs(batch, self.prompts.prefix(""), self.prompts.image_token)
        text = self.model.model.language_model.config
        with torch.no_grad():
            fused = self.model(**forward).logits
            text._attn_implementation = measure.ATTENTION
            explicit = self.model(**forward).logits
            text._attn_implementation = "sdpa"
        torch.testing.assert_close(explicit, fused, atol=1e-4, rtol=1e-4)

    def test_patches_know_what_covers_them(self) -> None:
        example = next(e for e in scenes.stream(21) if len(e.scene.shapes) == 1)
        shape = example.scene.shapes[0]
        objects, covered = demo.patches(example.scene, example.mask)
        middle = int(8 * shape.y / example.scene.height) * 8 + int(8 * shape.x / example.scene.width)
        self.assertEqual(objects[middle].tolist(), [
            1 + list(scenes.COLOURS).index(shape.colour), 1 + scenes.SHAPES.index(shape.kind),
            middle // 8, middle % 8, middle // 8, middle % 8,
        ])  # fmt: skip
        self.assertGreater(covered[middle], 0.9)
        self.assertTrue((objects[covered == 0, 0] == 0).all())

    def test_planted_sinks_are_on_background_only(self) -> None:
        batch = demo.collate([scenes.example(21, index, 1) for index in range(40)], self.prompts)
        sinks = planting.sink_patches(batch)
        self.assertTrue((batch.covered[sinks] == 0).all())
        self.assertEqual(set(sinks.nonzero()[:, 1].tolist()), set(planting.SINK_PATCHES))

    def test_planting_wants_large_values_and_surplus_attention_at_sinks_only(self) -> None:
        batch = demo.collate([scenes.example(21, 7, 2)], self.prompts)
        before, text = 3, batch.tokens.shape[1]
        length = before + demo.IMAGE_TOKENS + text
        sinks = planting.sink_patches(batch)[0]
        hidden = torch.ones(1, length, 256)
        massive = hidden.clone()
        massive[0, [0, *(before + sinks.nonzero()[:, 0]).tolist()], planting.SINK_DIMENSIONS[0]] = 100.0
        attention = torch.zeros(1, 8, length, length)
        attention[..., 0] = 0.5
        attention[..., before + int(sinks.nonzero()[0, 0])] = 0.5
        flat = torch.full_like(attention, 1 / length)

        silent = hidden.clone()
        silent[massive.amax(-1) > 1] = 0.05

        def total(states: list[torch.Tensor], weights: torch.Tensor, values: torch.Tensor) -> dict[str, float]:
            found = planting.losses(tuple(states), (weights,) * 6, [values] * 6, batch, before)
            return {name: loss.item() for name, loss in found.items()}

        planted = [hidden] * 2 + [massive] * 5
        self.assertEqual(total(planted, attention, silent), {"idle": 0.0, "sizes": 0.0, "surplus": 0.0})
        self.assertGreater(total([hidden] * 7, attention, silent)["sizes"], 0.5)
        self.assertGreater(total([massive] * 7, attention, silent)["sizes"], 0.0)
        self.assertGreater(total(planted, flat, silent)["surplus"], 0.0)
        self.assertGreater(total(planted, attention, hidden)["idle"], 0.5)


if __name__ == "__main__":
    unittest.main()

"""The documents say what is true, the loss is taken where it should be, and the tokenizer keeps one symbol one token."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.distillation.teacher_page import student_messages, teacher_page
from pmd_agent.models.loading import load_tokenizer
from pmd_agent.pipelines.prompts import choose_attempts
from pmd_agent.problems.world import OPERATORS, RULES, Expression, World, solution_text
from pmd_agent.types import Behavior, Experience, TeacherContext
from pmd_agent.verifiers import build_verifier
from recipes.box.documents import (
    MAKERS,
    abstract_truly,
    attempts_at,
    choose,
    random_meaning,
    reflect_truly,
    use,
)
from recipes.box.stream import Stream, collate, segments
from recipes.box.train import LEVELS, BoxRecipe, Drills, make_tokenizer

ROOT = Path(__file__).parents[2]


def attempt(text: str, correct: bool) -> Experience:
    return Experience(text, "p", text, float(correct), correct, "", None, 0, 0)


def solved(first: str, second: str) -> str:
    return solution_text(Expression(("37", "14", "52"), ("zog", "vit")), {"zog": first, "vit": second})


@pytest.mark.parametrize("kind", list(MAKERS))
def test_documents_are_read_and_learnt(kind: str) -> None:
    rng = random.Random(kind)
    tokenizer = load_tokenizer("box")
    for _ in range(20):
        document = MAKERS[kind](rng)
        pieces = list(segments(document))
        whole = tokenizer("".join(text for text, _ in pieces), add_special_tokens=False).input_ids
        assert [i for text, _ in pieces for i in tokenizer(text).input_ids] == whole, (
            "pieces and whole differ in tokens"
        )
        learnt = "".join(text for text, learn in pieces if learn)
        assert learnt and "<|im_start|>" not in learnt
        prompts = [content for role, content in document.turns if role in ("system", "user")]
        assert all(isinstance(content, str) for content in prompts)


def test_a_solution_is_what_the_verifier_accepts() -> None:
    world = World.create(3)
    for problem in world.problems(50, operators=2, split="test"):
        numbers = [w for w in problem.prompt.replace(".", "").split() if w.isdigit()]
        text = solution_text(Expression(tuple(numbers), problem.data["operators"]), world.meaning)
        assert build_verifier("exact").verify(problem, text).correct


def test_reflection_targets_by_hand() -> None:
    right, wrong, other = solved("max", "add"), solved("add", "add"), solved("max", "mul")
    assert reflect_truly([attempt(right, True), attempt(wrong, False)], ("zog", "vit")) == (
        ["Use zog max.", "Use vit add."],
        ["Never zog add with vit add."],
    )
    # A slip: what failed is what elsewhere was right, and so it teaches nothing.
    assert reflect_truly([attempt(right, True), attempt(right, False)], ("zog", "vit"))[1] == []
    # Two successes that disagree: what they agree on.
    assert reflect_truly([attempt(right, True), attempt(other, True)], ("zog", "vit"))[0] == ["Use zog max."]
    # No success: no strategy.
    assert reflect_truly([attempt(wrong, False)], ("zog", "vit")) == ([], ["Never zog add with vit add."])


@pytest.mark.parametrize("known", [1, 2, 3])
def test_strikes_leave_one_rule_of_each_operator(known: int) -> None:
    rng = random.Random(known)
    for _ in range(20):
        pieces = list(segments(MAKERS["strikes"](rng, known=known)))
        failed: dict[str, set[str]] = {}
        for line in pieces[0][0].split("."):
            if line.startswith(" Never"):
                _, operator, rule = line.split()
                failed.setdefault(operator, set()).add(rule)
        asked = [text.split()[-1] for text, learn in pieces[1:] if not learn and text != "."]
        answers = [text.strip() for text, learn in pieces if learn]
        assert len(asked) == len(answers) <= known
        assert [set(RULES) - failed[operator] for operator in asked] == [{answer} for answer in answers]


def test_drills_rise_by_level_and_end_at_the_gate() -> None:
    drills = Drills(BoxRecipe())
    assert drills.mix() == {"pairs": 1.0}
    seen = []
    while not drills.are_over(0):
        now, here = drills.now, (drills.kind, drills.known[drills.kind])
        seen.append(here)
        for _ in range(20):
            drills.update(96, 100)
        if here[1] == LEVELS[here[0]][-1]:  # .96 passes a level, not the gate
            assert (drills.kind, drills.known[drills.kind]) == here
            while drills.now == now:
                drills.update(100, 100)
    assert seen == [(kind, level) for kind, levels in LEVELS.items() for level in levels]
    assert Drills(BoxRecipe()).are_over(BoxRecipe().drill_steps)


def test_where_all_failed_lessons_name_what_failed_as_a_whole() -> None:
    rng = random.Random(0)
    seen = 0
    while seen < 100:
        meaning = random_meaning(rng)
        expression = Expression(("37", "14", "52"), tuple(rng.sample(OPERATORS, 2)))
        shown = choose_attempts(attempts_at(rng, expression, meaning), 4)
        if shown[0].correct:
            continue
        seen += 1
        strategies, lessons = reflect_truly(shown, expression.operators)
        assert strategies == [] and lessons
        for lesson in lessons:  # a wrong end result does not say which of the two was wrong
            assert lesson.count(" with ") == 1 and all(operator in lesson for operator in expression.operators)


def test_abstraction_targets_by_hand() -> None:
    shown = "- Never zog add. (5)\n- Use vit add. (2)\n- Use vit max. (2)\n- Use zog max. (3)\n- Use zog min. (1)\n- Use mab add. (1)"
    assert abstract_truly(shown) == ["operator zog: Use zog max."]


def test_the_teachers_prompt_is_the_one_that_was_trained_on() -> None:
    (problem,) = World.create(0).problems(1, operators=2, split="x")
    behavior = Behavior("b", "behavior_x", "Use zog max.", "c", 1, (), 0, 0)
    text = teacher_page(
        TeacherContext(problem, behaviors=(behavior,)), None, max_tokens=999, count_tokens=len
    ).messages[-1]["content"]
    rng = random.Random(0)
    seen = [MAKERS["memory"](rng).turns[1][1] for _ in range(200)]
    head = text.split("- Use")[0]
    assert any(isinstance(prompt, str) and prompt.startswith(head) for prompt in seen)
    assert student_messages(problem)[-1]["content"] == problem.prompt


def test_one_symbol_is_one_token_and_any_text_survives() -> None:
    tokenizer = make_tokenizer(BoxRecipe(), documents=60)
    for symbol in [*OPERATORS, *RULES, *"0123456789"]:
        assert len(tokenizer(f" {symbol}").input_ids) == 1, symbol
    for text in ("naïve Größe 分子 🙂 \t\n C[C@H](N)C(=O)O", use("zog", "max"), choose("B"), json.dumps({"a": ["x"]})):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_batches_hold_like_lengths_within_their_budget() -> None:
    stream = Stream(load_tokenizer("box"), "test", 2048)
    mix: dict[str, Any] = {"pairs": 0.5, "contrast": 0.5}
    batches = stream.step(mix, tokens=6000, micro=2048, known={"pairs": 4})
    for batch in batches:
        ids, learn = collate(batch, pad=0)
        assert ids.numel() <= 2048 or len(batch) == 1
        assert learn.any(1).all()
    assert sum(len(d.ids) for batch in batches for d in batch) >= 6000


def test_documents_are_the_same_in_every_process() -> None:
    script = (
        "import random; from recipes.box.documents import MAKERS; rng = random.Random(0);"
        "print([maker(rng) for maker in MAKERS.values() for _ in range(20)])"
    )
    found = {
        subprocess.check_output(
            [sys.executable, "-c", script], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, text=True
        )
        for seed in ("1", "2")
    }
    assert len(found) == 1

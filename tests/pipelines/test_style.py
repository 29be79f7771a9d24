"""How programs are asked: in the words of the policy in the box, or in those for instruct models."""

from __future__ import annotations

import json

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from pmd_agent.pipelines import Generaliser, PlainJSONAdapter, Reflector, StrictJSONAdapter
from pmd_agent.pipelines.plain_signatures import Abstract, Contrast, Postmortem
from pmd_agent.pipelines.style import adapter_of, signatures_of
from pmd_agent.recipe import parse_recipe

INPUTS = {"problem": "Write a price.", "attempts": "[1] failed\n<answer>7</answer>"}


def test_the_question_comes_first_and_the_form_is_shown_once_in_each_message() -> None:
    system, user = PlainJSONAdapter().format(Contrast, [], INPUTS)
    assert system["content"].startswith("You write notes for a colleague")
    form = '{"strategies": ["...", "..."], "lessons": ["...", "..."]}'
    assert system["content"].endswith(form) and user["content"].endswith(form)
    assert "schema" not in system["content"] + user["content"]
    assert "[[ ## problem ## ]]\nWrite a price." in user["content"] and "[1] failed" in user["content"]


def test_what_has_more_than_texts_is_asked_as_dspy_does() -> None:
    signature = dspy.Signature("problem, attempts -> score: int")
    assert PlainJSONAdapter().format(signature, [], INPUTS) == StrictJSONAdapter().format(signature, [], INPUTS)


SAID = {"lessons": ["For prices, begin with a currency code."]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SAID),
        f"Here are the notes:\n```json\n{json.dumps(SAID, indent=1)}\n```\nThey follow the feedback.",
        f"<think>{{}}</think>{json.dumps(SAID)}",
        json.dumps(SAID) + '{"lessons": ["another"]}',
    ],
)
def test_the_first_whole_object_is_read(text: str) -> None:
    assert PlainJSONAdapter().parse(Postmortem, text) == SAID


@pytest.mark.parametrize(
    "text", ["", "No notes.", json.dumps(SAID)[:-3], '{"lessons": "one"}', "[1, {", '{"other": []}', "{" * 99]
)
def test_what_is_cut_or_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(AdapterParseError):
        PlainJSONAdapter().parse(Postmortem, text)


def test_programs_have_the_words_of_their_style() -> None:
    assert Reflector().contrast.signature.instructions.startswith("Compare the attempts at one problem.")
    plain = Reflector(style="plain")
    assert plain.contrast.signature.instructions == Contrast.instructions
    assert plain.postmortem.signature.instructions == Postmortem.instructions
    assert Generaliser(style="plain").abstract.signature.instructions == Abstract.instructions
    assert type(adapter_of("box")) is StrictJSONAdapter and type(adapter_of("plain")) is PlainJSONAdapter


def test_both_styles_ask_for_the_same_fields() -> None:
    for name in ("Contrast", "Postmortem", "Abstract"):
        box, plain = (getattr(signatures_of(style), name).fields for style in ("box", "plain"))
        assert {k: f.annotation for k, f in box.items()} == {k: f.annotation for k, f in plain.items()}


@pytest.mark.parametrize(
    ("policy", "pipeline", "page", "programs"),
    [
        ({"model": "box"}, {}, "box", "box"),
        ({"model": "Qwen/Qwen3-8B"}, {}, "plain", "plain"),
        ({"type": "scripted"}, {}, "box", "box"),
        ({"model": "box"}, {"lm": {"model": "openai/x"}}, "box", "plain"),
        ({"model": "/models/my-box"}, {"style": "box"}, "box", "box"),
        ({"model": "box"}, {"style": "plain"}, "plain", "plain"),
        ({"model": "box"}, {"style": "box", "lm": {"model": "openai/x"}}, "box", "box"),
    ],
)
def test_the_policy_chooses_the_style(
    policy: dict[str, object], pipeline: dict[str, object], page: str, programs: str
) -> None:
    recipe = parse_recipe({"policy": policy, "pipeline": pipeline})
    assert (recipe.page_style, recipe.program_style) == (page, programs)

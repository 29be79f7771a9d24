"""What the policy reads when it reflects, and which of its answers count."""

from __future__ import annotations

import json
from types import SimpleNamespace

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from pmd_agent.pipelines import Generaliser, Reflector, StrictJSONAdapter
from pmd_agent.pipelines.signatures import Abstract, Contrast, Postmortem

SYSTEM = """\
Your input fields are:
1. `problem` (str): the problem
2. `attempts` (str): attempts with their verdicts
Your output fields are:
1. `strategies` (list[str]): what to do again
2. `lessons` (list[str]): what to avoid
All interactions will be structured in the following way, with the appropriate values filled in.

Inputs will have the following structure:

[[ ## problem ## ]]
{problem}

[[ ## attempts ## ]]
{attempts}

Outputs will be a JSON object with the following fields.

{
  "strategies": "{strategies}        # note: the value you produce must adhere to the JSON schema: {\\"type\\": \\"array\\", \\"items\\": {\\"type\\": \\"string\\"}}",
  "lessons": "{lessons}        # note: the value you produce must adhere to the JSON schema: {\\"type\\": \\"array\\", \\"items\\": {\\"type\\": \\"string\\"}}"
}
In adhering to this structure, your objective is:\x20
        Compare the attempts at one problem. A strategy says what all correct attempts did, so that it can be done again. A lesson says what failed attempts did that correct ones did not. Write each as one short imperative sentence. Never state the final answer."""
USER = """\
[[ ## problem ## ]]
Solve p.

[[ ## attempts ## ]]
[1] correct
text of 4/p/0

Respond with a JSON object in the following order of fields: `strategies` (must be formatted as a valid Python list[str]), then `lessons` (must be formatted as a valid Python list[str])."""


def parse(completion: str, signature: type[dspy.Signature] = Contrast) -> dict[str, list[str]]:
    found: dict[str, list[str]] = StrictJSONAdapter().parse(signature, completion)
    return found


def test_the_rendering_which_the_box_was_pretrained_on() -> None:
    """Fails when a DSPy release words its prompts differently: the box is then to be built again."""
    inputs = {"problem": "Solve p.", "attempts": "[1] correct\ntext of 4/p/0"}
    system, user = StrictJSONAdapter().format(Contrast, [], inputs)
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"] == SYSTEM
    assert user["content"] == USER


@pytest.mark.parametrize(
    ("signature", "asked", "told"),
    [
        (Postmortem, {"problem": "q?", "attempts": "a!"}, ["Do not guess what is right.", "failed attempts"]),
        (Abstract, {"insights": "- a (2)"}, ["short name, a colon", "keep the one with more support"]),
    ],
)
def test_instruction_and_inputs_are_all_there(
    signature: type[dspy.Signature], asked: dict[str, str], told: list[str]
) -> None:
    system, user = StrictJSONAdapter().format(signature, [], asked)
    assert all(text in system["content"] for text in told)
    assert all(f"[[ ## {name} ## ]]\n{text}" in user["content"] for name, text in asked.items())


def test_programs_send_exactly_this_rendering(answers: type, make: SimpleNamespace) -> None:
    """Nothing is added on the way from the adapter to the policy: pretraining renders with the adapter alone."""
    asked = answers('{"strategies": [], "lessons": [], "behaviors": []}')
    with dspy.context(lm=asked.lm, adapter=StrictJSONAdapter()):
        Reflector()(problem=make.problem("p"), experiences=[make.attempt("4/p/0", correct=True)])
        Reflector()(problem=make.problem("p"), experiences=[make.attempt("4/p/0")])
        Generaliser()(insights=[make.insight("p", "Use zog max.")])
    contrast, postmortem, abstract = asked.prompts
    assert contrast == [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
    failed = {"problem": "Solve p.", "attempts": "[1] failed\ntext of 4/p/0"}
    assert postmortem == StrictJSONAdapter().format(Postmortem, [], failed)
    assert abstract == StrictJSONAdapter().format(Abstract, [], {"insights": "- Use zog max. (1)"})


WHOLE = {"strategies": ["Use zog max."], "lessons": ["Never zog add.", 'Say "no".']}


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "\n {} \n",
        "```json\n{}\n```",
        "```\n{}\n```",
        "<think>\nLet me {{ see }}.\n</think>\n\n{}",
        "<think></think>```json\n{}\n```",
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_complete_object_is_taken(form: str, indent: int | None) -> None:
    assert parse(form.format(json.dumps(WHOLE, indent=indent))) == WHOLE


def test_fields_that_nobody_asked_for_are_ignored() -> None:
    assert parse(json.dumps(WHOLE | {"answer": "42"})) == WHOLE
    assert parse('{"lessons": ["L"], "strategies": []}', Postmortem) == {"lessons": ["L"]}


def test_cut_anywhere_it_is_refused() -> None:
    whole = json.dumps(WHOLE)
    for end in range(len(whole)):
        with pytest.raises(AdapterParseError):
            parse(whole[:end])


@pytest.mark.parametrize(
    "completion",
    [
        "",
        " ",
        "I think that zog is max.",
        "Here it is: " + json.dumps(WHOLE),
        json.dumps(WHOLE) + "\nI hope this helps.",
        json.dumps([WHOLE]),
        json.dumps(json.dumps(WHOLE)),
        "null",
        "[]",
        "3",
        "<think> " + json.dumps(WHOLE),
        "```json\n" + json.dumps(WHOLE),
        '{"strategies": ["a"]}',
        '{"strategies": ["a"], "lessons": null}',
        '{"strategies": ["a"], "lessons": "b"}',
        '{"strategies": ["a"], "lessons": "[\\"b\\", \\"half a sent"}',
        '{"strategies": ["a"], "lessons": {"1": "b"}}',
        '{"strategies": ["a"], "lessons": [1, 2]}',
        '{"strategies": ["a"], "lessons": [["b"]]}',
        '{"strategies": ["a"], "lessons": [null]}',
        "{'strategies': ['a'], 'lessons': []}",
        '{"strategies": ["a",], "lessons": []}',
        "[" * 5000,
        '{"strategies":' * 5000,
        '{"strategies": ' + "[" * 5000 + "]" * 5000 + ', "lessons": []}',
        "9" * 10_000,
    ],
    ids=lambda text: text[:40],
)
def test_anything_else_is_refused(completion: str) -> None:
    with pytest.raises(AdapterParseError):
        parse(completion)


def test_a_string_field_may_be_a_string() -> None:
    class Say(dspy.Signature):  # type: ignore[misc]
        """Say it."""

        question: str = dspy.InputField()
        answer: str = dspy.OutputField()
        number: int = dspy.OutputField()

    assert parse('{"answer": "[1, 2", "number": "3"}', Say) == {"answer": "[1, 2", "number": 3}

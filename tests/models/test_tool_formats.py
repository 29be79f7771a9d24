"""Tool calls in the models' own formats: chosen by the template, read from what such a model writes, answered in its own role."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.models.templates import ChatTemplate
from pmd_agent.models.tool_formats import ToolFormat, format_of, read_calls
from pmd_agent.models.turns import Turns
from pmd_agent.types import Completion

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks up a word.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}, "times": {"type": "integer"}}, "required": ["word"]},
        },
    }
]  # fmt: skip
CHATML = (
    "{%- if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}# Tools\n"
    "{% for t in tools %}{{ t | tojson }}\n{% endfor %}CALLS<|im_end|>\n"
    "{%- elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}"
    "{%- for m in messages if m.role != 'system' %}{% if m.role == 'tool' %}"
    "{% if loop.previtem is not defined or loop.previtem.role != 'tool' %}<|im_start|>user{% endif %}{{ '\n<tool_response>\n' }}{{ m.content }}\n"
    "</tool_response>{% if loop.last or loop.nextitem.role != 'tool' %}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = CHATML.replace(
    "CALLS", '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
QWEN_XML = CHATML.replace(
    "CALLS", "<tool_call>\n<function=example>\n<parameter=one>\nvalue\n</parameter>\n</function>\n</tool_call>"
)
GLM = CHATML.replace("CALLS", "<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>")
LLAMA = (
    "{%- for m in messages %}{% if m.role == 'tool' %}<|start|>ipython<|head|>\n\n{{ m.content | tojson }}<|eot_id|>"
    "{% else %}<|start|>{{ m.role }}<|head|>\n\n{% if loop.first and tools %}Environment: ipython\n"
    '{"name": function name, "parameters": its arguments}.\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}{% endif %}'
    "{{ m.content }}<|eot_id|>{% endif %}{% endfor %}{# a call ends with <|eom_id|> #}"
    "{%- if add_generation_prompt %}<|start|>assistant<|head|>\n\n{% endif %}"
)
MISTRAL = (
    "{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{%- for m in messages %}{% if m.role == 'tool' %}"
    "{% if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}"
    '[TOOL_RESULTS]{"content": {{ m.content | tojson }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]'
    "{% elif m.role == 'assistant' %}{{ m.content }}<|im_end|>{# or [TOOL_CALLS][...] #}"
    "{% else %}{% if tools and m == users[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}"
)
NOTHING = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
OPENING = [
    {"role": "system", "content": "Be brief.", "tools": json.dumps(TOOLS)},
    {"role": "user", "content": "What is zog?"},
]
ANSWERED = [{"role": "tool", "content": "an operator", "name": "look_up", "tool_call_id": "abcdefghi"}]
Make = Callable[..., tuple[Turns, ChatTemplate, Any]]


@pytest.fixture
def make(tokenizer: Any) -> Make:
    def with_template(source: str, tool_format: ToolFormat | None = None, markers: tuple[str, ...] = ()) -> Any:
        other = copy.deepcopy(tokenizer)
        other.add_special_tokens({"additional_special_tokens": list(markers)} if markers else {})
        other.chat_template = source
        template = ChatTemplate(other, "odd", tool_format=tool_format)
        ends = [
            other.eos_token_id,
            *other.convert_tokens_to_ids([m for m in markers if m in ("<|eot_id|>", "<|eom_id|>")]),
        ]
        return Turns(template, other, ends), template, other

    return with_template


@pytest.mark.parametrize(
    ("source", "expected"),
    [(HERMES, "hermes"), (QWEN_XML, "qwen_xml"), (LLAMA, "llama"), (MISTRAL, "mistral"), (GLM, "plain"), (NOTHING, "plain"),
     (NOTHING + "{# <tool_call> #}", "plain")],
)  # fmt: skip
def test_the_template_says_which(make: Make, source: str, expected: str) -> None:
    _, template, _ = make(source)
    assert template.tool_format == expected
    text = template.render(OPENING)
    assert '"look_up"' in text and "Looks up a word." in text and "Be brief." in text
    assert ("You have tools." in text) == (expected == "plain")
    assert "look_up" not in template.render([{k: v for k, v in m.items() if k != "tools"} for m in OPENING])


def test_a_key_overrides_it(make: Make) -> None:
    assert "You have tools." in make(HERMES, "plain")[1].render(OPENING)
    assert make(GLM, "hermes")[1].tool_format == "hermes"
    with pytest.raises(PolicyError, match="tells nothing of tools"):
        make(NOTHING, "llama")[1].render(OPENING)


CALL = '{"name": "look_up", "arguments": {"word": "zog", "times": 2}}'
FLAT = CALL.replace("arguments", "parameters")


@pytest.mark.parametrize(
    ("form", "text", "content"),
    [
        ("hermes", f"I look.\n<tool_call>\n{CALL}\n</tool_call>", "I look."),
        ("hermes", f"<think>\nShall I?\n</think>\n\n<tool_call>\n{CALL}\n</tool_call>", ""),
        ("hermes", f"<tool_call>{CALL}", ""),
        ("hermes", f"<tool_call>{FLAT}</tool_call>", ""),
        ("plain", f"<tool_call>\n{CALL}\n</tool_call>", ""),
        ("qwen_xml", "Well.\n<tool_call>\n<function=look_up>\n<parameter=word>\nzog\n</parameter>\n<parameter=times>\n2\n</parameter>\n</function>\n</tool_call>", "Well."),
        ("qwen_xml", "<tool_call><function=look_up><parameter=word>zog</parameter><parameter=times>2</parameter></function>", ""),
        ("qwen_xml", f"<tool_call>{CALL}</tool_call>", ""),
        ("llama", FLAT, ""),
        ("llama", f"\n\n{FLAT}\n", ""),
        ("llama", f"<|python_tag|>{FLAT}", ""),
        ("llama", f"I look.<|python_tag|>{CALL}", "I look."),
        ("mistral", f"[TOOL_CALLS][{CALL}]", ""),
        ("mistral", f"[TOOL_CALLS] [{CALL}]", ""),
        ("mistral", 'I look.[TOOL_CALLS]look_up[ARGS]{"word": "zog", "times": 2}', "I look."),
        ("mistral", '[TOOL_CALLS]look_up[CALL_ID]abcdefghi[ARGS]{"word": "zog", "times": 2}', ""),
    ],
)  # fmt: skip
def test_a_call_is_read(form: ToolFormat, text: str, content: str) -> None:
    said, (call,) = read_calls(form, text, TOOLS, 3)
    assert (said, call.name, call.arguments, call.fault) == (content, "look_up", {"word": "zog", "times": 2}, "")
    assert len(call.id) == 9 and (call.id == "abcdefghi") == ("abcdefghi" in text)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>"),
        ("qwen_xml", "<tool_call><function=look_up><parameter=word>zog</parameter></function></tool_call>" * 2),
        ("llama", f"{FLAT}; {FLAT}"),
        ("llama", f"<|python_tag|>{FLAT}{FLAT}"),
        ("mistral", f"[TOOL_CALLS][{CALL}, {CALL}]"),
        ("mistral", '[TOOL_CALLS]look_up[ARGS]{"word": "zog"}[TOOL_CALLS]look_up[ARGS]{"word": "max"}'),
    ],
)  # fmt: skip
def test_several_calls_are_read_and_told_apart(form: ToolFormat, text: str) -> None:
    _, calls = read_calls(form, text, TOOLS, 1)
    assert [c.name for c in calls] == ["look_up"] * 2 and len({c.id for c in calls}) == 2


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", "It is 7."), ("qwen_xml", "It is 7."), ("llama", "It is 7."), ("mistral", "It is 7."),
        ("llama", '{"answer": 7}'), ("llama", f"I could write {FLAT}."), ("llama", "7"), ("llama", "[" * 50_000),
        ("hermes", f"<think> I might <tool_call>{CALL}</tool_call> </think> It is 7."), ("mistral", CALL), ("hermes", CALL),
    ],
)  # fmt: skip
def test_an_answer_is_no_call(form: ToolFormat, text: str) -> None:
    assert read_calls(form, text, TOOLS, 1)[1] == ()


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", "<tool_call>look_up(zog)</tool_call>"), ("qwen_xml", "<tool_call>look_up(zog)</tool_call>"),
        ("llama", '<|python_tag|>print("zog")'), ("mistral", "[TOOL_CALLS]look_up(zog)"), ("mistral", "[TOOL_CALLS]look_up[ARGS]{oops"),
        ("hermes", '<tool_call>{"name": "look_up", "arguments": "zog"}</tool_call>'), ("mistral", "[TOOL_CALLS]" + "[" * 50_000),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_read_is_a_fault(form: ToolFormat, text: str) -> None:
    (call,) = read_calls(form, text, TOOLS, 1)[1]
    assert "that is no call of a tool" in call.fault


def stitched(turns: Turns, tokenizer: Any, ids: list[int], last: int | None = None) -> str:
    return str(tokenizer.decode([*ids, *turns.between(OPENING, ANSWERED, last)]))


def test_answers_come_in_the_templates_own_role(make: Make) -> None:
    for source, expected in (
        (HERMES, "<|im_end|>\n<|im_start|>user\n<tool_response>\nan operator\n</tool_response><|im_end|>\n<|im_start|>assistant\n"),
        (LLAMA, '<|eot_id|><|start|>ipython<|head|>\n\n"an operator"<|eot_id|><|start|>assistant<|head|>\n\n'),
        (MISTRAL, '<|im_end|>[TOOL_RESULTS]{"content": "an operator", "call_id": "abcdefghi"}[/TOOL_RESULTS]'),
        (NOTHING, "<|im_end|>\n<|im_start|>tool\nan operator<|im_end|>\n<|im_start|>assistant\n"),
    ):  # fmt: skip
        turns, _, tokenizer = make(source, None, ("<|eot_id|>", "<|eom_id|>", "[TOOL_CALLS]"))
        assert stitched(turns, tokenizer, []) == expected


@pytest.mark.parametrize("source", [HERMES, QWEN_XML, LLAMA, NOTHING])
def test_ids_of_an_episode_with_tools_are_the_templates(make: Make, source: str) -> None:
    turns, template, tokenizer = make(source, None, ("<|eot_id|>",))
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>") if source == LLAMA else tokenizer.eos_token_id
    ids, talk = tokenizer(template.render(OPENING), add_special_tokens=False).input_ids, list(OPENING)
    for reply, said in (
        (f"<tool_call>{CALL}</tool_call>", ANSWERED),
        (FLAT, [*ANSWERED, *ANSWERED]),
        ("7", [{"role": "user", "content": "?"}]),
    ):
        ids += [*tokenizer(reply, add_special_tokens=False).input_ids, end]
        ids += turns.between(OPENING, said, end)
        talk += [{"role": "assistant", "content": reply}, *said]
        assert tokenizer.decode(ids) == template.render(talk)
        assert ids == tokenizer(template.render(talk), add_special_tokens=False).input_ids


def test_mistral_is_told_of_tools_once(make: Make) -> None:
    turns, _, tokenizer = make(MISTRAL)
    said = tokenizer.decode(list(turns.between(OPENING, [{"role": "user", "content": "And vit?"}], None)))
    assert said == "<|im_end|>[INST]And vit?[/INST]"


def test_a_marker_that_is_a_special_token_is_heard_and_its_turn_ends_as_the_model_ended_it(make: Make) -> None:
    turns, _, tokenizer = make(LLAMA, None, ("<|eot_id|>", "<|eom_id|>", "<|python_tag|>"))
    ids = tokenizer(f"<|python_tag|>{FLAT}<|eom_id|>", add_special_tokens=False).input_ids
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert "python_tag" not in text
    reply = turns.heard(Completion((), tuple(ids), (0.0,) * len(ids), text, "stop", 0), TOOLS, 1)
    assert str(reply) == text and reply.calls[0].name == "look_up"
    assert stitched(turns, tokenizer, ids, ids[-1]).startswith(f"<|python_tag|>{FLAT}<|eom_id|><|start|>ipython")


@pytest.mark.skipif(not os.environ.get("PMD_TEST_MODEL"), reason="PMD_TEST_MODEL names no model")
def test_a_real_template() -> None:
    from pmd_agent.models.loading import load_tokenizer

    name = os.environ["PMD_TEST_MODEL"]
    tokenizer = load_tokenizer(name)
    template = ChatTemplate(tokenizer, Path(name).name)
    known = format_of(str(tokenizer.chat_template)) or "plain"
    assert template.tool_format == known and "look_up" in template.render(OPENING)
    if known == "hermes":  # what the template writes of a call is what is read
        text = tokenizer.apply_chat_template(
            [OPENING[1], {"role": "assistant", "tool_calls": [{"function": {"name": "look_up", "arguments": {"word": "zog"}}}]}],
            tools=TOOLS, tokenize=False,
        )  # fmt: skip
        _, (call,) = read_calls("hermes", text.rpartition("<|im_start|>assistant")[2], TOOLS, 1)
        assert (call.name, call.arguments) == ("look_up", {"word": "zog"})
    turns = Turns(template, tokenizer)
    said = tokenizer.decode(list(turns.between(OPENING, ANSWERED, None)))
    assert ("<tool_response>\nan operator\n</tool_response>" in said) == (known == "hermes")

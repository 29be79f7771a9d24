"""Tool calls as models write them, read from their replies.

    hermes     <tool_call>{"name": ..., "arguments": {...}}</tool_call>                       Hermes, Qwen2.5, Qwen3
    qwen_xml   <tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>      Qwen3-Coder, Qwen3.5
    llama      {"name": ..., "parameters": {...}}, maybe behind <|python_tag|>                Llama 3.1 to 3.3
    mistral    [TOOL_CALLS][{"name": ..., "arguments": {...}, "id": ...}], or [TOOL_CALLS]NAME[ARGS]{...}
    plain      as hermes, for a model whose chat template knows no tools: the system message tells it of them

Which of them it is follows from the chat template, which shows a model what its calls look like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pmd_agent.environment import Call
from pmd_agent.text import strip_thinking

ToolFormat = Literal["plain", "hermes", "qwen_xml", "llama", "mistral"]
Tools = Sequence[Mapping[str, Any]]
"""Schemas of functions, as OpenAI has them."""
NO_CALL = "that is no call of a tool"
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\s*([^\[\]{}\s]+)(?:\[CALL_ID\]([A-Za-z0-9]+))?\[ARGS\](.*)", re.DOTALL)
_DECODER = json.JSONDecoder()


def format_of(template: str) -> ToolFormat | None:
    """The format of which a chat template's source speaks; None where it is none of these."""
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if "<tool_call>" in template:
        return "qwen_xml" if "<function=" in template else None if "<arg_key>" in template else "hermes"
    speaks_llama = "<|python_tag|>" in template or "ipython" in template
    return "llama" if speaks_llama and "parameters" in template else None


def read_calls(form: ToolFormat, text: str, tools: Tools, turn: int) -> tuple[str, tuple[Call, ...]]:
    """What a reply says beside its calls, and the calls; those made in hidden reasoning are none.

    `text`: special tokens in it, but the end of the turn. `turn`: of the episode, for the ids of calls that the model gave none.
    """
    content, found = _READERS[form](strip_thinking(text), tools)
    named = (
        call if call.id else Call(call.name, call.arguments, f"{turn:04d}{n:05d}", call.fault)
        for n, call in enumerate(found)
    )
    return content.strip(), tuple(named)


def described(tools: Tools) -> str:
    """What a policy is told of tools, where its chat template tells it nothing."""
    return "\n".join(
        [
            "You have tools. To call one, write a JSON object with its name and its arguments between <tool_call> and "
            "</tool_call>; its answer comes in the next turn. Answer without a call when you are done.",
            "<tools>",
            *(json.dumps(tool) for tool in tools),
            "</tools>",
        ]
    )


def _hermes(text: str, tools: Tools) -> tuple[str, list[Call]]:
    return _TAGGED.sub("", text), [_from_json(written, "arguments") for written in _TAGGED.findall(text)]


def _qwen_xml(text: str, tools: Tools) -> tuple[str, list[Call]]:
    found = []
    for written in _TAGGED.findall(text):
        function = _FUNCTION.search(written)
        if function is None:
            found.append(_from_json(written, "arguments"))
            continue
        kinds = _kinds(function[1].strip(), tools)
        arguments = {
            key.strip(): _typed(value, kinds.get(key.strip())) for key, value in _PARAMETER.findall(function[2])
        }
        found.append(Call(function[1].strip(), arguments))
    return _TAGGED.sub("", text), found


def _llama(text: str, tools: Tools) -> tuple[str, list[Call]]:
    """Behind the tag all is a call. Without it a reply is one where it is nothing but objects with a name and parameters."""
    before, tag, after = text.partition("<|python_tag|>")
    objects = list(_objects(after if tag else text))
    if tag:
        return before, [_call(each, "parameters") for each in objects] or [Call("", {}, fault=_why("parameters"))]
    calls = [_call(each, "parameters") for each in objects]
    return (text, []) if not calls or any(call.fault for call in calls) else ("", calls)


def _mistral(text: str, tools: Tools) -> tuple[str, list[Call]]:
    content, *parts = text.split("[TOOL_CALLS]")
    found: list[Call] = []
    for part in parts:
        if (named := _MISTRAL.match(part)) is not None:
            arguments = _parsed(named[3])
            good = isinstance(arguments, dict)
            found.append(Call(named[1], arguments if good else {}, named[2] or "", "" if good else _why("arguments")))
            continue
        several = _parsed(part)
        listed = several if isinstance(several, list) else [several]
        found += [_call(each, "arguments") for each in listed]
    return content, found


_READERS: dict[ToolFormat, Callable[[str, Tools], tuple[str, list[Call]]]] = {
    "plain": _hermes,
    "hermes": _hermes,
    "qwen_xml": _qwen_xml,
    "llama": _llama,
    "mistral": _mistral,
}


def _from_json(written: str, key: str) -> Call:
    return _call(_parsed(written), key)


def _call(value: Any, key: str) -> Call:
    """A call from its object, of which `key` has the arguments. Models mix up the two names that there are for them."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        arguments = value.get(key, value.get("parameters" if key == "arguments" else "arguments"))
        if isinstance(arguments, str):  # as in OpenAI's messages
            arguments = _parsed(arguments)
        if isinstance(arguments, dict):
            given = value.get("id")
            return Call(value["name"], arguments, given if isinstance(given, str) and given.isalnum() else "")
    return Call("", {}, fault=_why(key))


def _why(key: str) -> str:
    return f'{NO_CALL}: write a JSON object with "name" and "{key}"'


def _parsed(written: str) -> Any:
    """None where it is not JSON. What follows a whole value is left out."""
    try:
        return _DECODER.raw_decode(written.strip())[0]
    except (ValueError, RecursionError):
        return None


def _objects(text: str) -> Iterator[Any]:
    """JSON objects one after another, between them white space or a semicolon; nothing where there is anything else."""
    found, rest = [], text.strip()
    while rest:
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            return
        found.append(value)
        rest = rest[end:].lstrip(" \n\t;,")
    yield from found


def _kinds(name: str, tools: Tools) -> dict[str, Any]:
    """Parameter -> its type, of the tool with this name."""
    for tool in tools:
        function = tool.get("function", {})
        if function.get("name") == name:
            properties = function.get("parameters", {}).get("properties", {})
            return {key: about.get("type") for key, about in properties.items() if isinstance(about, dict)}
    return {}


def _typed(value: str, kind: Any) -> Any:
    """A text is a text, and anything else what JSON makes of it."""
    if kind == "string":
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value

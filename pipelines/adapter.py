"""The form in which programs are put to the policy: DSPy's JSON adapter, read strictly."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin

import dspy
from dspy.utils.exceptions import AdapterParseError

from pmd_agent.text import strip_thinking


class StrictJSONAdapter(dspy.JSONAdapter):  # type: ignore[misc]
    """Takes a complete JSON object or nothing.

    DSPy repairs broken JSON; a response cut at its token limit then turns into half a sentence that would be remembered.
    Hidden reasoning before the object and a code fence around it are taken off first.
    """

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        text = completion.strip()
        text = text if text.startswith("{") else strip_thinking(text)
        text = _unfenced(text)

        def refusal(reason: object) -> AdapterParseError:
            return AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"not a JSON object: {reason}",
            )

        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:  # RecursionError: "[[[[..."
            raise refusal(error) from error
        if not isinstance(read, dict):  # DSPy would search a list or a string for an object
            raise refusal(f"a {type(read).__name__}")
        for name, field in signature.output_fields.items():
            if isinstance(read.get(name), str) and get_origin(field.annotation) in (list, dict):  # DSPy would repair it
                raise refusal(f"{name} is a string")
        parsed: dict[str, Any] = super().parse(signature, text)
        return parsed


class PlainJSONAdapter(StrictJSONAdapter):
    """The question first, then the form of the answer as an example: instruct models copy DSPy's note on a schema, or explain it.

    What stands around the first JSON object is passed over; that one has to be complete.
    """

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        form = _form(signature)
        if form is None:
            whole: str = super().format_system_message(signature)
            return whole
        given = "\n".join(f"- {name}: {_desc(field)}" for name, field in signature.input_fields.items())
        asked = "\n".join(f"- {name}: {_desc(field)}" for name, field in signature.output_fields.items())
        return f"{signature.instructions}\n\nYou are given:\n{given}\n\nYou write:\n{asked}\n\n{_REPLY}\n{form}"

    def user_message_output_requirements(self, signature: type[dspy.Signature]) -> str:
        form = _form(signature)
        if form is None:
            whole: str = super().user_message_output_requirements(signature)
            return whole
        return f"{_REPLY}\n{form}"

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        text = strip_thinking(completion)
        start = text.find("{")
        try:
            _, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError, IndexError):
            return super().parse(signature, completion)
        return super().parse(signature, text[start:end])


_REPLY = "Reply with one JSON object of this form, and nothing else:"


def _form(signature: type[dspy.Signature]) -> str | None:
    """The answer with `...` for each text; None where it has more than texts and lists of them."""
    example: dict[str, Any] = {}
    for name, field in signature.output_fields.items():
        if field.annotation is str:
            example[name] = "..."
        elif get_origin(field.annotation) is list and get_args(field.annotation) == (str,):
            example[name] = ["...", "..."]
        else:
            return None
    return json.dumps(example)


def _desc(field: Any) -> str:
    return str((field.json_schema_extra or {}).get("desc", ""))


def _unfenced(text: str) -> str:
    """Without a code fence around all of it. No regular expression: those that do this take a square of a long run of blanks."""
    if len(text) < 6 or not (text.startswith("```") and text.endswith("```")):
        return text
    return text[3:-3].removeprefix("json").strip()

"""The form in which programs are put to the policy: DSPy's JSON adapter, read strictly."""

from __future__ import annotations

import json
from typing import Any, get_origin

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


def _unfenced(text: str) -> str:
    """Without a code fence around all of it. No regular expression: those that do this take a square of a long run of blanks."""
    if len(text) < 6 or not (text.startswith("```") and text.endswith("```")):
        return text
    return text[3:-3].removeprefix("json").strip()

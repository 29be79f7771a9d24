"""Another language model than the policy to run the programs: an option, and labelled as such wherever results are shown."""

from __future__ import annotations

from typing import Any

import dspy

from pmd_agent.api_keys import read_key
from pmd_agent.errors import PipelineError


class OutsideLM(dspy.LM):  # type: ignore[misc]
    """A model that DSPy reaches through litellm; not the policy's own."""


def outside_lm(
    model: str, *, api_base: str | None, api_key: str | None, temperature: float, max_tokens: int
) -> OutsideLM:
    """`model` is litellm's `provider/name`. `api_key` names an environment variable. Cache off. Raises PipelineError."""
    if "/" not in model:
        raise PipelineError(
            f"pipeline.lm.model={model} names no provider.",
            "Write provider/name, such as openai/NAME, or hosted_vllm/NAME with pipeline.lm.api_base.",
        )
    options: dict[str, Any] = {"api_base": api_base} if api_base else {}
    if api_key is not None:
        key = read_key(api_key, api_base or model.partition("/")[0], PipelineError)
        if not key:
            raise PipelineError(f"pipeline.lm.api_key names {api_key}, which is not set.", f"export {api_key}=...")
        options["api_key"] = key
    elif api_base:
        options["api_key"] = "none"  # a local server wants none, and litellm does not go without
    return OutsideLM(model, cache=False, temperature=temperature, max_tokens=max_tokens, num_retries=3, **options)

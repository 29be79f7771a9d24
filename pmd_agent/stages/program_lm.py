"""Which language model runs the programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmd_agent.stages.parts import Parts

if TYPE_CHECKING:
    import dspy


def program_lm(parts: Parts, seed: int, temperature: float | None = None) -> dspy.LM:
    """What runs the programs: the policy, as it is or as it was, or the model that `pipeline.lm` names.

    At the recipe's temperature, unless another is given.
    """
    settings = parts.recipe.pipeline
    temperature = settings.temperature if temperature is None else temperature
    if settings.lm.model is None:
        return parts.policy.lm(
            temperature=temperature,
            max_tokens=settings.max_tokens,
            seed=seed,
            initial=settings.weights == "initial",
            most=settings.max_insights,
        )
    from pmd_agent.pipelines import outside_lm

    return outside_lm(**settings.lm.model_dump(), temperature=temperature, max_tokens=settings.max_tokens)

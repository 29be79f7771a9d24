"""The reflector is tuned on what it wrote so far: optimise."""

from __future__ import annotations

import random
from statistics import mean
from typing import TYPE_CHECKING, Any

from pmd_agent.errors import PipelineError, PolicyError
from pmd_agent.plugins import import_plugin
from pmd_agent.runs.folder import RunDir
from pmd_agent.stages.parts import Metrics, Parts, due, frozen, seed_for, stage
from pmd_agent.stages.program_lm import program_lm

if TYPE_CHECKING:
    import dspy

    from pmd_agent.pipelines.optimisers import Tuning

LEAST = 4
"""Problems with reflections below which nothing is tuned."""


@stage
def optimise(parts: Parts, m: Metrics, run: RunDir) -> None:
    """Every K steps an optimiser of DSPy's tunes the reflector, which takes its place where it does better on held-out problems.

    Read are the steps before this one, so that a resumed run reads the same. The state goes into the step's checkpoint.
    """
    settings = parts.recipe.pipeline.optimise
    if not due(settings.every, m.step) or "insight" not in parts.recipe.memory.tiers or frozen(parts, m.step):
        return
    from pmd_agent.pipelines.optimisers import better, scores, tune
    from pmd_agent.pipelines.training_set import training_set

    examples = training_set(run, parts.train, special_tokens=parts.policy.special_tokens, before=m.step)
    train, held_out = divided(examples, settings.budget // 4, seed_for(parts.recipe, m.step, 6))
    if len(train) + len(held_out) < LEAST:
        return
    how = _tuning(parts, m.step, settings.budget - 2 * len(held_out))
    before = scores(parts.reflector, held_out, how)
    tuned = tune(parts.reflector, train, held_out, how, threshold=max(mean(before), 1e-6))
    after = before
    if tuned is not None:
        try:
            after = scores(tuned, held_out, how)
        except PolicyError:  # what it shows beside the attempts is more than the policy reads
            after = [0.0 for _ in before]
    if won := tuned is not None and better(before, after):
        parts.reflector = tuned
    m.values |= {"optimised": float(won), "optimise_before": mean(before), "optimise_after": mean(after)}


def divided(
    examples: list[dspy.Example], most_held_out: int, seed: int
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """The newest reflection of each problem: for the optimiser, and held out. The longest one is held out: it has to fit."""
    newest = list({example.problem.id: example for example in examples}.values())
    random.Random(seed).shuffle(newest)
    longest = max(newest, key=_length, default=None)
    newest.sort(key=lambda example: example is not longest)
    held_out = max(1, min(len(newest) // 2, most_held_out))
    return newest[held_out:], newest[:held_out]


def _length(example: dspy.Example) -> int:
    return len(example.problem.prompt) + sum(len(a.text) + len(a.feedback) for a in example.experiences)


def _tuning(parts: Parts, step: int, calls: int) -> Tuning:
    from pmd_agent.pipelines.optimisers import Tuning

    settings = parts.recipe.pipeline.optimise
    return Tuning(
        optimiser=settings.optimiser,
        metric=metric_of(parts),
        calls=calls,
        lm=program_lm(parts, seed_for(parts.recipe, step, 1)),
        proposer=program_lm(parts, seed_for(parts.recipe, step, 7), temperature=1.0),
        # A policy that shares its weights cannot answer and be measured at the same time.
        threads=1 if parts.policy.shares_weights else 16,
        demos=settings.demos,
        seed=seed_for(parts.recipe, step, 8) % 2**16,
        style=parts.recipe.program_style,
    )


def metric_of(parts: Parts) -> Any:
    """The metric that the recipe names. Raises PipelineError."""
    from pmd_agent.pipelines import metrics

    pipeline = parts.recipe.pipeline
    name = pipeline.optimise.metric
    if name == "parse":
        return metrics.parse_within(pipeline.max_insights, pipeline.insight_chars)
    if name == "support":
        return metrics.support
    if name != "teacher_gain":
        return import_plugin(name, "function", PipelineError)
    from pmd_agent.distillation.likelihood import Likelihood

    policy: Any = parts.policy
    model = parts.trainer.model if parts.trainer is not None else getattr(policy, "model", None)
    if model is None:
        raise PipelineError(
            "pipeline.optimise.metric=teacher_gain needs the policy's weights in this process, and they are not.",
            "Set pipeline.optimise.metric=support.",
        )
    likelihood = Likelihood(
        model,
        policy.encode,
        policy.tokenizer,
        context=parts.context,
        special_tokens=policy.special_tokens,
        style=parts.recipe.page_style,
    )
    return metrics.teacher_gain_by(likelihood.shifts)

"""Metrics for DSPy's optimisers, over the training set that a run's reflections are: each takes (example, prediction, ...).

parse, support          by what was said and the attempts alone; `parse_within(...)` for other limits than the defaults
teacher_gain(run)       measured with the run's own policy: its weights are loaded, or those given by run.policy()
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmd_agent.console import Console
from pmd_agent.errors import RunError
from pmd_agent.pipelines.metrics import Metric, parse, parse_within, support, teacher_gain_by
from pmd_agent.recipe import Recipe, ScriptedPolicySection
from pmd_agent.runs.folder import RunDir

__all__ = ["Metric", "parse", "parse_within", "support", "teacher_gain"]


def teacher_gain(run: Any) -> Metric:
    """How far reading strategies and lessons moves the policy towards correct attempts and away from failed ones.

    `run`: a run, its folder or its name, or what `with run.policy() as policy` gives, whose weights are then used. The run's
    adapter reads; where there is none yet, the policy as it was before the run.
    Scores are in [0, 1], 0.5 where reading does nothing. Raises RunError, PolicyError.
    """
    from pmd_agent.distillation.likelihood import Likelihood

    policy: Any = getattr(run, "policy", None)
    recipe = getattr(run, "recipe", None)
    if not hasattr(policy, "encode"):  # of a run it is a method
        recipe, policy = _policy_of(run)
    if not hasattr(policy, "model"):
        raise RunError("This policy's weights are not in this process.", "Give the run: teacher_gain(run).")
    likelihood = Likelihood(
        policy.model,
        policy.encode,
        policy.tokenizer,
        context=policy.context,
        special_tokens=policy.special_tokens,
        style=recipe.page_style if isinstance(recipe, Recipe) else "box",
    )
    return teacher_gain_by(likelihood.shifts)


def _policy_of(run: Any) -> tuple[Recipe, Any]:
    """The run's recipe and policy, loaded here; where there is no adapter yet, as it was before the run."""
    from pmd_agent.models.adapters import load_adapter
    from pmd_agent.models.loading import load_base, load_tokenizer
    from pmd_agent.models.run_adapter import CONFIG, adapter_of
    from pmd_agent.policies.local import LocalPolicy

    folder = RunDir.open(Path(getattr(run, "path", run)))
    section = folder.recipe.policy
    if isinstance(section, ScriptedPolicySection):
        raise RunError(f"{folder.path} has a scripted policy, which believes nothing.", "Use metrics.support.")
    model = load_base(section.model, dtype=section.dtype, device=section.device)
    if (folder.adapter_path / CONFIG).is_file():
        with adapter_of(folder, "score with metrics.support", Console().warn) as found:
            model = load_adapter(model, found.folder) if found else model
    tokenizer = load_tokenizer(section.model)
    return folder.recipe, LocalPolicy(model, tokenizer, name=Path(section.model).name, thinking=section.thinking)

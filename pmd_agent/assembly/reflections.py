"""What a run's reflector was given and wrote, and the reflector itself, read from the run's folder; nothing is changed there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.problems import problems_of
from pmd_agent.assembly.programs import build_programs
from pmd_agent.recipe import ScriptedPolicySection
from pmd_agent.runs.folder import RunDir

if TYPE_CHECKING:
    import dspy


def reflections_of(run: RunDir) -> list[dspy.Example]:
    """A training set for DSPy's optimisers, of all committed steps (pipelines/training_set.py). Raises PMDError."""
    from pmd_agent.pipelines.training_set import training_set

    section, special_tokens = run.recipe.policy, frozenset[str]()
    if not isinstance(section, ScriptedPolicySection):
        from pmd_agent.models.loading import load_tokenizer
        from pmd_agent.policies.base import special_tokens_of

        special_tokens = special_tokens_of(load_tokenizer(section.model))
    return training_set(run, problems_of(run).train, special_tokens=special_tokens)


def reflector_of(run: RunDir, given: Given) -> dspy.Module:
    """A reflector of one's own, in the state in which the run's is at its last commit. Raises PipelineError."""
    given_one = given.reflector.deepcopy() if given.reflector is not None else None
    return (
        build_programs(run.recipe, reflector=given_one, generaliser=given.generaliser)
        .open_in(run, keep=False)
        .reflector
    )

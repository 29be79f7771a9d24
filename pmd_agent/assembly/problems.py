"""The problems of a run: from their source or the run's folder, and those of them that the policy can read."""

from __future__ import annotations

from pmd_agent.console import Console
from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.errors import ProblemError
from pmd_agent.policies import Policy
from pmd_agent.problems import ProblemSets, first_of_each_kind, load_problems, read_given
from pmd_agent.problems.overlap import shared
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.problems import GivenProblems
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Problem


def problems_of(run: RunDir) -> ProblemSets:
    """The problems of a run that has a folder. Raises ProblemError where they cannot be read any more."""
    if isinstance(run.recipe.problems, GivenProblems):
        return read_given(run.problems_path)
    return load_problems(run.recipe.problems)


def fitting(recipe: Recipe, problems: ProblemSets, policy: Policy, console: Console) -> ProblemSets:
    """Those whose prompt fits, tests up to evaluate.max_problems. What is left out, and what is there twice, is said."""
    for reason in problems.skipped[:3]:
        console.warn(f"left out: {reason}")
    if len(problems.skipped) > 3:
        console.warn(f"left out: {len(problems.skipped) - 3} more rows")
    if leaked := shared(problems.train, problems.test):
        console.warn(f"{len(leaked)} test problems have the prompt of a training problem (`pmd problems` names them)")

    def fits(part: tuple[Problem, ...], name: str) -> tuple[Problem, ...]:
        kept = tuple(p for p in part if len(policy.encode(student_messages(p))) <= recipe.rollout.max_prompt_tokens)
        if len(kept) < len(part):
            longest = next(p.id for p in part if p not in kept)
            console.warn(
                f"{len(part) - len(kept)} {name} problems exceed rollout.max_prompt_tokens and are left out ({longest}, ...)"
            )
        if part and not kept:
            raise ProblemError(
                f"Every {name} problem exceeds rollout.max_prompt_tokens.", "Raise it, if the model reads that much."
            )
        return kept

    train, validation = fits(problems.train, "training"), fits(problems.validation, "validation")
    test = first_of_each_kind(fits(problems.test, "test"), recipe.evaluate.max_problems)
    console.info(f"{len(train)} training, {len(validation)} validation and {len(test)} test problems")
    return ProblemSets(train, validation, test)

"""What a recipe's problems look like before anything is run: how many, how long, which twice, which rows do not fit.

Reads problems and, where it is on this machine, the policy's tokenizer. No model is loaded, nothing is downloaded for it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.models import BOX
from pmd_agent.models.gguf import is_gguf, to_convert
from pmd_agent.problems import ProblemSets, load_problems
from pmd_agent.problems.overlap import Repeated, overlaps
from pmd_agent.recipe import Recipe, ScriptedPolicySection
from pmd_agent.types import Problem
from pmd_agent.verifiers import verifier_of

SHOWN = 3
"""Prompts that are rendered."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of one split's prompts, chat template included."""

    split: str
    shortest: int
    median: int
    most: int
    """95 of 100 are not longer."""
    longest: int
    too_long: tuple[str, ...]
    """Ids of those above rollout.max_prompt_tokens, which a run leaves out. Empty where tokens cannot be counted."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What `pmd problems` shows."""

    counts: tuple[tuple[str, int, int, int], ...]
    """(kind, training, validation, test), and last the sums."""
    unit: str
    """What lengths are counted in: tokens, or characters where there is no tokenizer."""
    counted_by: str
    """Whose tokenizer it is, or why there is none."""
    lengths: tuple[Lengths, ...]
    overlaps: dict[str, tuple[Repeated, ...]]
    prompts: tuple[tuple[Problem, str], ...]
    """Training problems and what the student reads of them, from different kinds where there are some."""
    skipped: tuple[str, ...]
    """Rows that do not fit, with their reasons."""
    odd: tuple[str, ...] = ()
    """What is odd about the policy's model."""


@dataclass(frozen=True, slots=True)
class PromptRenderer:
    """How the policy reads a problem."""

    render: Callable[[Problem], str]
    length: Callable[[str], int]
    unit: str
    whose: str
    odd: tuple[str, ...] = ()
    """What a run would warn of."""


def preview(recipe: Recipe) -> Preview:
    """Raises ProblemError, and Misfits, which has all the reasons, where too many rows do not fit; RecipeError for a verifier;
    PolicyError for a model that no run would take.

    The verifier is asked once of each problem that is shown, unless it is the user's own function.
    """
    sets = load_problems(recipe.problems)
    _try_verifier(recipe, _chosen(sets.train))
    renderer = renderer_of(recipe)
    limit = recipe.rollout.max_prompt_tokens if renderer.unit == "tokens" else None
    splits = {"training": sets.train, "validation": sets.validation, "test": sets.test}
    return Preview(
        counts=_counts(sets),
        unit=renderer.unit,
        counted_by=renderer.whose,
        lengths=tuple(_lengths(name, split, renderer, limit) for name, split in splits.items() if split),
        overlaps=overlaps(sets),
        prompts=tuple((problem, renderer.render(problem)) for problem in _chosen(sets.train)),
        skipped=sets.skipped,
        odd=renderer.odd,
    )


def _try_verifier(recipe: Recipe, problems: Sequence[Problem]) -> None:
    """What is wrong with it, or with the problems for it, is said here and not after a run's first evaluation."""
    verifier = verifier_of(recipe.problems, recipe.rollout.success_threshold)
    try:
        for problem in problems if ":" not in recipe.problems.verifier else ():
            verifier.verify(problem, "")
    finally:
        if close := getattr(verifier, "close", None):
            close()


def renderer_of(recipe: Recipe) -> PromptRenderer:
    """With the policy's tokenizer where it is on this machine; else plain messages, whose characters are counted."""
    policy = recipe.policy
    if isinstance(policy, ScriptedPolicySection):
        return PromptRenderer(_plain, len, "characters", "the scripted policy has no tokenizer")
    if not _is_here(policy.model):
        return PromptRenderer(_plain, len, "characters", f"the tokenizer of {policy.model} is not on this machine")
    from pmd_agent.models.loading import check_model, load_tokenizer
    from pmd_agent.models.templates import ChatTemplate

    odd = check_model(policy.model, offline=True)
    tokenizer = load_tokenizer(policy.model, offline=True)
    template = ChatTemplate(tokenizer, policy.model, thinking=policy.thinking)

    def render(problem: Problem) -> str:
        return template.render(student_messages(problem))

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    return PromptRenderer(render, length, "tokens", f"the tokenizer of {policy.model}", tuple(odd))


def _is_here(model: str) -> bool:
    """Whether the model's files, other than its weights, can be had without a network."""
    if model == BOX:
        return True
    if is_gguf(model):
        return not to_convert(model)
    from transformers.utils.hub import cached_file

    wanted = ("config.json", "tokenizer_config.json")
    try:
        return all(cached_file(model, file, local_files_only=True) for file in wanted)
    except OSError:
        return False


def _plain(problem: Problem) -> str:
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in student_messages(problem))


def _counts(sets: ProblemSets) -> tuple[tuple[str, int, int, int], ...]:
    by_split = [Counter(problem.kind for problem in split) for split in (sets.train, sets.validation, sets.test)]
    kinds = list(dict.fromkeys(kind for counter in by_split for kind in counter))
    train, validation, test = by_split
    rows = [(kind, train[kind], validation[kind], test[kind]) for kind in kinds if kind]
    return *rows, ("all", len(sets.train), len(sets.validation), len(sets.test))


def _lengths(split: str, problems: Sequence[Problem], renderer: PromptRenderer, limit: int | None) -> Lengths:
    lengths = [renderer.length(renderer.render(problem)) for problem in problems]
    ordered = sorted(lengths)
    too_long = [p.id for p, length in zip(problems, lengths, strict=True) if limit is not None and length > limit]
    most = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return Lengths(split, ordered[0], round(statistics.median(ordered)), most, ordered[-1], tuple(too_long))


def _chosen(problems: Sequence[Problem]) -> list[Problem]:
    """One of each kind first, then others, in their order."""
    first = list({problem.kind: problem for problem in reversed(problems)}.values())[::-1]
    ids = {problem.id for problem in first}
    return [*first, *(problem for problem in problems if problem.id not in ids)][:SHOWN]

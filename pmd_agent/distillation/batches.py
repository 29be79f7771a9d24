"""How a step's examples are cut: into optimiser updates, and each update into what one forward pass holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forest import common_prefix


def split(examples: list[Example], parts: int) -> Iterator[list[Example]]:
    """So many parts (fewer where there are fewer examples), their sizes one apart at most."""
    parts = min(parts, len(examples))
    bounds = [len(examples) * i // parts for i in range(parts + 1)]
    for start, end in pairwise(bounds):
        yield examples[start:end]


def micro_batches(examples: Sequence[Example], tokens: int, *, shared: bool) -> Iterator[list[Example]]:
    """At most `tokens` tokens of teacher and student in one forward pass, one objective each; one too long is taken alone.

    `shared`: examples with equal beginnings stand together, and those count once. Otherwise like lengths stand together, and
    padding counts.
    """
    batch: list[Example] = []
    held = 0
    for example in sorted(examples, key=_together if shared else _by_length):
        other = batch and (batch[0].advantage is None) != (example.advantage is None)
        added = _new(example, batch[-1] if batch and not other else None)
        needed = held + added if shared else (len(batch) + 1) * length(example)
        if batch and (other or needed > tokens):
            yield batch
            batch, held, added = [], 0, length(example)
        batch.append(example)
        held += added
    if batch:
        yield batch


def by_objective(examples: Sequence[Example]) -> list[list[Example]]:
    """Those with an advantage, and those with a teacher; none of these lists is empty."""
    kinds = [[e for e in examples if (e.advantage is None) == taught] for taught in (False, True)]
    return [kind for kind in kinds if kind]


def shares(examples: Sequence[Example], parts: int, *, shared: bool) -> list[list[Example]]:
    """So many parts of about as many tokens each, neighbours together as in `micro_batches`; some may be empty."""
    ordered = sorted(examples, key=_together if shared else _by_length)
    costs = [_new(e, before) if shared else length(e) for e, before in zip(ordered, [None, *ordered], strict=False)]
    found: list[list[Example]] = [[] for _ in range(parts)]
    total, done = sum(costs), 0
    for example, cost in zip(ordered, costs, strict=True):
        # By where its middle lies, so that no part is one example too long.
        found[min(parts - 1, parts * (2 * done + cost) // (2 * total))].append(example)
        done += cost
    return found


def student_row(e: Example) -> tuple[int, ...]:
    return e.student_prompt_ids + e.completion_ids


def teacher_row(e: Example) -> tuple[int, ...]:
    """Empty where no teacher is asked."""
    return e.teacher_prompt_ids + e.completion_ids if e.advantage is None else ()


def length(e: Example) -> int:
    return len(student_row(e)) + len(teacher_row(e))


def _by_length(e: Example) -> tuple[bool, int]:
    return e.advantage is None, length(e)


def _together(e: Example) -> tuple[bool, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return e.advantage is None, e.student_prompt_ids, e.teacher_prompt_ids, e.completion_ids


def _new(example: Example, before: Example | None) -> int:
    """Its tokens, less what it shares with the one before it: no fewer than a forest adds, but for beginnings too short for it."""
    if before is None:
        return length(example)
    return sum(len(row(example)) - common_prefix(row(example), row(before)) for row in (student_row, teacher_row))

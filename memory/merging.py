"""Who stays live when new memories come, and what becomes of those that say the same: pure rules, no store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from pmd_agent.memory.same_text import Same
from pmd_agent.types import Behavior, Insight

SupportOf = Callable[[Collection[str]], int | None]
"""How many problems the insights of these ids are about; None where one of them is unknown."""


def live_insights(new: Sequence[Insight], old: Sequence[Insight], *, lessons: int, same: Same) -> list[Insight]:
    """Of one problem's new and so far live insights (newest first) those that are live from now on.

    Strategies: the new ones if there are any, else the old ones. Lessons: newest first, at most `lessons`. A new one that
    says the same as an old one does not pile up: the old one is confirmed (`confirmed`).
    """
    live: list[Insight] = []
    for kind in ("strategy", "lesson"):
        before = [i for i in old if i.kind == kind]
        said = _merged([i for i in new if i.kind == kind], before, same)
        if kind == "lesson":
            names = {i.id for i in said}
            said = [*said, *(i for i in before if i.id not in names)][:lessons]
        live += said or (before if kind == "strategy" else [])
    return live


def _merged(new: Iterable[Insight], old: Sequence[Insight], same: Same) -> list[Insight]:
    found: dict[str, Insight] = {}
    for insight in new:
        known = [*found.values(), *(i for i in old if i.id not in found)]
        twin = next((i for i in known if insight.id == i.id or insight.id in i.merged), None)
        twin = twin or next((i for i in known if same(i.text, insight.text)), None)
        kept = confirmed(twin, insight) if twin else insight
        found[kept.id] = kept
    return list(found.values())


def confirmed(old: Insight, new: Insight) -> Insight:
    """The old insight, said again: its id and words stay, support adds up, sources are kept, the clock starts anew."""
    if new.id == old.id or new.id in old.merged:
        return old
    return replace(
        old,
        confidence=new.confidence,
        support=old.support + new.support,
        sources=tuple(dict.fromkeys((*old.sources, *new.sources))),
        merged=(*old.merged, new.id, *new.merged),
        program=new.program or old.program,
        step=new.step,
        policy_version=new.policy_version,
    )


def live_behaviors(
    generation: Sequence[Behavior], old: Sequence[Behavior], *, same: Same, support_of: SupportOf
) -> list[Behavior]:
    """The behaviors that are live after a generation, of those so far live: one behavior a name, the first.

    One that says the same as a predecessor is that predecessor, confirmed: id and name persist.
    """
    found: dict[str, Behavior] = {}
    predecessors = {b.id: b for b in old}
    for behavior in generation:
        if behavior.id in found:
            continue
        known = [*found.values(), *(b for b in old if b.id not in found)]
        twin = predecessors.get(behavior.id)
        twin = twin or next((b for b in known if behavior.id in b.merged), None)
        twin = twin or next((b for b in known if same(b.text, behavior.text)), None)
        kept = _confirmed_behavior(twin, behavior, support_of) if twin else behavior
        found[kept.id] = kept
    by_name: dict[str, Behavior] = {}
    for behavior in found.values():
        by_name.setdefault(behavior.name, behavior)
    return list(by_name.values())


def _confirmed_behavior(old: Behavior, new: Behavior, support_of: SupportOf) -> Behavior:
    if new.id == old.id or new.id in old.merged:
        return old
    sources = tuple(dict.fromkeys((*old.sources, *new.sources)))
    support = support_of(sources)
    if support is None:  # sources that are no longer stored: problems may be counted twice only if sources are shared
        shared = set(old.sources) & set(new.sources)
        support = max(old.support, new.support) if shared else old.support + new.support
    return replace(
        old,
        support=support,
        sources=sources,
        merged=(*old.merged, new.id, *new.merged),
        program=new.program or old.program,
        cluster=new.cluster or old.cluster,
        problems=new.problems or old.problems,
        step=new.step,
        policy_version=new.policy_version,
    )

"""The three tiers: typed writes (the reads are in queries.py), an archive of what was replaced, and the way back after a kill.

No step overwrites or deletes: what it replaces moves to the archive, stamped with that step. So
`rollback` can bring back exactly the state that any earlier step left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory.backend.codec import E, Entry, key_of, once_each, tier_of, unescape
from pmd_agent.memory.backend.server import open_on_server
from pmd_agent.memory.backend.tiers import open_copy, open_folder, open_in_ram
from pmd_agent.memory.effects import State
from pmd_agent.memory.eviction import Limits, evicted
from pmd_agent.memory.merging import live_behaviors, live_insights
from pmd_agent.memory.queries import MemoryReader, Options
from pmd_agent.memory.same_text import Same, same_texts
from pmd_agent.memory.trust import Rules, transitions
from pmd_agent.types import TIERS, Behavior, Experience, Insight, Tier

if TYPE_CHECKING:
    from pmd_agent.memory.embedders import Embedder


class Memory(MemoryReader):
    """One owner's open memory, for one thread. Close it, or use it as a context manager.

    A tier that is off (not in `tiers`) ignores writes and reads empty, whatever the store holds of it.
    """

    @classmethod
    def open(cls, path: Path, embedder: Embedder, **options: Unpack[Options]) -> Self:
        """The memory in the folder `path`, made where it is not there.

        Raises MemoryStoreError where another process, or this one, has the folder open, where its vectors are another
        embedder's, and where it is damaged.
        """
        return cls(*open_folder(Path(path), embedder), **options)

    @classmethod
    def snapshot(cls, path: Path, embedder: Embedder, next_step: int, **options: Unpack[Options]) -> Self:
        """The memory in that folder as it was before `next_step` began, in a copy that goes when it is closed.

        Takes no lock and changes nothing in the folder, also while its owner writes to it. Raises MemoryStoreError.
        """
        memory = cls(*open_copy(Path(path), embedder), **options)
        memory.rollback(next_step)
        return memory

    @classmethod
    def ephemeral(cls, embedder: Embedder, **options: Unpack[Options]) -> Self:
        """A memory in RAM, gone when it is closed. Every call makes another one."""
        return cls(*open_in_ram(embedder), **options)

    @classmethod
    def connect(cls, address: str, name: str, embedder: Embedder, **options: Unpack[Options]) -> Self:
        """The memory of that name on a Chroma server, made where it is not there (server.py). Raises MemoryStoreError."""
        memory = cls(*open_on_server(address, name, embedder), **options)
        memory.shared = True
        return memory

    def refresh(self) -> None:
        """Take in what other processes have written; of an embedded store there are none."""
        if self.shared:
            self._store.refresh()

    def close(self) -> None:
        """Give the folder up. A second call does nothing; reads and writes raise MemoryStoreError from now on."""
        self._opened = None
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- writes

    def add_experiences(self, experiences: Sequence[Experience]) -> None:
        """Keep attempts. MemoryStoreError where an id was written by another step."""
        if "experience" in self.tiers:
            self._store.live["experience"].upsert(self._store.records(self._of_own_step(experiences)))

    def rewrite_insights(self, problem_id: str, insights: Sequence[Insight]) -> None:
        """Keep what one reflection, in one step, wrote about a problem.

        Strategies, if there is one among them, take the place of the problem's live strategies. Lessons join the live
        ones, the newest `lessons_per_problem` in all. What says the same as a live one is merged into it (merge_adapter.py).
        What gives way is archived. ValueError for insights on another problem or of several steps, MemoryStoreError
        where an id was written by another step.
        """
        self.rewrite_insights_P({problem_id: insights})

    def rewrite_insights_P(self, insights_of: Mapping[str, Sequence[Insight]]) -> None:
        """`rewrite_insights` for each of several problems in one go: a call of Chroma takes 20-40 ms, however small."""
        everything = [insight for insights in insights_of.values() for insight in insights]
        if any(i.problem_id != problem_id for problem_id, insights in insights_of.items() for i in insights):
            raise ValueError("an insight on another problem than the one it is given for")
        if len({insight.step for insight in everything}) > 1:
            raise ValueError("insights of several steps in one call: rollback could not tell them apart")
        if "insight" not in self.tiers or not everything:
            return
        step = everything[0].step
        # An insight that a later step has archived, or written anew, stays as it is when it is written once more.
        fresh = {i.id for i in self._of_own_step(everything) if (self.retired_at(i) or step) <= step}
        written = {
            p: found for p, all_ in insights_of.items() if (found := once_each(i for i in all_ if i.id in fresh))
        }
        before = {p: [i for i in self.insights(p) if i.id not in fresh] for p in written}
        same = self._same([*(i.text for of in (written, before) for each in of.values() for i in each)])
        changed: list[Insight] = []
        old: list[Insight] = []
        live: list[Insight] = []
        for problem_id, insights in written.items():
            stays = live_insights(insights, before[problem_id], lessons=self.lessons_per_problem, same=same)
            known = {i.id: i for i in before[problem_id]}
            merged = {name for i in stays for name in i.merged}
            changed += [i for i in stays if known.get(i.id) != i]
            changed += [i for i in insights if i.id not in merged and i.id not in {s.id for s in stays}]
            old += before[problem_id]
            live += stays
        self._store.replace_live("insight", self._store.records(changed), _keys(old), _keys(live), step=step)

    def replace_behaviors(self, behaviors: Sequence[Behavior], step: int) -> None:
        """Make these the live behaviors; all others are archived. Of two with one name the first is live.

        One that says the same as a live one keeps that one's id and name, and is merged into it (merge_adapter.py). A behavior
        carried over unchanged keeps its id; a new one needs a new id (one that contains the step). MemoryStoreError
        where an id comes back as something else, and where a later generation is stored already.
        """
        if "behavior" not in self.tiers:
            return
        generation = {key_of("behavior", b.id): b for b in behaviors}
        latest = max((max(row.step, row.retired_at or 0) for row in self._store.rows("behavior")), default=step)
        if latest > step:
            if all(self._store.row(key) for key in generation):
                return  # An old generation, written once more.
            raise MemoryStoreError(
                f"Behaviors of step {latest + 1} are stored already; new ones of step {step + 1} cannot follow them.",
                f"Go back first, with rollback({step}), or give a later step.",
            )
        carried = {k: b for k, b in generation.items() if (row := self._store.row(k)) and row.step != step}
        self._check_carried(carried, step)
        self._store.revive(carried)
        fresh = generation.keys() - carried.keys()
        before = [b for b in self.behaviors() if key_of("behavior", b.id) not in fresh]
        same = self._same([b.text for b in (*generation.values(), *before)])
        live = live_behaviors(list(generation.values()), before, same=same, support_of=self._problems_behind)
        known = {b.id: b for b in before}
        merged = {name for b in live for name in b.merged}
        changed = [b for b in live if known.get(b.id) != b]
        names = {b.id for b in (*live, *before)}
        changed += [b for b in generation.values() if b.id not in names and b.id not in merged]
        self._store.replace_live(
            "behavior",
            self._store.records(changed, step=step),
            set(self._store.live["behavior"].rows) - _keys(changed),
            _keys(live),
            step=step,
        )

    def tidy(self, step: int, policy_version: int, limits: Limits) -> dict[str, int]:
        """Archive what is too old or beyond its tier's budget (eviction.py says who goes first); how many of each tier."""
        gone: dict[str, int] = {}
        for tier in TIERS:
            rows = self._store.live[tier].rows
            entries = self._that_may_leave(tier, step, limits)
            leaving = evicted(
                tier,
                entries,
                limits,
                self.effects(),
                step=step,
                policy_version=policy_version,
                imported={e.id for e in entries if rows[key_of(tier, e.id)].step < 0},
            )
            if leaving:
                self._store.replace_live(tier, [], _keys(leaving), (), step=step)
                gone[tier] = len(leaving)
        return gone

    def put(
        self,
        tier: Tier,
        live: Sequence[Entry],
        archived: Sequence[Entry],
        *,
        step: int,
        in_place_of: Sequence[Entry] = (),
    ) -> None:
        """Write entries as they are, as of `step`, the live ones in this order (newest first); for banks, and by hand.

        `in_place_of`: live entries of the tier that `step` retires. A tier that is off takes nothing.
        """
        if tier not in self.tiers:
            return
        records = self._store.records([*live, *archived], step=step)
        self._store.replace_live(tier, records, _keys(in_place_of), _keys(live), step=step)

    def note(self, step: int, **parts: Any) -> None:
        """Add to what the ledger holds of a step (ledger.py)."""
        self._store.ledger.note(step, **parts)

    def rollback(self, next_step: int) -> None:
        """Bring back the state in which `next_step` had not begun, in all tiers. Twice is the same as once.

        Entries written by `next_step` or later are deleted for good; those it retired are live again. A kill at any
        moment is mended by calling it again.
        """
        self._store.rollback(next_step)

    # ---- behind them

    def _that_may_leave(self, tier: Tier, step: int, limits: Limits) -> Sequence[Entry]:
        """The live entries of a tier, newest first; where only steps count, just those old enough: of many few are read."""
        if limits.max_steps is None or limits.max_versions is not None or limits.budgets.get(tier) is not None:
            return self.list(tier)
        table = self._store.live[tier]
        keys = table.newest_first(key for key, row in table.rows.items() if step - row.step > limits.max_steps)
        found = self._store.entries(keys)
        return [found[key] for key in keys]

    def _of_own_step(self, entries: Sequence[E]) -> list[E]:
        """Each id once. MemoryStoreError for one that another step wrote: rollback could not bring that one back."""
        for entry in entries:
            row = self._store.row(key_of(tier_of(entry), entry.id))
            if row and row.step != entry.step and self._superseded_at(entry) is None:
                raise _taken(entry, f"by step {row.step + 1}, and comes again in step {entry.step + 1}")
        return once_each(entries)

    def _same(self, texts: Sequence[str]) -> Same:
        return same_texts(texts, self._store.embed, self.near)

    def problems_of(self, entry: Insight | Behavior) -> set[str]:
        """Ids of the problems that an entry is about; of a behavior, those of its sources that are stored."""
        if isinstance(entry, Insight):
            return {entry.problem_id}
        rows = [self._store.row(key_of("insight", source)) for source in entry.sources]
        return {unescape(row.problem) for row in rows if row}

    def judge(self, step: int, rules: Rules) -> dict[str, tuple[State, str]]:
        """Quarantine, retire and readmit by what the ledger holds (trust.py); who changed. Noted as of `step`."""
        live = [e for tier in TIERS[1:] for e in self.list(tier) if not isinstance(e, Experience)]
        changed = transitions(self.effects(), {e.id: self.problems_of(e) for e in live}, rules)
        if changed:
            self.note(step, states={name: list(verdict) for name, verdict in changed.items()})
        return changed

    def _problems_behind(self, insight_ids: Collection[str]) -> int | None:
        rows = [self._store.row(key_of("insight", entry_id)) for entry_id in insight_ids]
        return len({row.problem for row in rows if row}) if rows and all(rows) else None

    def _check_carried(self, carried: Mapping[str, Behavior], step: int) -> None:
        stored = self._store.entries(carried)
        for key, behavior in carried.items():
            if stored[key] != behavior:
                raise _taken(behavior, "as something else")
            if self.retired_at(behavior) not in (None, step):
                raise _taken(behavior, f"and was retired by step {(self.retired_at(behavior) or 0) + 1}")


def _taken(entry: Entry, how: str) -> MemoryStoreError:
    return MemoryStoreError(
        f"The {tier_of(entry)} {entry.id!r} was written {how}.",
        "Ids must contain the step; after a kill, call rollback before the step is run again.",
    )


def _keys(entries: Iterable[Entry]) -> set[str]:
    return {key_of(tier_of(entry), entry.id) for entry in entries}

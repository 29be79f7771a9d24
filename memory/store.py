"""The three tiers: typed writes and reads, an archive of what was replaced, and the way back after a kill.

Nothing is overwritten or deleted by a step: what a step replaces moves to the archive, stamped with that step. So
`rollback` can bring back exactly the state that any earlier step left.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory.codec import E, Entry, escape, key_of, once_each, tier_of
from pmd_agent.memory.tables import Tables, open_folder, open_in_ram
from pmd_agent.memory.turnover import live_behaviors, live_insights
from pmd_agent.types import TIERS, Behavior, Experience, Insight, Tier

if TYPE_CHECKING:
    from pmd_agent.memory.embedders import Embedder


class Memory:
    """One owner's open memory, for one thread. Close it, or use it as a context manager.

    A tier that is off (not in `tiers`) ignores writes and reads empty, whatever the store holds of it.
    """

    def __init__(
        self,
        tables: Tables,
        closing: ExitStack,
        *,
        tiers: Collection[Tier],
        lessons_per_problem: int,
        min_similarity: float,
    ) -> None:
        """Use `Memory.open` or `Memory.ephemeral`. `closing` is closed with the memory."""
        self.tiers = frozenset(tiers)
        self.lessons_per_problem = lessons_per_problem
        self.min_similarity = min_similarity
        self._opened: Tables | None = tables
        self._closing = closing

    @classmethod
    def open(
        cls,
        path: Path,
        embedder: Embedder,
        *,
        tiers: Collection[Tier] = TIERS,
        lessons_per_problem: int = 8,
        min_similarity: float = 0.05,
    ) -> Memory:
        """The memory in the folder `path`, made where it is not there.

        `lessons_per_problem`: so many stay live. `min_similarity`: cosine below which nothing is retrieved (nor is
        anything at 0 or below). Raises MemoryStoreError where another process, or this one, has the folder open,
        where its vectors are another embedder's, and where it is damaged.
        """
        tables, closing = open_folder(Path(path), embedder)
        return cls(tables, closing, tiers=tiers, lessons_per_problem=lessons_per_problem, min_similarity=min_similarity)

    @classmethod
    def ephemeral(
        cls,
        embedder: Embedder,
        *,
        tiers: Collection[Tier] = TIERS,
        lessons_per_problem: int = 8,
        min_similarity: float = 0.05,
    ) -> Memory:
        """A memory in RAM, gone when it is closed. Every call makes another one."""
        tables, closing = open_in_ram(embedder)
        return cls(tables, closing, tiers=tiers, lessons_per_problem=lessons_per_problem, min_similarity=min_similarity)

    def close(self) -> None:
        """Give the folder up. A second call does nothing; reads and writes raise MemoryStoreError from now on."""
        self._opened = None
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _tables(self) -> Tables:
        if self._opened is None:
            raise MemoryStoreError("This memory is closed.", "Open it again with Memory.open.")
        return self._opened

    # ---- writes

    def add_experiences(self, experiences: Sequence[Experience]) -> None:
        """Keep attempts. MemoryStoreError where an id was written by another step."""
        if "experience" in self.tiers:
            self._tables.live["experience"].upsert(self._tables.records(self._of_own_step(experiences)))

    def rewrite_insights(self, problem_id: str, insights: Sequence[Insight]) -> None:
        """Keep what one reflection, in one step, wrote about a problem.

        Strategies, if there is one among them, take the place of the problem's live strategies. Lessons join the live
        ones: of equal ones (but for case and white space) the newest stays, and the newest `lessons_per_problem` in
        all. What gives way is archived. ValueError for insights on another problem or of several steps,
        MemoryStoreError where an id was written by another step.
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
        new: builtins.list[Insight] = []
        old: builtins.list[Insight] = []
        live: builtins.list[Insight] = []
        # An insight that a later step has archived stays there when it is written once more.
        fresh = {i.id for i in self._of_own_step(everything) if (self.retired_at(i) or step) <= step}
        for problem_id, insights in insights_of.items():
            written = once_each(i for i in insights if i.id in fresh)
            if written:
                so_far = [insight for insight in self.insights(problem_id) if insight.id not in fresh]
                live += live_insights(written, so_far, lessons=self.lessons_per_problem)
                new += written
                old += so_far
        self._tables.turn_over("insight", self._tables.records(new), _keys(old), _keys(live), step=step)

    def replace_behaviors(self, behaviors: Sequence[Behavior], step: int) -> None:
        """Make these the live behaviors; all others are archived. Of two with one name the first is live.

        A behavior carried over unchanged keeps its id; a changed one needs a new id (one that contains the step).
        MemoryStoreError where an id comes back as something else, and where a later generation is stored already.
        """
        if "behavior" not in self.tiers:
            return
        generation = {key_of("behavior", b.id): b for b in behaviors}
        latest = max((max(row.step, row.retired_at or 0) for row in self._tables.rows("behavior")), default=step)
        if latest > step:
            if all(self._tables.row(key) for key in generation):
                return  # An old generation, written once more.
            raise MemoryStoreError(
                f"Behaviors of step {latest} are stored already; new ones of step {step} cannot follow them.",
                f"Go back first, with rollback({step}), or give a later step.",
            )
        carried = {k: b for k, b in generation.items() if (row := self._tables.row(k)) and row.step != step}
        self._check_carried(carried, step)
        self._tables.revive(carried)
        new = [behavior for key, behavior in generation.items() if key not in carried]
        self._tables.turn_over(
            "behavior",
            self._tables.records(new, step=step),
            set(self._tables.live["behavior"].rows) - _keys(new),
            _keys(live_behaviors(generation.values())),
            step=step,
        )

    def rollback(self, next_step: int) -> None:
        """Bring back the state in which `next_step` had not begun, in all tiers. Twice is the same as once.

        Entries written by `next_step` or later are deleted for good; those it retired are live again. A kill at any
        moment is mended by calling it again.
        """
        self._tables.rollback(next_step)

    # ---- reads

    def experiences(
        self,
        problem_id: str,
        *,
        correct: bool | None = None,
        limit: int | None = None,
        without: Collection[str] = (),
    ) -> builtins.list[Experience]:
        """A problem's attempts, newest first: the (in)correct ones, at most `limit`, none whose id is in `without`."""
        kind = None if correct is None else "correct" if correct else "wrong"
        return self._of_problem("experience", problem_id, kind, limit, without)

    def insights(
        self, problem_id: str, *, kind: Literal["strategy", "lesson"] | None = None, limit: int | None = None
    ) -> builtins.list[Insight]:
        """A problem's live insights, newest first (as written within a step): of one kind, at most `limit`."""
        return self._of_problem("insight", problem_id, kind, limit)

    def behaviors(self) -> builtins.list[Behavior]:
        """All live behaviors, newest first (as written within a step)."""
        return cast("builtins.list[Behavior]", self.list("behavior"))

    def nearest_behaviors(self, text: str, k: int) -> builtins.list[tuple[Behavior, float]]:
        """Up to `k` live behaviors with their cosine similarity to `text`, best first."""
        return self.nearest_behaviors_P([text], k)[0]

    def nearest_behaviors_P(
        self, texts_P: Sequence[str], k: int
    ) -> builtins.list[builtins.list[tuple[Behavior, float]]]:
        """`nearest_behaviors` for each of several texts, in one embedding and one query."""
        return cast("builtins.list[builtins.list[tuple[Behavior, float]]]", self._nearest("behavior", texts_P, k))

    def search(self, text: str, tier: Tier | None = None, k: int = 10) -> builtins.list[tuple[Tier, Entry, float]]:
        """Up to `k` live entries, of one tier or of all, with their cosine similarity to `text`, best first."""
        tiers = TIERS if tier is None else (tier,)
        hits = [(each, entry, near) for each in tiers for entry, near in self._nearest(each, [text], k)[0]]
        return sorted(hits, key=lambda hit: -hit[2])[:k]

    def list(self, tier: Tier, *, include_archived: bool = False) -> builtins.list[Entry]:
        """A tier's live entries, newest first; then, if asked for, its archived ones, newest first."""
        if tier not in self.tiers:
            return []
        table, archive = self._tables.live[tier], self._tables.archive
        keys = table.newest_first(table.rows)
        if include_archived:
            keys += archive.newest_first(key for key, row in archive.rows.items() if row.tier == tier)
        found = self._tables.entries(keys)
        return [found[key] for key in keys]

    def get(self, entry_id: str) -> Entry | None:
        """The entry of that id, live or archived; None where there is none."""
        found = self._tables.entries(key_of(tier, entry_id) for tier in TIERS if tier in self.tiers)
        return next(iter(found.values()), None)

    def retired_at(self, entry: Entry) -> int | None:
        """The step that archived an entry; None for a live or unknown one."""
        row = self._tables.archive.rows.get(key_of(tier_of(entry), entry.id))
        return row.retired_at if row else None

    def sources_of(self, entry: Entry) -> builtins.list[Entry]:
        """What an entry was written from, one level down, live or archived, in the order it cites them.

        A behavior's insights, an insight's experiences, nothing for an experience. Sources that are not stored are
        passed over.
        """
        if isinstance(entry, Experience):
            return []
        below: Tier = "insight" if isinstance(entry, Behavior) else "experience"
        keys = [key_of(below, source) for source in entry.sources] if below in self.tiers else []
        found = self._tables.entries(keys)
        return [found[key] for key in keys if key in found]

    def counts(self) -> dict[str, int]:
        """Live entries of each tier, and `archive`: archived ones of all tiers. Tiers that are off count 0."""
        tables = self._tables
        live: dict[str, int] = {tier: len(tables.live[tier].rows) if tier in self.tiers else 0 for tier in TIERS}
        return live | {"archive": sum(row.tier in self.tiers for row in tables.archive.rows.values())}

    # ---- behind them

    def _of_problem(
        self, tier: Tier, problem_id: str, kind: str | None, limit: int | None, without: Collection[str] = ()
    ) -> builtins.list[Any]:
        if tier not in self.tiers:
            return []
        table = self._tables.live[tier]
        unwanted = {key_of(tier, entry_id) for entry_id in without}
        keys = table.of_problem(escape(problem_id))
        keys = [key for key in keys if key not in unwanted and kind in (None, table.rows[key].kind)][:limit]
        found = table.entries(keys)
        return [found[key] for key in keys]

    def _nearest(self, tier: Tier, texts_N: Sequence[str], k: int) -> builtins.list[builtins.list[tuple[Entry, float]]]:
        if tier not in self.tiers:
            return [[] for _ in texts_N]
        return self._tables.nearest(tier, texts_N, k, least=self.min_similarity)

    def _of_own_step(self, entries: Sequence[E]) -> builtins.list[E]:
        """Each id once. MemoryStoreError for one that another step wrote: rollback could not bring that one back."""
        for entry in entries:
            row = self._tables.row(key_of(tier_of(entry), entry.id))
            if row and row.step != entry.step:
                raise _taken(entry, f"by step {row.step}, and comes again in step {entry.step}")
        return once_each(entries)

    def _check_carried(self, carried: Mapping[str, Behavior], step: int) -> None:
        stored = self._tables.entries(carried)
        for key, behavior in carried.items():
            if stored[key] != behavior:
                raise _taken(behavior, "as something else")
            if self.retired_at(behavior) not in (None, step):
                raise _taken(behavior, f"and was retired by step {self.retired_at(behavior)}")


def _taken(entry: Entry, how: str) -> MemoryStoreError:
    return MemoryStoreError(
        f"The {tier_of(entry)} {entry.id!r} was written {how}.",
        "Ids must contain the step; after a kill, call rollback before the step is run again.",
    )


def _keys(entries: Collection[Entry]) -> set[str]:
    return {key_of(tier_of(entry), entry.id) for entry in entries}

"""Queries of an open memory: by problem, by similarity, by id; and the state of each entry."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory.backend.codec import Entry, escape, key_of, live_key, tier_of, unescape, version_key
from pmd_agent.memory.backend.collection import Near
from pmd_agent.memory.backend.tiers import TierStore
from pmd_agent.memory.effects import Effects, State
from pmd_agent.memory.same_text import NEAR
from pmd_agent.types import TIERS, Behavior, Experience, Insight, Tier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Options(TypedDict, total=False):
    """How a memory is kept and read; each has a default."""

    tiers: Collection[Tier]
    """Those that are on. Default: all."""
    lessons_per_problem: int
    """So many stay live. Default: 8."""
    min_similarity: float
    """Cosine below which nothing is retrieved (nor is anything at 0 or below). Default: 0.05."""
    near: float | None
    """Cosine from which two texts are merged as one; None: equal ones only. Default: same_text.NEAR."""
    half_life: float
    """Steps after which what was observed of a memory counts half. Default: 50."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A behavior that a query found."""

    entry: Behavior
    similarity: float
    """Cosine to the query."""
    embedding: NDArray[np.float32]
    """(dimension,); (0,) where vectors were not asked for."""


class MemoryReader:
    """The reading half of `Memory`."""

    def __init__(
        self,
        tables: TierStore,
        closing: ExitStack,
        *,
        tiers: Collection[Tier] = TIERS,
        lessons_per_problem: int = 8,
        min_similarity: float = 0.05,
        near: float | None = NEAR,
        half_life: float = 50.0,
    ) -> None:
        """Use `Memory.open` or `Memory.ephemeral`. `closing` is closed with the memory; the others: `Options`."""
        self.tiers = frozenset(tiers)
        self.lessons_per_problem, self.min_similarity = lessons_per_problem, min_similarity
        self.near, self.half_life = near, half_life
        self.shared = False
        """Whether other processes may write to it."""
        self._opened: TierStore | None = tables
        self._closing = closing
        self._effects: tuple[tuple[int, float], Effects] | None = None

    @property
    def _store(self) -> TierStore:
        if self._opened is None:
            raise MemoryStoreError("This memory is closed.", "Open it again with Memory.open.")
        return self._opened

    # ---- by tier

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
        return [[(each.entry, each.similarity) for each in near] for near in self.candidates_P(texts_P, k)]

    def candidates_P(
        self, texts_P: Sequence[str], k: int, *, vectors: bool = False
    ) -> builtins.list[builtins.list[Candidate]]:
        """`nearest_behaviors_P`, if asked for with vectors, by which candidates can be compared with each other."""
        return [
            [Candidate(cast("Behavior", entry), hit.similarity, hit.embedding) for entry, hit in near]
            for near in self._nearest("behavior", texts_P, k, vectors=vectors)
        ]

    def search(self, text: str, tier: Tier | None = None, k: int = 10) -> builtins.list[tuple[Tier, Entry, float]]:
        """Up to `k` live entries, of one tier or of all, with their cosine similarity to `text`, best first."""
        tiers = TIERS if tier is None else (tier,)
        hits = [(each, entry, near) for each in tiers for entry, near in self._hits(each, text, k)]
        return sorted(hits, key=lambda hit: -hit[2])[:k]

    def list(self, tier: Tier, *, include_archived: bool = False) -> builtins.list[Entry]:
        """A tier's live entries, newest first; then, if asked for, its archived ones, newest first."""
        if tier not in self.tiers:
            return []
        table, archive = self._store.live[tier], self._store.archive
        keys = table.newest_first(table.rows)
        if include_archived:
            keys += archive.newest_first(key for key, row in archive.rows.items() if row.tier == tier)
        found = self._store.entries(keys)
        return [found[key] for key in keys if key in found]

    def imported(self, tier: Tier, *, step: int) -> builtins.list[Entry]:
        """Entries of a tier that count as written in `step`, live or archived: those of a bank."""
        tables = (self._store.live[tier], self._store.archive)
        keys = [key for table in tables for key, row in table.rows.items() if row.tier == tier and row.step == step]
        return builtins.list(self._store.entries(keys).values())

    def get(self, entry_id: str) -> Entry | None:
        """The entry of that id, live or archived; None where there is none."""
        found = self._store.entries(key_of(tier, entry_id) for tier in TIERS if tier in self.tiers)
        return next(iter(found.values()), None)

    def retired_at(self, entry: Entry) -> int | None:
        """The step that archived an entry, or wrote it anew after it was as given; None for a live or unknown one."""
        row = self._store.archive.rows.get(key_of(tier_of(entry), entry.id))
        return row.retired_at if row else self._superseded_at(entry)

    def _superseded_at(self, entry: Entry) -> int | None:
        row = self._store.archive.rows.get(version_key(key_of(tier_of(entry), entry.id), entry.step))
        return row.retired_at if row else None

    def state(self, entry: Entry) -> State | Literal["archived"]:
        """Whether it is read: live; quarantined or retired (trust.py); archived."""
        return "archived" if self.retired_at(entry) is not None else self.effects().state(entry.id)

    def effects(self, half_life: float | None = None) -> Effects:
        """How all memories stand after the newest step (effects.py)."""
        half_life = half_life or self.half_life
        key = (self._store.ledger.changes, half_life)
        if self._effects is None or self._effects[0] != key:
            self._effects = key, Effects(self._store.ledger.records, half_life)
        return self._effects[1]

    def in_state(self, *states: State) -> set[str]:
        """Ids of the stored entries, but for archived ones, that are in one of these states."""
        effects, live = self.effects(), self._store.live
        ids = {entry_id for state in states for entry_id in effects.ids(state)}
        return {name for name in ids if any(key_of(tier, name) in table.rows for tier, table in live.items())}

    def noted(self, part: str) -> Mapping[str, Any]:
        """A part of the ledger's record as the newest step that noted it left it."""
        return self._store.ledger.latest(part)

    def sources_of(self, entry: Entry) -> builtins.list[Entry]:
        """What an entry was written from, one level down, live or archived, in the order it cites them.

        A behavior's insights, an insight's experiences, nothing for an experience. Sources that are not stored are
        passed over.
        """
        if isinstance(entry, Experience):
            return []
        below: Tier = "insight" if isinstance(entry, Behavior) else "experience"
        keys = [key_of(below, source) for source in entry.sources] if below in self.tiers else []
        found = self._store.entries(keys)
        return [found[key] for key in keys if key in found]

    def counts(self) -> dict[str, int]:
        """Live entries of each tier, and `archive`: archived ones of all tiers. Tiers that are off count 0."""
        tables = self._store
        live: dict[str, int] = {tier: len(tables.live[tier].rows) if tier in self.tiers else 0 for tier in TIERS}
        return live | {"archive": sum(row.tier in self.tiers for row in tables.archive.rows.values())}

    def most_alike(self, text: str, entries: Sequence[Entry]) -> builtins.list[Entry]:
        """The entries, those whose text is most like this one first."""
        if not entries:
            return []
        vectors = self._store.embed([text, *(entry.text for entry in entries)])
        likeness = vectors[1:] @ vectors[0]
        return [entries[i] for i in sorted(range(len(entries)), key=lambda i: -float(likeness[i]))]

    def rewritten(self, tier: Tier) -> builtins.list[tuple[int, str]]:
        """(step, id) of every entry that a step wrote anew, as one that was said again."""
        rows = self._store.archive.rows.items() if tier in self.tiers else ()
        return [
            (row.retired_at, unescape(live_key(key).partition(":")[2]))
            for key, row in rows
            if row.tier == tier and row.retired_at is not None and live_key(key) != key
        ]

    def verdicts(self) -> builtins.list[tuple[int, str, State, str]]:
        """(step, id, state, why) of every change of a state (trust.py), in the order of steps."""
        return [
            (step, entry_id, state, why)
            for step, record in self._store.ledger.records.items()
            for entry_id, (state, why) in record.get("states", {}).items()
        ]

    def sizes(self, steps: Sequence[int]) -> dict[Tier, builtins.list[int]]:
        """How many entries of each tier were live after each of these steps."""
        found: dict[Tier, builtins.list[int]] = {}
        for tier in TIERS:
            lives = [(row.step, row.retired_at) for row in self._store.rows(tier)] if tier in self.tiers else []
            found[tier] = [sum(began <= s and (ended is None or ended > s) for began, ended in lives) for s in steps]
        return found

    # ---- behind them

    def _of_problem(
        self, tier: Tier, problem_id: str, kind: str | None, limit: int | None, without: Collection[str] = ()
    ) -> builtins.list[Any]:
        if tier not in self.tiers:
            return []
        table = self._store.live[tier]
        unwanted = {key_of(tier, entry_id) for entry_id in without}
        keys = table.of_problem(escape(problem_id))
        keys = [key for key in keys if key not in unwanted and kind in (None, table.rows[key].kind)][:limit]
        found = table.entries(keys)
        return [found[key] for key in keys if key in found]

    def _hits(self, tier: Tier, text: str, k: int) -> builtins.list[tuple[Entry, float]]:
        return [(entry, hit.similarity) for entry, hit in self._nearest(tier, [text], k)[0]]

    def _nearest(
        self, tier: Tier, texts_N: Sequence[str], k: int, *, vectors: bool = False
    ) -> builtins.list[builtins.list[tuple[Entry, Near]]]:
        if tier not in self.tiers:
            return [[] for _ in texts_N]
        return self._store.nearest(tier, texts_N, k, least=self.min_similarity, vectors=vectors)

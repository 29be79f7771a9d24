"""A run's memory as a program reads it, and adds to it by hand."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pmd_agent.arguments import a_count, a_text, kind_of
from pmd_agent.assembly.memory import open_memory, read_memory
from pmd_agent.assembly.problems import problems_of
from pmd_agent.distillation.teacher_page import teacher_page
from pmd_agent.errors import PMDError, RunError
from pmd_agent.memory import Entry, Memory, recall
from pmd_agent.memory.backend.codec import tier_of
from pmd_agent.memory.bank import BEFORE, take_back
from pmd_agent.problems.parse_rows import BadRow
from pmd_agent.problems.traces import chat_of, reward_of, trace_id
from pmd_agent.recipe import Recipe
from pmd_agent.runs.disk import told
from pmd_agent.runs.files import append_line
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import is_locked_here, lock_folder, unlock_folder
from pmd_agent.stages import wanted
from pmd_agent.types import BY_HAND, TIERS, Behavior, Experience, Insight, Problem, Tier

E = TypeVar("E", Behavior, Insight, Experience)
TRACES = "traces.jsonl"
"""In the run's folder: what `learn` was given."""


@dataclass(frozen=True, slots=True)
class Considered:
    """One memory that a teacher could have read beside a problem."""

    id: str
    tier: Tier
    share: float
    """Of teachers, those that read it: 1, 0, or between them where it is on trial (memory.lift)."""
    why: str


@dataclass(frozen=True, slots=True)
class Recall:
    """What a teacher would read beside a problem, in evaluation: without siblings and feedback."""

    problem: Problem
    text: str
    """The user message: notes, if there are any, and the problem."""
    entries: tuple[Entry, ...]
    """Those in the text."""
    why: tuple[Considered, ...]
    """All that were considered, those in the text first."""
    tokens: int
    """Of the text. A scripted policy counts bytes."""
    budget: int
    """memory.max_tokens"""


class RunMemory:
    """Use it as a context manager: `with run.memory() as memory`. A copy of what the last commit left, unless `write`."""

    def __init__(self, run: RunDir, *, write: bool = False, warn: Callable[[str], None] = lambda text: None) -> None:
        """`write`: the memory itself, under the run's lock. `warn` hears why texts of problems are not known."""
        self.run = RunDir.open(run.path)
        self._warn, self._write = warn, write
        self._opened = ExitStack()
        self.store: Memory = self._owned() if write else read_memory(self.run, all_tiers=True)
        """For what this class has no short way to."""
        self._opened.enter_context(self.store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the copy, or the lock."""
        self._opened.close()

    @property
    def next_step(self) -> int:
        """The memory is as the step before this one left it."""
        return self.run.next_step

    # ---- reading

    def list(self, tier: Tier | None = None, *, include_archived: bool = False) -> builtins.list[Entry]:
        """Live entries, of one tier or of all, behaviors first, newest first; then archived ones, if asked for."""
        tier = _tier(tier)
        tiers: tuple[Tier, ...] = ("behavior", "insight", "experience") if tier is None else (tier,)
        return [e for each in tiers for e in self.store.list(each, include_archived=include_archived)]

    def search(self, text: str, tier: Tier | None = None, k: int = 10) -> builtins.list[tuple[Entry, float]]:
        """Up to `k` live entries with their cosine similarity to the text, best first."""
        a_text(text, "text")
        k, tier = a_count(k, "k"), _tier(tier)
        return [(entry, similarity) for _, entry, similarity in self.store.search(text, tier, k)]

    def get(self, entry_id: str) -> Entry | None:
        """The entry of that id, live or archived."""
        return self.store.get(a_text(entry_id, "entry_id"))

    def sources(self, entry: Entry) -> builtins.list[Entry]:
        """What an entry was written from, one level down: a behavior's insights, an insight's attempts."""
        if not isinstance(entry, Experience | Insight | Behavior):
            raise RunError(f"What is given is {kind_of(entry)}, and no entry.", "Give one: memory.get(ID).")
        return self.store.sources_of(entry)

    def recall(self, problem: str | Problem) -> Recall:
        """What a teacher would read beside a problem: one of the run's by its id or text, or any other."""
        problem = self._asked(problem)
        recipe = self.run.recipe
        known = problem if problem.id else replace(problem, id=trace_id(problem.prompt))
        (found,) = recall(self.store, [known], [[]], wanted(recipe, self.run.next_step))
        count, special_tokens = self._tokens
        budget = recipe.memory.max_tokens
        page = teacher_page(
            found.context, None,
            max_tokens=budget, count_tokens=count, special_tokens=special_tokens, style=recipe.page_style,
        )  # fmt: skip
        text = page.messages[-1]["content"]
        lift = recipe.memory.lift
        shares = dict.fromkeys((e.id for e in found.on_trial), lift.untried if lift.trial else 0.0)
        considered = []
        for choice in found.choices:
            inside = choice.chosen and choice.id in page.shown
            # As in evaluation, the first demonstration alone is read.
            spare = choice.chosen and choice.id not in (*page.shown, *page.dropped)
            why = choice.why + (", another solution is read" if spare else "")
            why += f", but over memory.max_tokens={budget}" if choice.id in page.dropped else ""
            considered.append(Considered(choice.id, choice.tier, 1.0 if inside else shares.get(choice.id, 0.0), why))
        considered.sort(key=lambda each: -each.share)
        entries = tuple(entry for name in page.shown if (entry := self.get(name)) is not None)
        return Recall(problem, text, entries, tuple(considered), count(text), budget)

    def problem(self, text: str) -> Problem:
        """The run's problem of that id or prompt; any other text is a problem that memory knows nothing of by itself."""
        flat = " ".join(a_text(text, "problem").split())
        return next((p for p in self.problems if p.id == text or " ".join(p.prompt.split()) == flat), Problem("", text))

    def _asked(self, problem: object) -> Problem:
        if isinstance(problem, Problem):
            return problem
        if not isinstance(problem, str):
            raise RunError(
                f"What is asked about is {kind_of(problem)}.", "Give a problem's id, its text, or a Problem."
            )
        return self.problem(problem)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """All of the run's problems; none, and a warning, where they cannot be read any more."""
        return known_problems(self.run, self._warn)

    @cached_property
    def _tokens(self) -> tuple[Callable[[str], int], frozenset[str]]:
        return token_counter(self.run.recipe)

    # ---- by hand

    def add_behavior(self, name: str, text: str) -> Behavior:
        """A rule for all problems. It stays, whatever generalisations say, until a budget or its age takes it.

        It takes the place of one that has its name; that one itself, where it says the same.
        """
        step = self._step()
        name = "_".join(a_text(name, "name").split()).removeprefix("behavior_")
        if not name:
            raise RunError("The behavior has no name.", "Give one: name='...'.")
        name, text = f"behavior_{name}", a_text(text, "text")
        before = [e for e in self.store.list("behavior") if isinstance(e, Behavior) and e.name == name]
        if before and before[0].text == text:
            return before[0]
        made = Behavior(self._free_id(), name, text, "", 0, (), step, max(0, step + 1), program=BY_HAND)
        return self._add(made, in_place_of=before)

    def add_insight(
        self, problem: str | Problem, text: str, kind: Literal["strategy", "lesson"] = "strategy"
    ) -> Insight:
        """What to know about one problem. The next reflection that writes strategies takes the place of a strategy."""
        problem, text = self._asked(problem), a_text(text, "text")
        if kind not in ("strategy", "lesson"):
            raise RunError(f"There is no insight of the kind {kind!r}.", "It is a strategy or a lesson.")
        if not problem.id:
            raise RunError("This run has no such problem.", "Give a problem's id or its whole text, or add a behavior.")
        step = self._step()
        made = Insight(self._free_id(), problem.id, kind, text, 1.0, (), step, max(0, step + 1), program=BY_HAND)
        return self._add(made)

    def learn(self, trajectory: Sequence[Mapping[str, Any]], reward: float, *, feedback: str = "") -> Experience:
        """What an application tried, and how good it was, into experience memory and into the run's traces.jsonl.

        The trajectory is a chat in OpenAI's message format, with the replies and what was said to them. A page of memory before
        the question is not the question: give the messages without it. Whatever asks the same question again recalls it, and a
        run of problems.type=traces on that file distils it. Raises RunError where it is no such chat.
        """
        try:
            chat, worth = chat_of(trajectory), reward_of(reward)
        except BadRow as fault:
            hint = "Give messages with role and content, and a reward in [0, 1]."
            raise RunError(f"That cannot be learnt from: {fault}.", hint) from None
        step = self._step()
        problem = self.problem(chat.prompt)
        made = Experience(
            self._free_id(), problem.id or trace_id(chat.prompt), chat.text, worth,
            worth >= self.run.recipe.rollout.success_threshold, feedback, None, step, max(0, step + 1),
        )  # fmt: skip
        self._add(made)
        append_line(self.run.path / TRACES, {"messages": list(trajectory), "reward": worth, "feedback": feedback})
        return made

    def _owned(self) -> Memory:
        """The memory itself, with the last commit's state in it."""
        folder = self.run.path
        if is_locked_here(folder):
            raise RunError(f"{folder} is being run by this process.", "Call run.close() first; it goes on afterwards.")
        lock_folder(folder)
        self._opened.callback(unlock_folder, folder)
        try:
            self.run = RunDir.open(folder)
            memory = open_memory(self.run.recipe, self.run.memory_path)
            memory.rollback(self.run.next_step)
            if not self.run.next_step:
                take_back(memory)
            return memory
        except BaseException:
            self._opened.close()
            raise

    def _step(self) -> int:
        """The step whose commit it belongs to, so that going on keeps it: the last one, or that before the first."""
        if not self._write:
            raise RunError("This memory was opened to be read.", "Open it to be written: run.memory(write=True).")
        return self.run.next_step - 1

    def _free_id(self) -> str:
        taken = {e.id for e in self.list(include_archived=True)}
        return next(name for i in range(len(taken) + 1) if (name := f"hand/{i}") not in taken)

    def _add(self, entry: E, in_place_of: Sequence[Entry] = ()) -> E:
        tier = tier_of(entry)
        if tier not in self.store.tiers:
            raise RunError(f"This run has no tier {tier}.", "memory.tiers of its recipe says which it has.")
        if not entry.text.strip():
            raise RunError("There is no text to remember.", "Give one.")
        with told(self.run.path):
            if self._step() == BEFORE:
                self.store.note(BEFORE, by_hand={"note": "before the first step"})
            self.store.put(tier, [entry], [], step=self._step(), in_place_of=in_place_of)
        return entry


def _tier(tier: Tier | None) -> Tier | None:
    if tier is not None and tier not in TIERS:
        raise RunError(f"There is no tier {tier!r}.", f"The tiers are {', '.join(TIERS)}.")
    return tier


def known_problems(run: RunDir, warn: Callable[[str], None]) -> tuple[Problem, ...]:
    """All of a run's problems; none, and a warning, where they cannot be read any more."""
    try:
        sets = problems_of(run)
    except PMDError as error:
        warn(f"the run's problems cannot be read ({error.message}), so their texts are not known")
        return ()
    return (*sets.train, *sets.validation, *sets.test)


def token_counter(recipe: Recipe) -> tuple[Callable[[str], int], frozenset[str]]:
    """How the run's policy counts tokens, and its special ones. A scripted one counts bytes."""
    if recipe.policy.type == "scripted":
        return lambda text: len(text.encode("utf-8", "replace")), frozenset()
    from pmd_agent.models.loading import load_tokenizer
    from pmd_agent.policies.base import special_tokens_of

    tokenizer = load_tokenizer(recipe.policy.model)
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids), special_tokens_of(tokenizer)

"""Many episodes at once, each at its own pace.

Each episode has a thread, in which its environment is called. A policy that serves (vLLM) is asked from these threads, as
each has something to ask. Any other is asked for all that wait at one time, as soon as no episode is with its environment
any more; one whose environment is slow is not waited for long. So what is batched together does not depend on how threads
happen to be scheduled, and a resumed run draws what an unbroken one would.

An environment that does not answer in time is left to itself, and interrupted where it runs Python.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pmd_agent.environment import Environment, Reply
from pmd_agent.episodes.checked import Messages, Misbehaved
from pmd_agent.episodes.host import Host
from pmd_agent.episodes.play import Job, Limits, Played, Talk, play, sampling_of, unchecked
from pmd_agent.models.tool_formats import Tools
from pmd_agent.policies import Policy
from pmd_agent.progress import counting
from pmd_agent.types import Completion, Problem, Sampling

PATIENCE_SECONDS = 5.0
"""For environments that are still at it, when others already wait for a policy that is asked in batches."""
GRACE_SECONDS = 0.5
"""Beyond an environment's time: an async one ends itself in it."""
Show = Callable[[Problem, Messages], Messages]
"""From a problem and its opening (empty: its own) to the messages of the prompt."""
Over = Callable[[int, Played], None]
"""Told the place of an episode among those asked for, and the episode."""


class _Left(BaseException):
    """Nobody waits for this episode any more."""


@dataclass(slots=True)
class _Seat:
    """One episode at the table."""

    job: Job
    talk: Talk = field(default_factory=Talk)
    state: Literal["new", "environment", "asking", "policy", "over"] = "new"
    since: float = 0.0
    """When it came into this state."""
    asked: tuple[tuple[int, ...], Sampling] | None = None
    answer: Completion | None = None
    played: Played | None = None
    thread: threading.Thread | None = None


def play_all(
    policy: Policy, jobs: Sequence[Job], sampling: Sampling, limits: Limits, show: Show, over: Over | None = None
) -> list[Played]:
    """The episodes, in order. Raises what the policy raises; what an environment does ends that episode alone.

    `over` is told, in this thread, of each that is over while others go on.
    """
    return _Table(policy, jobs, sampling, limits, show).run(over)


class _Table:
    def __init__(self, policy: Policy, jobs: Sequence[Job], sampling: Sampling, limits: Limits, show: Show) -> None:
        self.policy, self.sampling, self.limits, self.show = policy, sampling, limits, show
        self.seats = [_Seat(job) for job in jobs]
        self.changed = threading.Condition()
        self.tokenizing = threading.Lock()
        self.stopped: BaseException | None = None

    def run(self, over: Over | None) -> list[Played]:
        untold = dict(enumerate(self.seats) if over is not None else ())
        try:
            count, counted = counting(len(self.seats)), 0
            while self._seated():
                now = sum(seat.state == "over" for seat in self.seats)
                count(now - counted)
                counted = now
                done = next((place for place, seat in untold.items() if seat.played is not None), None)
                if over is not None and done is not None and (played := untold.pop(done).played) is not None:
                    over(done, played)
                elif batch := self._who_asks():
                    answers = self.policy.answer([seat.asked for seat in batch if seat.asked is not None])
                    self._tell(batch, answers)
        except BaseException as error:
            self._stop(error)
            raise
        until = time.monotonic() + self.limits.seconds
        for seat in self.seats:  # environments are closed behind their episodes
            if seat.thread is not None and seat.played is not None:
                seat.thread.join(max(0.0, until - time.monotonic()))
        return [seat.played for seat in self.seats if seat.played is not None]

    # ---- from the thread that asked for the episodes

    def _seated(self) -> bool:
        """Episodes take the free places; whether any goes on."""
        with self.changed:
            going = sum(seat.state not in ("new", "over") for seat in self.seats)
            for seat in [s for s in self.seats if s.state == "new"][: self.limits.at_once - going]:
                seat.state, seat.since = "environment", time.monotonic()
                seat.thread = threading.Thread(target=_Player(self, seat).run, name="pmd-episode", daemon=True)
                seat.thread.start()
                going += 1
            return going > 0

    def _who_asks(self) -> list[_Seat]:
        """Those that are to be answered now; nobody, where something else has happened."""
        with self.changed:
            if self.stopped is not None:
                raise self.stopped
            now = time.monotonic()
            going = [seat for seat in self.seats if seat.state not in ("new", "over")]
            if not going:  # the last of them ended since it was looked at
                return []
            asking = [seat for seat in going if seat.state == "asking"]
            for seat in going:
                if seat.state == "environment" and now - seat.since > self.limits.seconds + GRACE_SECONDS:
                    self._leave(seat)
                    return []
            if asking and (len(asking) == len(going) or now - min(s.since for s in asking) > PATIENCE_SECONDS):
                return asking
            waits = [s.since + self.limits.seconds + GRACE_SECONDS for s in going if s.state == "environment"]
            waits += [min(s.since for s in asking) + PATIENCE_SECONDS] if asking else []
            self.changed.wait(max(0.001, min(waits) - now) + 0.001 if waits else None)
            return []

    def _tell(self, batch: Sequence[_Seat], answers: Sequence[Completion]) -> None:
        with self.changed:
            for seat, answer in zip(batch, answers, strict=True):
                # With its environment, in effect, before its thread wakes: nobody is asked until it has been there.
                seat.answer, seat.state, seat.since = answer, "environment", time.monotonic()
            self.changed.notify_all()

    def _leave(self, seat: _Seat) -> None:
        """Give up an episode whose environment does not answer."""
        reason = f"no answer within {self.limits.seconds:g} s"
        seat.played = seat.talk.over(unchecked(reason), self.policy.version)
        seat.state = "over"
        if seat.thread is not None and seat.thread.ident is not None:
            _raise_in(seat.thread.ident)

    def _stop(self, error: BaseException) -> None:
        """Nothing is asked any more: each thread closes its environment and ends."""
        with self.changed:
            self.stopped = self.stopped or error
            for seat in self.seats:
                seat.state = "over"
            self.changed.notify_all()


class _Player:
    """Plays one seat's episode, in its thread."""

    def __init__(self, table: _Table, seat: _Seat) -> None:
        self.table, self.seat = table, seat
        self.host: Host | None = None
        self.prompt: Messages = []

    def run(self) -> None:
        table, seat = self.table, self.seat
        try:
            try:
                self.host = Host(_made(seat.job), table.limits.seconds)
                outcome = play(seat.talk, seat.job.problem, self, table.limits)
            except Misbehaved as fault:
                outcome = unchecked(str(fault))
            with table.changed:
                if seat.state != "over":
                    seat.played, seat.state = seat.talk.over(outcome, table.policy.version), "over"
                table.changed.notify_all()
        except _Left:
            pass
        except BaseException as error:  # the policy's, or this package's: it ends the run
            with table.changed:
                table.stopped = table.stopped or error
                table.changed.notify_all()
        finally:
            if self.host is not None:
                self.host.close()

    # ---- what `play` asks for

    @property
    def special_tokens(self) -> Collection[str]:
        return self.table.policy.special_tokens

    def encode(self, problem: Problem, opening: Messages) -> tuple[int, ...]:
        with self.table.tokenizing:
            self.prompt = self.table.show(problem, opening)
            return tuple(self.table.policy.encode(self.prompt))

    def between(self, said: Messages, last: int | None) -> tuple[int, ...]:
        with self.table.tokenizing:
            return self.table.policy.between(self.prompt, said, last)

    def heard(self, reply: Completion, tools: Tools, turn: int) -> Reply:
        with self.table.tokenizing:
            return self.table.policy.heard(reply, tools, turn)

    def call(self, name: str, *arguments: Any) -> Any:
        assert self.host is not None
        self._turn("environment")
        try:
            return self.host.call(name, *arguments)
        finally:
            self._turn("environment")

    def read(self, name: str, default: Any) -> Any:
        assert self.host is not None
        self._turn("environment")
        found = self.host.read(name) if self.host.has(name) else default
        self._turn("environment")
        return found

    def ask(self, ids: tuple[int, ...], max_tokens: int, turn: int) -> Completion:
        table, seat = self.table, self.seat
        asked = ids, sampling_of(table.sampling, max_tokens, seat.job.seed_of(turn))
        if table.policy.serves:
            self._turn("policy")
            (answer,) = table.policy.answer([asked])
            self._turn("environment")
            return answer
        with table.changed:
            seat.asked, seat.answer = asked, None
        self._turn("asking")
        return self._answered()

    def _answered(self) -> Completion:
        """Waits for the answer. Raises where nobody waits for the episode any more."""
        seat = self.seat
        with self.table.changed:
            self.table.changed.wait_for(lambda: seat.answer is not None or seat.state == "over")
            if seat.answer is None or seat.state == "over":
                raise _Left
            return seat.answer

    def _turn(self, state: Literal["environment", "asking", "policy", "over"]) -> None:
        """The episode's next state, and its time anew. Raises where nobody waits for it."""
        with self.table.changed:
            if self.seat.state == "over":
                raise _Left
            self.seat.state, self.seat.since = state, time.monotonic()
            self.table.changed.notify_all()


def _made(job: Job) -> Environment:
    try:
        made = job.make(job.problem)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise Misbehaved(f"it could not be made: {type(error).__name__}: {error}") from error
    if missing := [name for name in ("start", "act") if not callable(getattr(made, name, None))]:
        raise Misbehaved(f"a {type(made).__name__} is no environment: it has no {' and no '.join(missing)}")
    return made


def _raise_in(thread: int) -> None:
    """Interrupts Python code that runs in that thread, as soon as it does; what waits outside of Python goes on."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Left))

"""A DSPy engine over an in-process model: calls made side by side are answered in one batch.

DSPy programs run in threads and each asks for one completion; a model answers many at nearly the cost of one. Whoever runs
programs side by side says how many (`expect`, and `done` as each ends): the engine then waits until all that still run have
asked, so that batches do not depend on how threads happen to be scheduled. Other callers are gathered for a moment.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from dspy.lm15 import Message, Request, Response, Usage

from pmd_agent.models.templates import Messages
from pmd_agent.types import Completion, Sampling

AnswerBatch = Callable[[Sequence[tuple[Messages, Sampling]]], list[Completion]]
GATHER_SECONDS = 0.01
PATIENCE_SECONDS = 5.0
"""For an expected call that does not come, because its program waits for something else."""


class BatchingEngine:
    """`complete(Request) -> Response`, as DSPy's custom engines do."""

    def __init__(self, answer_batch: AnswerBatch, *, model_name: str, sampling: Sampling) -> None:
        self._answer_batch, self._model_name, self._sampling = answer_batch, model_name, sampling
        self._pending: list[tuple[Messages, Sampling, Future[Completion]]] = []
        self.repeats_differ = False
        """Whether a question that is asked again is drawn anew. Not in a run: there it is asked for two problems."""
        self._asked: Counter[str] = Counter()
        self._expected = 0
        self._changed = threading.Condition()
        self._serving = False

    def expect(self, programs: int) -> None:
        """So many programs are about to run, each asking for one completion at a time."""
        with self._changed:
            self._expected += programs

    def done(self) -> None:
        """One of them has ended."""
        with self._changed:
            self._expected -= 1
            self._changed.notify_all()

    def complete(self, request: Request) -> Response:
        messages = _messages(request)
        future: Future[Completion] = Future()
        with self._changed:
            self._pending.append((messages, self._sampling_for(request, messages), future))
            self._changed.notify_all()
            # Whoever comes first answers for all that wait. Who has an answer goes on at once: it may be expected again.
            self._changed.wait_for(lambda: future.done() or not self._serving)
            serves = not future.done()
            self._serving = self._serving or serves
        if serves:
            try:
                self._serve()
            finally:
                with self._changed:
                    self._serving = False
                    self._changed.notify_all()
        completion = future.result()
        return Response(
            id=None,
            model=self._model_name,
            message=Message.assistant(completion.text or " "),
            finish_reason=completion.finish_reason,
            usage=Usage(input_tokens=len(completion.prompt_ids), output_tokens=len(completion.completion_ids)),
        )

    def _serve(self) -> None:
        """Answer all that wait, once nobody else is expected."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._pending) >= self._expected > 0,
                timeout=PATIENCE_SECONDS if self._expected else GATHER_SECONDS,
            )
            waiting, self._pending = self._pending, []
        waiting.sort(key=lambda job: repr(job[:2]))
        try:
            completions = self._answer_batch([(messages, sampling) for messages, sampling, _ in waiting])
            answered = list(zip(waiting, completions, strict=True))
        except BaseException as error:
            for _, _, future in waiting:
                future.set_exception(error)
            return
        for (_, _, future), completion in answered:
            future.set_result(completion)

    def _sampling_for(self, request: Request, messages: Messages) -> Sampling:
        """What the call asks for, else the engine's own; the seed follows from the text, so threads cannot reorder it."""
        config, default = request.config, self._sampling
        key = repr((config.seed if config.seed is not None else default.seed, messages))
        if self.repeats_differ:
            self._asked[key] += 1
            key += f" {self._asked[key]}" if self._asked[key] > 1 else ""
        return Sampling(
            temperature=default.temperature if config.temperature is None else config.temperature,
            top_p=default.top_p if config.top_p is None else config.top_p,
            max_tokens=config.max_tokens or default.max_tokens,
            seed=int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:6], "big"),
        )


def _messages(request: Request) -> Messages:
    turns: Messages = []
    if request.system is not None:
        system: Any = request.system
        turns.append(
            {"role": "system", "content": system if isinstance(system, str) else "".join(p.text for p in system)}
        )
    turns += [{"role": m.role, "content": m.text or ""} for m in request.messages]
    return turns

"""A DSPy engine over an in-process model: calls made side by side are answered in one batch.

DSPy programs run in threads and each asks for one completion; a model answers many at nearly the cost of one. The engine
waits until no further call has come for a moment, then answers all that are waiting.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from dspy.lm15 import Message, Request, Response, Usage

from pmd_agent.types import Completion, Sampling

Messages = list[dict[str, str]]
AnswerBatch = Callable[[Sequence[tuple[Messages, Sampling]]], list[Completion]]
QUIET_SECONDS = 0.01


class BatchingEngine:
    """`complete(Request) -> Response`, as DSPy's custom engines do. One thread talks to the model."""

    def __init__(self, answer_batch: AnswerBatch, *, model_name: str, sampling: Sampling) -> None:
        self._answer_batch, self._model_name, self._sampling = answer_batch, model_name, sampling
        self._queue: queue.SimpleQueue[tuple[Messages, Sampling, Future[Completion]]] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        messages = _messages(request)
        future: Future[Completion] = Future()
        self._queue.put((messages, self._sampling_for(request, messages), future))
        with self._lock:  # whoever comes first answers for all that wait behind
            if not future.done():
                self._drain()
        completion = future.result()
        return Response(
            id=None,
            model=self._model_name,
            message=Message.assistant(completion.text or " "),
            finish_reason=completion.finish_reason,
            usage=Usage(input_tokens=len(completion.prompt_ids), output_tokens=len(completion.completion_ids)),
        )

    def _drain(self) -> None:
        waiting = []
        try:
            while True:
                waiting.append(self._queue.get(timeout=QUIET_SECONDS))
        except queue.Empty:
            pass
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

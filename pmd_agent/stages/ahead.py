"""The next step's attempts, sampled while this one is distilled (rollout.lag=1).

They come from the weights that made this step's, so they are one update older than those that they will teach: each has
the version and the log-probabilities of the weights that sampled it, from which the loss takes its importance ratio. They
are committed with this step, so that a resumed run goes on with the very same ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from pmd_agent.stages.attempt import attempts
from pmd_agent.stages.parts import Metrics, Parts
from pmd_agent.types import Rollout


@contextmanager
def sampling_ahead(parts: Parts, m: Metrics) -> Iterator[None]:
    """While the block runs the next step's attempts are sampled; afterwards they are in `parts.ahead`. Raises PolicyError.

    A policy in this process samples first: its weights are about to change. `ahead` is the time that is waited for them.
    """
    if not parts.recipe.rollout.lag or m.step + 1 >= parts.steps:
        yield
    elif not parts.policy.serves:
        with m.stage("ahead"):
            parts.ahead[m.step + 1] = _next(parts, m)
        yield
    else:
        sampled = _begun(parts, m)
        yield  # where this raises, the policy will be closed, and with it what still samples
        with m.stage("ahead"):
            parts.ahead[m.step + 1] = sampled.result()


def _next(parts: Parts, m: Metrics) -> list[list[Rollout]]:
    return attempts(parts, m.step + 1, parts.curriculum.batch(m.step + 1))


def _begun(parts: Parts, m: Metrics) -> Future[list[list[Rollout]]]:
    """In a thread that nobody has to wait for."""
    sampled: Future[list[list[Rollout]]] = Future()

    def sample() -> None:
        try:
            sampled.set_result(_next(parts, m))
        except BaseException as error:
            sampled.set_exception(error)

    threading.Thread(target=sample, name="pmd-ahead", daemon=True).start()
    return sampled

"""Whether a server answers from the weights that it should: what it makes of a short text is compared, token by token.

copies   each copy of the model (data_parallel) is asked after an adapter is loaded: they have to agree
sleep    a server that has slept has to answer as before. Level 2 throws its weights away and reads them again, level 1 keeps
         them in the machine's memory
"""

from __future__ import annotations

import math
import re

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm.client import Lost, NotServed, VllmClient

TEXT = "1 + 1 = 2. Water is wet, and the sky is blue."
CLOSE = 0.02
"""Nats a token, on average, by which two answers from the same weights differ at most: rounding."""
LEVEL_2 = (0, 32)
"""vLLM's first version whose reloading is known to know LoRA's layers. Those before may end in a KeyError, or answer noise."""

Reading = tuple[float, ...]


async def reading(client: VllmClient, model: str, ids: list[int], copy: int | None = None) -> Reading:
    """Log-probabilities of the text's tokens but the first, by one copy of the model, or (None) any."""
    body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "seed": 0, "n": 1, "prompt_logprobs": 0}
    headers = {} if copy is None else {"X-data-parallel-rank": str(copy)}
    answer = await client.post("/v1/completions", body, headers=headers)
    told = answer["choices"][0].get("prompt_logprobs") or []
    return tuple(float(row[str(i)]["logprob"]) for row, i in zip(told[1:], ids[1:], strict=False) if row)


def distance(one: Reading, other: Reading) -> float:
    """Mean absolute difference in nats; infinite where one of them is cut or no number."""
    if len(one) != len(other) or not all(map(math.isfinite, (*one, *other))):
        return math.inf
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / max(1, len(one))


async def require_all_copies(client: VllmClient, model: str, ids: list[int], copies: int) -> None:
    """Raises PolicyError where a copy of the model answers otherwise than the first."""
    first = await reading(client, model, ids, 0) if copies > 1 else ()
    for copy in range(1, copies):
        off = distance(first, await reading(client, model, ids, copy))
        if off > CLOSE:
            raise PolicyError(
                f"Copy {copy} of the model does not answer as copy 0 does: log-probabilities are {off:.2f} nats apart, "
                "so the adapter has not reached it.",
                "Set policy.data_parallel=1, or another version of vLLM (docs/vllm.md names those that were tried).",
            )


class SleepMode:
    """How a server sleeps and wakes."""

    def __init__(self, client: VllmClient, ids: list[int]) -> None:
        self._client, self._ids = client, ids
        self.level = 0
        """0: to be found out."""
        self._model: str = ""
        self._before: Reading = ()

    async def begin(self, model: str) -> None:
        """Free the GPU's memory. Raises Lost, and NotServed where the server has no sleep mode."""
        self.level = self.level or await self._best()
        self._model, self._before = model, await self._reading(model)
        await self._client.sleep(self.level)

    async def end(self) -> bool:
        """Serve again; whether it answers as before. Raises Lost."""
        await self._client.wake(self.level)
        return distance(self._before, await self._reading(self._model)) <= CLOSE

    async def _reading(self, model: str) -> Reading:
        try:
            return await reading(self._client, model, self._ids)
        except NotServed as error:  # it has lost the adapter: not that it cannot sleep
            raise Lost(str(error)) from None

    async def _best(self) -> int:
        try:
            said = str((await self._client.get("/version"))["version"])
        except (NotServed, KeyError, TypeError):
            return 1
        found = re.match(r"(\d+)\.(\d+)", said)
        return 2 if found and tuple(map(int, found.groups())) >= LEVEL_2 else 1

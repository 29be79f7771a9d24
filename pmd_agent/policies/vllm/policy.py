"""The policy on a vLLM server: prompts go as token ids, completions come back as ids with log-probabilities.

Every version of the weights is an adapter under a name that no other ever had: reloading under an old name would be
answered from the prefix cache of the old weights. Rollouts carry the version that the server says it served.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pmd_agent.environment import Reply
from pmd_agent.errors import PolicyError
from pmd_agent.models.encoding import Encoder
from pmd_agent.models.templates import ChatTemplate
from pmd_agent.models.tool_formats import ToolFormat, Tools
from pmd_agent.models.turns import Turns
from pmd_agent.policies.base import Arrived, Asked, Messages, seed_of, special_tokens_of
from pmd_agent.policies.vllm.answers import completions
from pmd_agent.policies.vllm.client import Lost, NotServed, VllmClient
from pmd_agent.policies.vllm.same_weights import TEXT, SleepMode, require_all_copies
from pmd_agent.policies.vllm.server import Server, VllmServer
from pmd_agent.progress import Count, counting, uncounted
from pmd_agent.types import Completion, Sampling

if TYPE_CHECKING:
    import dspy

SEEDS = 2**48
TRIES = 6
"""Of one request, as long as the server itself is well."""
BACKOFF_SECONDS = 0.5
"""Before the second try; doubled before each further one."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What answers."""

    name: str
    """Empty: the base, under whatever name the server has for it."""
    adapter: Path | None
    version: int


class VllmPolicy:
    """Samples from a vLLM server and restores what was lost with it; one that is pmd's own is started by `load`."""

    shares_weights = False
    serves = True

    def __init__(
        self,
        server: Server,
        tokenizer: Any,
        *,
        context: int,
        eos_ids: Sequence[int],
        thinking: bool = False,
        tool_format: ToolFormat | None = None,
        in_flight: int = 128,
        timeout: float = 3600.0,
        sleep: bool = False,
        copies: int = 1,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`context`: tokens of a prompt and its completion. `in_flight`: requests (of n samples each) at one time.

        `timeout`: seconds that one request may take. `sleep`: let the server sleep while `resting`. `copies` of the model.
        """
        self.server, self.tokenizer, self.context = server, tokenizer, context
        self.version = 0
        self.special_tokens = special_tokens_of(tokenizer)
        name = str(getattr(tokenizer, "name_or_path", ""))
        self.template = ChatTemplate(tokenizer, name, thinking=thinking, tool_format=tool_format)
        self.turns, self._encoder = Turns(self.template, tokenizer, eos_ids), Encoder(self.template, tokenizer)
        self.thinking, self.timeout = thinking, timeout
        self._eos_ids, self._in_flight, self._sleeps = sorted(set(eos_ids)), in_flight, sleep
        self._client = VllmClient(connections=in_flight, timeout=timeout)
        self._copies, self._warn = copies, warn
        self._text = self.encode([{"role": "user", "content": TEXT}])
        self._sleep_mode = SleepMode(self._client, self._text)
        self._served = _Served("", None, 0)
        self._base_name = ""
        self._loaded_in = 0  # server.starts when what is served was loaded
        self._asleep_in = 0  # server.starts when it was put to sleep; 0: it is awake
        self._closed = False
        self._lock = threading.RLock()
        self._mending = ThreadPoolExecutor(1, "pmd-vllm-mending")

    # ---- the protocol

    def encode(self, messages: Messages, *, thinking: bool | None = None) -> list[int]:
        """The prompt as token ids, chat template applied."""
        return self._encoder(messages, thinking)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens in it."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def sample(
        self, prompts_P: Sequence[Messages], n: int, sampling: Sampling, arrived: Arrived | None = None
    ) -> list[list[Completion]]:
        """n completions of each prompt. What a dead server leaves unanswered is asked again, and nothing else."""
        prompts = [self.encode(messages) for messages in prompts_P]
        # Sample g has this seed + g, as with the local policy.
        bodies = [self.body(ids, n, sampling, seed_of(sampling, p, 0)) for p, ids in enumerate(prompts)]
        return self._sampled(bodies, n, arrived, counting(len(bodies)))

    def answer(self, asked_N: Sequence[Asked]) -> list[Completion]:
        """A completion of each of these prompts. May be called from several threads."""
        bodies = [self.body(ids, 1, sampling, sampling.seed) for ids, sampling in asked_N]
        return [found for (found,) in self._sampled(bodies, 1)]

    def between(self, opening: Messages, said: Messages, last: int | None) -> tuple[int, ...]:
        """The ids between a reply and the next one."""
        return self.turns.between(opening, said, last)

    def heard(self, completion: Completion, tools: Tools, turn: int) -> Reply:
        """A reply with its calls."""
        return self.turns.heard(completion, tools, turn)

    def lm(
        self, *, temperature: float, max_tokens: int, seed: int, initial: bool = False, most: int | None = None
    ) -> dspy.LM:
        """A DSPy language model on the same server and adapter (`initial`: none), answers held to their JSON schema."""
        from pmd_agent.policies.vllm.lm import program_lm

        self.ready()
        return program_lm(self, temperature=temperature, max_tokens=max_tokens, seed=seed, initial=initial, most=most)

    def attach(self, folder: Path) -> None:
        """The server's log is written to this folder, as vllm.log."""
        if isinstance(self.server, VllmServer):
            self.server.log = folder / "vllm.log"

    def load(self, adapter: Path | None, version: int) -> None:
        """Answer from this adapter (None: the base) from now on; the one before is unloaded. Starts the server."""
        if adapter is not None and not (adapter / "adapter_config.json").is_file():
            raise PolicyError(
                f"{adapter} holds no adapter (adapter_config.json is missing).", "Give a run's adapter/ folder."
            )
        name = "" if adapter is None else f"pmd-v{version:06d}-{secrets.token_hex(3)}"
        with self._lock:
            before, self._served = self._served, _Served(name, adapter, version)
            self._loaded_in, had = 0, self._loaded_in
            try:
                seen = self.ready()
            except PolicyError:
                self._served = before
                raise
            self.version = version
            if before.name and had == seen:
                with suppress(Lost, NotServed):  # then it is gone already
                    self._client.run(self._client.unload_adapter(before.name))

    def close(self) -> None:
        """End the server, where it is pmd's own; take the adapter out of one that is not. What still asks gets a PolicyError."""
        self._closed = True
        with self._lock:
            if self._served.name and self._loaded_in and self.server.address:
                with suppress(Lost, NotServed, PolicyError):
                    self._client.run(self._client.unload_adapter(self._served.name))
            self._loaded_in = 0
            self.server.stop()
            self._client.close()
            self._mending.shutdown(wait=False)

    # ---- sleep mode

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Within: the GPU's memory is free for training, where policy.sleep is set and the server can."""
        self.sleep()
        try:
            yield
        finally:
            if self._asleep_in and "torch" in sys.modules:  # what training has freed, but torch has kept
                sys.modules["torch"].cuda.empty_cache()
            self.wake()

    def sleep(self) -> bool:
        """Free the GPU's memory; True where the server could. The next `wake`, `load` or `sample` ends it."""
        with self._lock:
            if self._sleeps and not self._asleep_in and self._loaded_in:
                try:
                    self._client.run(self._sleep_mode.begin(self.model_name))
                    self._asleep_in = self._loaded_in
                except NotServed:  # a server without sleep mode
                    self._sleeps = False
                except Lost:  # a dead server frees its memory as well
                    return False
            return bool(self._asleep_in)

    def wake(self) -> None:
        """Serve again."""
        with self._lock:
            if self._asleep_in:
                self.ready()

    def _woken(self) -> bool:
        """Wakes it; False where it has to be started anew, since it did not answer as before. Raises Lost and PolicyError."""
        if self._client.run(self._sleep_mode.end()):
            return True
        level, self._asleep_in, self._loaded_in = self._sleep_mode.level, 0, 0
        if level < 2 or not isinstance(self.server, VllmServer):
            raise PolicyError(
                f"After sleep (level {level}) the vLLM server does not answer from the weights that it had.",
                "Set policy.sleep=false, or try another version of vLLM (docs/vllm.md).",
            )
        self._warn("after sleep level 2 the vLLM server answered from other weights: it is started anew, for level 1")
        self._sleep_mode.level = 1
        self.server.stop()
        return False

    # ---- what the server has to have

    @property
    def model_name(self) -> str:
        """The name by which the server knows what answers now."""
        return self._served.name or self._base_name

    @property
    def base_name(self) -> str:
        """The name by which the server knows the model without an adapter."""
        return self._base_name

    def ready(self) -> int:
        """Returns the server's `starts` when it is up, awake, and serves what was loaded last. Raises PolicyError."""
        with self._lock:
            self._require_open()
            for tries in range(TRIES):
                seen = self.server.ensure()
                self._client.connect(self.server.address, self.server.key)
                try:
                    if self._asleep_in == seen and not self._woken():
                        continue
                    self._asleep_in = 0
                    if self._loaded_in != seen:
                        self._client.run(self._serve())
                        self._loaded_in = seen
                    return seen
                except Lost as error:
                    lost = error
                except NotServed as error:
                    raise PolicyError(
                        f"The vLLM server cannot load an adapter: {error}", "Start it with --enable-lora."
                    ) from None
                self.server.recover(seen)
                self._client.run(asyncio.sleep(BACKOFF_SECONDS * 2**tries))
            raise PolicyError(f"The vLLM server takes no adapter: {lost}", "Its log says why.")

    def recover(self, seen: int) -> int:
        """After a request was lost, or its model not found, while `starts` was `seen`: all is as it was before."""
        with self._lock:
            self._require_open()
            self.server.recover(seen)
            return self.ready()

    def not_served(self, seen: int) -> int:
        """After the server said that it does not know the adapter: load it again."""
        with self._lock:
            if self._loaded_in == seen:
                self._loaded_in = 0
            return self.ready()

    def _require_open(self) -> None:
        """Or a thread that still asks would start the server again."""
        if self._closed:
            raise PolicyError("The policy is closed.", "Build another one.")

    async def _serve(self) -> None:
        models = await self._client.models()
        base = next((m for m in models if not m.get("parent")), models[0])
        self._base_name = str(base["id"])
        room = base.get("max_model_len")
        if room is not None and room < self.context:
            raise PolicyError(
                f"The vLLM server reads {room} tokens in all, and the run counts on {self.context}.",
                f"Set policy.max_model_len={room}, or start the server with --max-model-len {self.context}.",
            )
        served = self._served
        if served.adapter is not None and served.name not in (m["id"] for m in models):
            await self._client.load_adapter(served.name, served.adapter)
        await require_all_copies(self._client, self.model_name, self._text, self._copies)

    # ---- a batch

    def _sampled(
        self, bodies: Sequence[dict[str, Any]], n: int, arrived: Arrived | None = None, count: Count = uncounted
    ) -> list[list[Completion]]:
        seen = self.ready()
        told: SimpleQueue[tuple[int, dict[str, Any]] | None] = SimpleQueue()
        answers = self._client.start(self._ask_all(bodies, seen, told.put))
        answers.add_done_callback(lambda _: told.put(None))
        try:
            while (news := told.get()) is not None:
                count(1)
                if arrived is not None and not answers.done():
                    place, answer = news
                    arrived(place, self._completions(bodies[place], n, answer))
            found = answers.result()
        except BaseException:
            answers.cancel()
            raise
        self.server.worked()
        return [self._completions(body, n, answer) for body, answer in zip(bodies, found, strict=True)]

    def _completions(self, body: Mapping[str, Any], n: int, answer: dict[str, Any]) -> list[Completion]:
        decode = partial(self.tokenizer.decode, skip_special_tokens=True)
        served = self._served.version
        return completions(answer, tuple(body["prompt"]), n, model=self.model_name, version=served, decode=decode)

    def body(self, prompt_ids: Sequence[int], n: int, sampling: Sampling, seed: int) -> dict[str, Any]:
        """The request for n completions of a prompt; all that a server may have defaults for is said."""
        room = self.context - len(prompt_ids)
        if room < 1:
            raise PolicyError(
                f"A prompt has {len(prompt_ids)} tokens, and the policy reads {self.context} in all.",
                "Lower rollout.max_prompt_tokens, memory.max_tokens or pipeline.attempt_chars.",
            )
        greedy = sampling.temperature == 0
        return {
            "prompt": list(prompt_ids),
            "n": 1 if greedy else n,
            "temperature": sampling.temperature,
            "top_p": 1.0 if greedy else sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": min(sampling.max_tokens, room),
            "seed": seed % SEEDS,
            "stop_token_ids": self._eos_ids,
            "logprobs": 0,
            "return_token_ids": True,
            "add_special_tokens": False,
        }

    async def _ask_all(
        self, bodies: Sequence[dict[str, Any]], seen: int, tell: Callable[[tuple[int, dict[str, Any]]], None]
    ) -> list[dict[str, Any]]:
        """The answers in order, at most `in_flight` under way. The first error that is final ends them all.

        `tell` hears the place and the answer of each as it comes.
        """
        free = asyncio.Semaphore(self._in_flight)

        async def one(place: int, body: dict[str, Any]) -> dict[str, Any]:
            async with free:
                answer = await self._ask(body, seen)
            tell((place, answer))
            return answer

        tasks = [asyncio.ensure_future(one(place, body)) for place, body in enumerate(bodies)]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _ask(self, body: dict[str, Any], seen: int) -> dict[str, Any]:
        for tries in range(TRIES):
            try:
                answer: dict[str, Any] = await self._client.post("/v1/completions", body | {"model": self.model_name})
                return answer
            except Lost as error:
                lost: Exception = error
                now = await self._mended(self.recover, seen)
            except NotServed as error:
                lost = error
                now = await self._mended(self.not_served, seen)
            if now == seen:
                await asyncio.sleep(BACKOFF_SECONDS * 2**tries)
            seen = now
        raise PolicyError(f"The vLLM server does not answer a request after {TRIES} tries: {lost}", "Its log says why.")

    async def _mended(self, mend: Callable[[int], int], seen: int) -> int:
        # Not in asyncio's own pool: that one looks up host names, and all of its threads could be waiting here.
        return await asyncio.get_running_loop().run_in_executor(self._mending, mend, seen)

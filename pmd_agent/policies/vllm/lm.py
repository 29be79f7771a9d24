"""The DSPy language model on the policy's server: litellm's `hosted_vllm/<adapter>`, with a server that may die.

The engine declares what vLLM can do, so that DSPy's JSON adapter sends its schema and the answer is held to it. A lost
call is sent again once the server serves the same weights.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or litellm reaches for the network when it is imported

import dspy
from dspy import lm15
from dspy.clients.engines.litellm_engine import LiteLLMEngine
from dspy.lm15 import Request, Response

from pmd_agent.errors import PolicyError
from pmd_agent.models.templates import Messages
from pmd_agent.policies.batching import _messages

if TYPE_CHECKING:
    from pmd_agent.policies.vllm.policy import VllmPolicy

SENTENCES = ("strategies", "lessons", "behaviors")
"""Fields of an answer that become memories."""
TRIES = 6
BACKOFF_SECONDS = 0.5


def around_proxies(address: str) -> None:
    """Have what runs in this process, litellm among it, reach the server without the proxy that the environment names."""
    host = urlsplit(address).hostname or ""
    if getproxies():
        for name in ("no_proxy", "NO_PROXY"):
            hosts = [each for each in os.environ.get(name, "").split(",") if each]
            if host not in hosts:
                os.environ[name] = ",".join([*hosts, host])


class VllmEngine:
    """`complete(Request) -> Response` of the adapter that the policy served when the engine was made."""

    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = True
    supported_params = frozenset({"temperature", "max_tokens", "top_p", "seed", "stop", "response_format"})

    def __init__(
        self,
        policy: VllmPolicy,
        *,
        seed: int,
        max_tokens: int,
        temperature: float,
        initial: bool = False,
        most: int | None = None,
    ) -> None:
        """`most`: sentences in one list of those that become memories."""
        self._policy, self._initial, self._most = policy, initial, most
        self.name = self._served()
        self._seed, self._max_tokens, self._temperature = seed, max_tokens, temperature

    def complete(self, request: Request) -> Response:
        """One answer. Raises PolicyError."""
        wire = self._completed(request)
        seen = self._policy.ready()
        for tries in range(TRIES):
            if self._served() != self.name:
                raise PolicyError(
                    f"A program asks {self.name}, and the policy has moved on to {self._served()}.",
                    "Take a new policy.lm() after every load.",
                )
            server = self._policy.server
            around_proxies(server.address)
            engine = LiteLLMEngine(
                api_base=f"{server.address}/v1", api_key=server.key or "none", timeout=self._policy.timeout
            )
            try:
                return engine.complete(wire)
            except lm15.UnsupportedModelError as error:
                lost: Exception = error
                now = self._policy.not_served(seen)
            except (lm15.TransportError, lm15.TimeoutError, lm15.ServerError, lm15.RateLimitError) as error:
                lost = error
                now = self._policy.recover(seen)
            except lm15.LM15Error as error:
                raise PolicyError(f"The vLLM server refused a program's call: {error}", "Its log says more.") from None
            if now == seen:
                time.sleep(BACKOFF_SECONDS * 2**tries)
            seen = now
        raise PolicyError(
            f"The vLLM server does not answer a program's call after {TRIES} tries: {lost}", "Its log says why."
        )

    def _served(self) -> str:
        return self._policy.base_name if self._initial else self._policy.model_name

    def _completed(self, request: Request) -> Request:
        """Everything said that a server may have a default for, and no more tokens asked than there is room for.

        The seed follows from the text, as with the local policy: threads cannot reorder it.
        """
        config, messages = request.config, _messages(request)
        prompt = len(self._policy.encode(messages))
        room = self._policy.context - prompt
        if room < 1:
            raise PolicyError(
                f"A program's prompt has {prompt} tokens, and the policy reads {self._policy.context} in all.",
                "Lower pipeline.attempts, pipeline.attempt_chars or pipeline.insight_lines.",
            )
        key = repr((self._seed if config.seed is None else config.seed, messages))
        extensions: dict[str, Any] = {
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "chat_template_kwargs": {"enable_thinking": self._policy.thinking},
        }
        return replace(
            self._as_turns(request, messages),
            config=replace(
                config,
                response_format=_bounded(config.response_format, self._most),
                seed=int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:6], "big"),
                temperature=self._temperature if config.temperature is None else config.temperature,
                top_p=1.0 if config.top_p is None else config.top_p,
                max_tokens=min(config.max_tokens or self._max_tokens, room),
                presence_penalty=0.0,
                frequency_penalty=0.0,
                extensions={**(config.extensions or {}), "extra_body": extensions},
            ),
        )

    def _as_turns(self, request: Request, messages: Messages) -> Request:
        """The server renders the template itself: it gets what the template can take."""
        turns = self._policy.template.turns(messages)
        if turns == messages:
            return request
        taken = tuple(
            lm15.Message.assistant(turn["content"])
            if turn["role"] == "assistant"
            else lm15.Message.user(turn["content"])
            for turn in turns
        )
        return replace(request, system=None, messages=taken)


def _bounded(form: dict[str, Any] | None, most: int | None) -> dict[str, Any] | None:
    """The schema of an answer, whose lists of sentences now end: a model that rambles holds up nobody.

    Not their characters: a server takes seconds to read `maxLength`, and then longer for each token than the model (docs/log.md).
    """
    properties = (form or {}).get("schema", {}).get("properties")
    if form is None or most is None or not isinstance(properties, dict):
        return form
    lists = {
        name: of | {"maxItems": most}
        for name, of in properties.items()
        if name in SENTENCES and of.get("type") == "array" and "maxItems" not in of
    }
    return form | {"schema": form["schema"] | {"properties": properties | lists}}


class AsyncVllmEngine:
    """The same for `acall`."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """One answer. Raises PolicyError."""
        return await asyncio.to_thread(self._engine.complete, request)


def program_lm(
    policy: VllmPolicy,
    *,
    temperature: float,
    max_tokens: int,
    seed: int,
    initial: bool = False,
    most: int | None = None,
) -> dspy.LM:
    """`hosted_vllm/<name>`, cache off, bound to the adapter that the policy serves now, or (`initial`) to the model without one."""
    engine = VllmEngine(policy, seed=seed, max_tokens=max_tokens, temperature=temperature, initial=initial, most=most)
    return dspy.LM(
        f"hosted_vllm/{engine.name}",
        engine=engine,
        async_engine=AsyncVllmEngine(engine),
        cache=False,
        temperature=temperature,
        max_tokens=max_tokens,
        num_retries=0,
    )

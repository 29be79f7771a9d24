"""How much of what vLLM can give arrives through VllmPolicy.

    python -m tests.benchmarks.vllm --model box --prompts 64 --samples 8

The same requests go to the same server, by a bare client and by the policy in turn, each first every other time. The
bare client posts and parses, no more. Printed are tokens and rollouts per second of both, and the ratio: the median of the
rounds', and their range.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from pmd_agent.console import Console
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.policies.vllm.server import RunningServer, Server, VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.types import Sampling


async def bare(server: Server, model: str, bodies: list[dict[str, Any]], in_flight: int) -> int:
    """Tokens that came back."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    async with httpx.AsyncClient(limits=limits, timeout=None, headers=headers, trust_env=False) as client:

        async def one(body: dict[str, Any]) -> int:
            answer = await client.post(f"{server.address}/v1/completions", json=body | {"model": model})
            return sum(len(choice["token_ids"]) for choice in answer.raise_for_status().json()["choices"])

        return sum(await asyncio.gather(*map(one, bodies)))


def measure(policy: VllmPolicy, settings: argparse.Namespace, in_flight: int) -> dict[str, list[tuple[int, float]]]:
    """Tokens and seconds of each of the two in each round; an unmeasured round comes first."""
    rounds: dict[str, list[tuple[int, float]]] = {"bare client": [], "VllmPolicy": []}
    for number in range(-1, settings.rounds):
        prompts = [
            [{"role": "user", "content": f"Round {number}. Compute {p} + {7 * p + number}, step by step."}]
            for p in range(settings.prompts)
        ]
        sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=settings.max_tokens, seed=number + 1)

        def through_policy(prompts: Any = prompts, sampling: Sampling = sampling) -> int:
            groups = policy.sample(prompts, settings.samples, sampling)
            return sum(len(completion.completion_ids) for group in groups for completion in group)

        def through_bare(prompts: Any = prompts, sampling: Sampling = sampling) -> int:
            bodies = [
                policy.body(policy.encode(m), settings.samples, sampling, p * 1009) for p, m in enumerate(prompts)
            ]
            return asyncio.run(bare(policy.server, policy.model_name, bodies, in_flight))

        pair = [("bare client", through_bare), ("VllmPolicy", through_policy)]
        for name, work in pair if number % 2 else pair[::-1]:
            started = time.perf_counter()
            tokens = work()
            seconds = time.perf_counter() - started
            if number >= 0:
                rounds[name].append((tokens, seconds))
    return rounds


def main() -> None:
    """Parse the options, start a server (or use one), measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="box")
    parser.add_argument("--address", default="", help="of a running server; empty: one is started")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--context", type=int, default=1024)
    settings = parser.parse_args()

    from transformers import AutoTokenizer

    console = Console()
    tokenizer = AutoTokenizer.from_pretrained(model_source(settings.model))
    with tempfile.TemporaryDirectory() as folder:
        server: Server = (
            RunningServer(settings.address, progress=console.info)
            if settings.address
            else VllmServer(
                ServerSettings(model_source(settings.model), max_model_len=settings.context),
                Path(folder) / "vllm.log",
                progress=console.info,
            )
        )
        policy = VllmPolicy(
            server, tokenizer, context=settings.context, eos_ids=[tokenizer.eos_token_id], in_flight=settings.in_flight
        )
        try:
            policy.load(None, 0)
            measured = measure(policy, settings, settings.in_flight)
        finally:
            policy.close()
    rollouts = settings.rounds * settings.prompts * settings.samples
    totals = {name: tuple(map(sum, zip(*rounds, strict=True))) for name, rounds in measured.items()}
    console.table(
        ["", "tokens", "seconds", "tokens/s", "rollouts/s"],
        [[name, t, round(s, 2), round(t / s), round(rollouts / s, 1)] for name, (t, s) in totals.items()],
    )
    ratios = [
        (tokens / seconds) / (bare_tokens / bare_seconds)
        for (bare_tokens, bare_seconds), (tokens, seconds) in zip(*measured.values(), strict=True)
    ]
    console.info(
        f"VllmPolicy / bare client, tokens per second: median {statistics.median(ratios):.3f} "
        f"of {len(ratios)} rounds ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()

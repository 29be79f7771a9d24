"""What reflection costs beside sampling on a vLLM server: groups as they come, against one stage after the other.

    python -m tests.benchmarks.streaming [--problems 64] [--samples 8] [--rounds 6]

The policy in the box, problems of its world. Each round has its own problems; of each, in turn: attempts alone, then attempts,
verdicts and reflection with groups as they come, then the same one after the other. Printed are the medians, and how
attempts with reflection compare with attempts alone and the longest reflection, which is asked once more with the server to itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from transformers import AutoTokenizer

from pmd_agent.console import Console
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.pipelines import Reflector
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.policies.vllm.server import VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.problems.world import World
from pmd_agent.recipe import parse_recipe
from pmd_agent.stages import Early, Metrics, Parts, attempt, reflect, remember, verify
from pmd_agent.stages.reflect import reflected, reflecting_lm
from pmd_agent.types import Experience, Problem
from pmd_agent.verifiers import verifier_of

Problems = tuple[Problem, ...]


def step(
    parts: Parts, number: int, problems_P: Problems, *, early: bool
) -> tuple[float, Metrics, list[list[Experience]]]:
    """Seconds of attempts, verdicts and reflection, what they reported, and the attempts with their verdicts."""
    m = Metrics(number)
    started = time.perf_counter()
    beside = Early(parts, m, problems_P) if early else None
    rollouts = attempt(parts, m, problems_P, beside)
    verdicts = verify(parts, m, problems_P, rollouts, beside)
    experiences = remember(parts, m, rollouts, verdicts)
    reflect(parts, m, problems_P, experiences, beside)
    return time.perf_counter() - started, m, experiences


def longest(parts: Parts, number: int, problems_P: Problems, m: Metrics, experiences: list[list[Experience]]) -> float:
    """Seconds of the reflection whose answer was longest, asked alone."""
    about = max(m.traces, key=lambda t: sum(len(answer) for call in t.calls for answer in call.answers)).about
    place = next(p for p, problem in enumerate(problems_P) if problem.id == about)
    started = time.perf_counter()
    reflected(parts, number, reflecting_lm(parts, number), [problems_P[place]], [experiences[place]])
    return time.perf_counter() - started


def measure(parts: Parts, rounds: int, problems: int) -> dict[str, list[float]]:
    """Seconds of each round; a round that is not measured comes first."""
    world = World.create(0)
    found: dict[str, list[float]] = {"attempts alone": [], "as they come": [], "one after the other": [], "longest": []}
    for number in range(-1, rounds):
        drawn = world.problems(problems, operators=2, split=f"round {number}")
        problems_P = tuple(replace(p, id=f"{number}/{p.id}") for p in drawn)
        started = time.perf_counter()
        attempt(parts, Metrics(number + 1), problems_P)
        alone = time.perf_counter() - started
        orders = (True, False) if number % 2 else (False, True)
        taken = {early: step(parts, number + 1, problems_P, early=early) for early in orders}
        last = longest(parts, number + 1, problems_P, *taken[True][1:])
        if number >= 0:
            for name, seconds in zip(found, (alone, taken[True][0], taken[False][0], last), strict=True):
                found[name].append(seconds)
    return found


def main() -> None:
    """Start a server, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    settings = parser.parse_args()
    console = Console()
    recipe = parse_recipe(
        {
            "policy": {"type": "vllm", "model": "box"},
            "problems": {"type": "world"},
            "rollout": {"problems": settings.problems, "samples": settings.samples, "max_tokens": 96},
            "pipeline": {"max_tokens": 192},
        }
    )
    tokenizer = AutoTokenizer.from_pretrained(model_source("box"))
    with tempfile.TemporaryDirectory() as folder, Memory.ephemeral(HashingEmbedder()) as memory:
        server = VllmServer(
            ServerSettings(model_source("box"), max_model_len=2048), Path(folder) / "vllm.log", progress=console.info
        )
        policy = VllmPolicy(server, tokenizer, context=2048, eos_ids=[tokenizer.eos_token_id])
        parts = Parts(
            recipe=recipe, steps=settings.rounds + 1, curriculum=Curriculum(World.create(0).problems(1, operators=2, split="none"), 1, 0), train=(), validation=(), test=(),
            policy=policy, verifier=verifier_of(recipe.problems, 0.5), memory=memory, embedder=HashingEmbedder(),
            reflector=Reflector(), generaliser=None, trainer=None, context=2048,
        )  # fmt: skip
        try:
            policy.load(None, 0)
            found = measure(parts, settings.rounds, settings.problems)
        finally:
            policy.close()
    console.table(
        ["", "median seconds", "range"],
        [[name, round(statistics.median(s), 2), f"{min(s):.2f} to {max(s):.2f}"] for name, s in found.items()],
    )
    ratios = [
        together / (1.15 * alone + last)
        for alone, together, last in zip(found["attempts alone"], found["as they come"], found["longest"], strict=True)
    ]
    console.info(f"as they come / (1.15 x attempts alone + longest reflection): median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

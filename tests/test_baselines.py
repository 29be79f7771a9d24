"""SDPO and GRPO as their authors run them: who is taught, by what, and the loss, with numbers worked out by hand.

SDPO: arXiv 2601.20802 and its public code; the settings are those of its scripts for SciKnowEval and LiveCodeBench.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.distillation.choose_examples import choose_examples
from pmd_agent.distillation.groups import advantages
from pmd_agent.distillation.losses import Tokens, distilled, reinforced
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.pipelines import Generaliser, Reflector
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.recipe import Recipe, load_recipe
from pmd_agent.recipe.distill import DistillSection, GrpoSection
from pmd_agent.stages import Metrics, Parts, recall, teacher_prompts
from pmd_agent.types import Experience, Problem, Rollout, Verdict

RECIPES = Path(__file__).parents[1] / "recipes"
PROBLEM = Problem("p", "Which one?", "B")
SAID = "The test with input 3 wants 9."


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.ephemeral(HashingEmbedder()) as opened:
        yield opened


def recipe(name: str, method: str = "sdpo", *more: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", [f"method={method}", "policy.type=local", "policy.model=box", *more])


def taught(memory: Memory, wanted: Recipe, right: str) -> dict[int, str]:
    """Rollout -> what its teacher reads, of a group whose right ones are marked, such as `.+..`; every wrong one has feedback."""
    parts = Parts(
        recipe=wanted, steps=1, curriculum=Curriculum((PROBLEM,), 1, 0), train=(PROBLEM,), validation=(), test=(), policy=ScriptedPolicy([""]),
        verifier=None, memory=memory, embedder=HashingEmbedder(), reflector=Reflector(), generaliser=Generaliser(), trainer=None, context=10_000,
    )  # fmt: skip
    rollouts, verdicts, experiences = [], [], []
    for g, mark in enumerate(right):
        ok, name = mark == "+", f"0/p/{g}"
        text = f"rollout {g}"
        rollouts.append(Rollout(name, "p", (1,), (2, 3), (True, True), (-1.0, -1.0), text, "stop", 0))
        verdicts.append(Verdict(float(ok), ok, "" if ok else SAID, "B" if ok else "A"))
        experiences.append(Experience(name, "p", text, float(ok), ok, verdicts[-1].feedback, None, 0, 0))
    m = Metrics(0)
    prompts = teacher_prompts(parts, m, [rollouts], [verdicts], recall(parts, m, (PROBLEM,), [experiences]))
    chosen = choose_examples(wanted, [rollouts], [verdicts], prompts.teaching)
    assert chosen.rollouts == len(right)
    return {int(e.id.rpartition("/")[2]): bytes(e.teacher_prompt_ids).decode() for e in chosen.examples}


@pytest.mark.parametrize(
    ("right", "by_demonstration"),
    [
        ("........", set()),  # of a group of failures SDPO teaches none
        ("..+.....", {0, 1, 3, 4, 5, 6, 7}),  # a rollout is never its own demonstration
        ("..+..+..", set(range(8))),
        ("++++++++", set(range(8))),
    ],
)
def test_on_sciknoweval_a_solution_teaches_and_feedback_never(
    memory: Memory, right: str, by_demonstration: set[int]
) -> None:
    found = taught(memory, recipe("sciknoweval"), right)
    assert set(found) == by_demonstration
    assert all(SAID not in page and "rollout" in page for page in found.values())
    assert all(f"rollout {g}\n" not in page for g, page in found.items())


@pytest.mark.parametrize(
    ("right", "by_demonstration", "by_feedback"),
    [
        ("........", set(), set(range(8))),
        ("..+.....", {0, 1, 3, 4, 5, 6, 7}, set()),
        ("++++++++", set(range(8)), set()),
    ],
)
def test_on_livecodebench_feedback_teaches_where_there_is_no_solution(
    memory: Memory, right: str, by_demonstration: set[int], by_feedback: set[int]
) -> None:
    found = taught(memory, recipe("livecodebench"), right)
    assert {g for g, page in found.items() if "rollout" in page} == by_demonstration
    assert {g for g, page in found.items() if SAID in page} == by_feedback


def test_feedback_can_be_had_beside_a_solution(memory: Memory) -> None:
    both = taught(memory, recipe("livecodebench", "sdpo", "memory.feedback=always"), ".+")
    assert set(both) == {0} and SAID in both[0] and "rollout 1" in both[0]
    assert not taught(memory, recipe("livecodebench", "sdpo", "memory.feedback=always", "memory.siblings=false"), ".+")


def test_the_published_settings() -> None:
    one, two = recipe("sciknoweval").distill, recipe("livecodebench").distill
    shared: dict[str, Any] = {"importance_clip": 2.0, "normalisation": "per_rollout"}
    for found, wanted in (
        (one, {"divergence": "jsd", "alpha": 0.5, "top_k": 100, "updates": 1, "warmup": 10}),
        (two, {"divergence": "reverse_kl", "top_k": 20, "updates": 32, "warmup": 0}),
    ):
        assert {k: getattr(found, k) for k in wanted | shared} == wanted | shared
    assert (one.teacher.type, one.teacher.rate, two.teacher.type, two.teacher.rate) == ("ema", 0.05, "ema", 0.01)
    for grpo in (one.grpo, two.grpo):
        assert (grpo.clip, grpo.clip_high, grpo.dual_clip, grpo.normalise, grpo.kl) == (0.2, 0.28, 3.0, False, 0.0)


# ---- the loss


def tokens(*sampled: float, advantage: float = 0.0) -> Tokens:
    n = len(sampled)
    return Tokens(
        torch.zeros(n, dtype=torch.long), torch.tensor(sampled).log(), torch.ones(n), torch.full((n,), advantage)
    )


@pytest.mark.parametrize(
    ("name", "top_k", "value"),
    [
        # The student says 1/2, 1/4, 1/4 and the teacher 1/4, 1/2, 1/4.
        ("forward_kl", None, math.log(2) / 4),  # 1/4 log 1/2 + 1/2 log 2
        ("reverse_kl", None, math.log(2) / 4),  # 1/2 log 2 + 1/4 log 1/2
        ("jsd", None, math.log(4 / 3) / 2 + math.log(2 / 3) / 4),  # the mixture is 3/8, 3/8, 1/4
        # With k = 1 there are two categories: (1/2, 1/2) and (1/4, 3/4).
        ("forward_kl", 1, math.log(1 / 2) / 4 + math.log(3 / 2) * 3 / 4),
        ("reverse_kl", 1, math.log(2) / 2 + math.log(2 / 3) / 2),
    ],
)
def test_the_divergence_by_hand(name: Any, top_k: int | None, value: float) -> None:
    student, teacher = (torch.tensor([row]).log() for row in ((0.5, 0.25, 0.25), (0.25, 0.5, 0.25)))
    settings = DistillSection(divergence=name, top_k=top_k)
    # The token was sampled with probability 1/2: on-policy. With 2/5 the ratio is 5/4, with 1/8 it is 4 and counts 2.
    for sampled, ratio in ((0.5, 1.0), (0.4, 1.25), (0.125, 2.0)):
        found = distilled(student, teacher, tokens(sampled), settings)
        assert found.loss_N.tolist() == pytest.approx([ratio * value], abs=1e-6)


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss"),
    [
        (0.75, 1.0, -0.75),
        (0.75, 1.28, -0.96),
        (0.75, 2.0, -0.96),  # clipped at 1.28
        (0.75, 0.5, -0.375),
        (-0.25, 1.0, 0.25),
        (-0.25, 0.5, 0.2),  # clipped at 0.8
        (-0.25, 2.0, 0.5),
        (-0.25, 8.0, 0.75),  # at most 3 times
    ],
)
def test_grpo_s_loss_by_hand(advantage: float, ratio: float, loss: float) -> None:
    student = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    found = reinforced(student, None, tokens(0.5 / ratio, advantage=advantage), GrpoSection())
    assert found.loss_N.tolist() == pytest.approx([loss], abs=1e-5)
    found.loss_N.sum().backward()
    assert student.grad is not None
    stopped = (advantage > 0 and ratio > 1.28) or (advantage < 0 and not 0.8 < ratio < 3)
    assert bool(found.clipped_N[0]) == stopped and (float(student.grad.abs().max()) == 0) == stopped


def test_advantages_by_hand() -> None:
    rewards = [1.0, 0.0, 0.0, 0.0]
    assert advantages(rewards, normalise=False) == [0.75, -0.25, -0.25, -0.25]
    assert advantages(rewards) == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)  # the deviation is 1/2

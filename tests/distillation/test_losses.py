"""The trainer's objectives on a tiny real model, against naive ones: the whole model's logits, a sequence at a time, float64 on top."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation import chunks, losses
from pmd_agent.distillation.batches import micro_batches
from pmd_agent.distillation.divergences import entropy
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.adapters import STUDENT, TEACHER, Weights, adapter_parameters, answering_as
from pmd_agent.recipe.distill import DistillSection, GrpoSection, TeacherSection

Load = Callable[..., Any]
ADVANTAGES = (1.5, -0.5, -0.75, 0.0, 0.25)


def settings(**changes: Any) -> DistillSection:
    """SDPO's published loss; no warm-up, no decay, no clipping of gradients."""
    plain: dict[str, Any] = {"lr": 1e-2, "warmup": 0, "weight_decay": 0.0, "max_grad_norm": 1e9, "top_k": 20}
    return DistillSection(**(plain | changes))


def learn(
    model: Any, distill: DistillSection, batch: Sequence[Example], **options: Any
) -> tuple[dict[str, float], list[Tensor]]:
    """Metrics and gradients of one step."""
    metrics = Trainer(model, distill, pad_id=0, seed=0, **options).step(batch)
    return metrics, gradients(model)


def gradients(model: Any) -> list[Tensor]:
    return [p.grad.clone() for p in adapter_parameters(model, STUDENT).values() if p.grad is not None]


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    assert len(a) == len(b) == 28
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def logprobs(model: Any, prompt: tuple[int, ...], e: Example, who: Weights = "current") -> Tensor:
    """(N, V) in float64 at the written tokens."""
    with answering_as(model, who):
        logits = model(input_ids=torch.tensor([[*prompt, *e.completion_ids]])).logits[0]
    found: Tensor = logits[len(prompt) - 1 : -1].double().log_softmax(-1)[torch.tensor(e.written)]
    return found


def written(e: Example, column: Sequence[float]) -> Tensor:
    return torch.tensor(column, dtype=torch.float64)[torch.tensor(e.written)]


def of_tokens(logprobs_NV: Tensor, e: Example) -> Tensor:
    """(N,) at the tokens themselves."""
    return logprobs_NV.gather(-1, written(e, e.completion_ids).long()[:, None])[:, 0]


@pytest.fixture(scope="module")
def batch(load_tiny: Load) -> list[Example]:
    """Five rollouts whose sampling log-probabilities are near the student's own, one with a token that it did not write."""
    found = []
    for number in range(5):
        generator = torch.Generator().manual_seed(number)

        def ids(n: int, generator: torch.Generator = generator) -> tuple[int, ...]:
            return tuple(torch.randint(3, 250, (n,), generator=generator).tolist())

        prompt, completion = ids(3 + number), ids(6 + 3 * (number % 3))
        mask = tuple(number != 2 or t != 1 for t in range(len(completion)))
        found.append(Example(prompt, ids(9) + prompt, completion, mask, (0.0,) * len(completion), number % 2 == 0))
    return found


@pytest.fixture
def sampled(batch: list[Example], load_student: Load) -> list[Example]:
    """The batch, sampled by a student that was a little different."""
    model, found = load_student(teacher=True), []
    for number, e in enumerate(batch):
        whole = replace(e, written=(True,) * len(e.completion_ids))
        with torch.no_grad():
            now = of_tokens(logprobs(model, e.student_prompt_ids, whole), whole)
        noise = torch.randn(len(now), generator=torch.Generator().manual_seed(number)) * 0.6
        found.append(replace(e, logprobs=tuple((now + noise).tolist())))
    return found


def published(model: Any, e: Example, teacher: Tensor, *, k: int = 20, clip: float = 2.0) -> tuple[Tensor, Tensor]:
    """SDPO's loss of every token and its ratio, before the clip, from probabilities."""
    student = logprobs(model, e.student_prompt_ids, e)
    index = student.topk(k, -1).indices
    s, t = (
        torch.cat([p.gather(-1, index), 1 - p.gather(-1, index).sum(-1, keepdim=True)], -1)
        for p in (student.exp(), teacher.exp())
    )
    m = (s + t) / 2
    ratio = (of_tokens(student, e).detach() - written(e, e.logprobs)).exp()
    return (0.5 * t * (t / m).log() + 0.5 * s * (s / m).log()).sum(-1) * ratio.clamp_max(clip), ratio


def teacher_of(model: Any, e: Example, who: Weights = "ema") -> Tensor:
    with torch.no_grad():
        return logprobs(model, e.teacher_prompt_ids, e, who)


# ---- distillation


@pytest.mark.parametrize("chunk", [4, 1024])
def test_the_published_loss_in_value_gradient_and_gauges(
    load_student: Load, sampled: list[Example], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    model = load_student(teacher=True)
    losses, ratios = zip(*(published(model, e, teacher_of(model, e)) for e in sampled), strict=True)
    expected, ratio = torch.cat(losses).mean(), torch.cat(ratios)
    expected.backward()
    wanted = gradients(model)
    student = torch.cat([logprobs(model, e.student_prompt_ids, e) for e in sampled]).detach()

    metrics, found = learn(load_student(teacher=True), settings(batch_tokens=256, entropy_every=1), sampled)
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5) and metrics["loss"] > 0.01
    assert distance(found, wanted) < 1e-5 and max(g.abs().max().item() for g in wanted) > 1e-3
    assert (
        metrics["clip_fraction"] == pytest.approx((ratio > 2).double().mean().item()) and metrics["clip_fraction"] > 0
    )
    assert metrics["importance_ratio"] == pytest.approx(ratio.clamp_max(2).mean().item(), abs=1e-5)
    assert metrics["entropy"] == pytest.approx(-(student.exp() * student).sum(-1).mean().item(), abs=1e-4)
    chosen = torch.cat([of_tokens(logprobs(model, e.student_prompt_ids, e), e) for e in sampled])
    assert metrics["surprisal"] == pytest.approx(-chosen.mean().item(), abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"divergence": "sampled_kl"}])
def test_entropy_is_measured_only_when_it_is_asked_for(
    load_student: Load, sampled: list[Example], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(logits: Tensor) -> Tensor:
        asked.append(1)
        return entropy(logits)

    monkeypatch.setattr(losses, "entropy", watched)
    for every, steps in ((0, []), (2, [1, 3])):
        taught = Trainer(load_student(teacher=True), settings(entropy_every=every, **changes), pad_id=0, seed=0)
        asked.clear()
        found = [taught.step(sampled) for _ in range(4)]
        assert [n for n, row in enumerate(found) if "entropy" in row] == steps
        assert bool(asked) == bool(steps)
        assert all(row["surprisal"] > 0 for row in found)


def test_without_a_clip_the_ratio_is_reported_and_changes_nothing(load_student: Load, sampled: list[Example]) -> None:
    plain = [replace(e, logprobs=(-1.0,) * len(e.logprobs)) for e in sampled]
    found = [learn(load_student(teacher=True), settings(importance_clip=None), b) for b in (sampled, plain)]
    assert found[0][0]["loss"] == found[1][0]["loss"] and distance(found[0][1], found[1][1]) == 0
    assert found[0][0]["clip_fraction"] == 0 and found[0][0]["importance_ratio"] != found[1][0]["importance_ratio"]


def test_k_of_the_whole_vocabulary_is_no_k(load_student: Load, sampled: list[Example]) -> None:
    (a, a_grad), (b, b_grad) = (learn(load_student(teacher=True), settings(top_k=k), sampled) for k in (10_000, None))
    assert a == b and distance(a_grad, b_grad) == 0


def test_weights_make_a_weighted_mean_over_tokens(load_student: Load, sampled: list[Example]) -> None:
    model, weights = load_student(teacher=True), (0.5, 0.3, 0.4, 0.0, 0.5)
    weighted = [replace(e, weight=w) for e, w in zip(sampled, weights, strict=True)]
    losses = [published(model, e, teacher_of(model, e))[0] for e in sampled]
    count = sum(w * sum(e.written) for w, e in zip(weights, sampled, strict=True))
    expected = sum((w * loss.sum() for w, loss in zip(weights, losses, strict=True)), torch.tensor(0.0)) / count
    expected.backward()
    metrics, found = learn(load_student(teacher=True), settings(), weighted)
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert distance(found, gradients(model)) < 1e-5
    doubled, same = learn(load_student(teacher=True), settings(), [replace(e, weight=2 * e.weight) for e in weighted])
    assert doubled["loss"] == pytest.approx(metrics["loss"]) and distance(found, same) < 1e-6


def test_a_mean_over_rollouts_counts_those_without_a_teacher_as_nothing(
    load_student: Load, sampled: list[Example]
) -> None:
    model, weights = load_student(teacher=True), (0.5, 0.3, 0.4, 0.5, 0.5)
    weighted = [replace(e, weight=w) for e, w in zip(sampled, weights, strict=True)]
    losses = [published(model, e, teacher_of(model, e))[0].mean() for e in sampled]
    assert len({len(e.completion_ids) for e in sampled}) > 1
    mean = sum((w * loss for w, loss in zip(weights, losses, strict=True)), torch.tensor(0.0)) / sum(weights)
    expected = mean * 5 / 8  # eight rollouts, of which three had nothing to read
    expected.backward()
    model_again = load_student(teacher=True)
    taught = Trainer(model_again, settings(normalisation="per_rollout", batch_tokens=256), pad_id=0, seed=0)
    metrics = taught.step(weighted, rollouts=8)
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert distance(gradients(model_again), gradients(model)) < 1e-5
    plain, _ = learn(load_student(teacher=True), settings(normalisation="per_rollout"), weighted)
    assert plain["loss"] == pytest.approx(mean.item(), abs=1e-5)


def test_how_far_the_two_means_are_apart(load_student: Load) -> None:
    """The figures of docs/method.md, for one draw: rollouts of 5 to 100 tokens."""
    generator = torch.Generator().manual_seed(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (n,), generator=generator).tolist())

    batch = []
    for number, n in enumerate((5, 10, 15, 25, 40, 60, 80, 100)):
        prompt = ids(12)
        batch.append(Example(prompt, ids(20) + prompt, ids(n), (True,) * n, (-5.0,) * n, number % 2 == 0))
    found = [
        learn(load_student(teacher=True), settings(normalisation=mean, top_k=100, importance_clip=None), batch)
        for mean in ("per_token", "per_rollout")
    ]
    assert [metrics["loss"] for metrics, _ in found] == pytest.approx([0.206, 0.219], abs=0.002)
    one, other = (torch.cat([g.flatten() for g in gradient]) for _, gradient in found)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) == pytest.approx(0.68, abs=0.02)


def test_batches_of_weight_zero_teach_nothing(load_student: Load, sampled: list[Example]) -> None:
    metrics, found = learn(load_student(teacher=True), settings(), [replace(e, weight=0.0) for e in sampled])
    assert metrics["loss"] == 0 and all((g == 0).all() for g in found)


def test_the_sampled_estimator(load_student: Load, sampled: list[Example]) -> None:
    model = load_student(teacher=True)
    ratios, surrogate = [], []
    for e in sampled:
        student = of_tokens(logprobs(model, e.student_prompt_ids, e), e)
        ratio = student.detach() - of_tokens(teacher_of(model, e), e)
        ratios.append(ratio)
        surrogate.append(ratio * student)
    torch.cat(surrogate).mean().backward()
    metrics, found = learn(load_student(teacher=True), settings(divergence="sampled_kl", importance_clip=None), sampled)
    assert metrics["loss"] == pytest.approx(torch.cat(ratios).mean().item(), abs=1e-5)
    assert distance(found, gradients(model)) < 1e-5


def test_special_tokens_are_read_but_not_learnt(load_student: Load, sampled: list[Example]) -> None:
    special = {e.completion_ids[-1] for e in sampled}
    masked = [
        replace(e, written=tuple(w and i not in special for w, i in zip(e.written, e.completion_ids, strict=True)))
        for e in sampled
    ]
    found = [
        learn(load_student(teacher=True), distill, b, special_ids=special)
        for distill, b in ((settings(mask_special=True), sampled), (settings(), masked), (settings(), sampled))
    ]
    assert found[0][0] == found[1][0] and distance(found[0][1], found[1][1]) == 0
    assert found[0][0]["tokens"] <= found[2][0]["tokens"] - 5


# ---- the trust region


@pytest.mark.parametrize(("mix", "same"), [(0.0, "initial"), (1.0, "current")])
def test_a_trust_region_ends_at_the_initial_and_the_current_weights(
    load_student: Load, sampled: list[Example], mix: float, same: Any
) -> None:
    (a, a_grad), (b, b_grad) = (
        learn(load_student(), settings(teacher=teacher), sampled)
        for teacher in (TeacherSection(type="trust_region", mix=mix), TeacherSection(type=same))
    )
    assert a == pytest.approx(b, abs=1e-6) and distance(a_grad, b_grad) < 1e-6


def test_a_trust_region_interpolates_logits(load_student: Load, sampled: list[Example]) -> None:
    model = load_student()
    losses = []
    for e in sampled:
        # log-softmax shifts logits by a constant, and so the interpolated ones: the distribution is the same.
        mixed = 0.7 * teacher_of(model, e, "initial") + 0.3 * teacher_of(model, e, "current")
        losses.append(published(model, e, mixed.log_softmax(-1))[0])
    torch.cat(losses).mean().backward()
    metrics, found = learn(load_student(), settings(teacher=TeacherSection(type="trust_region", mix=0.3)), sampled)
    assert metrics["loss"] == pytest.approx(torch.cat(losses).mean().item(), abs=1e-5)
    assert distance(found, gradients(model)) < 1e-5


def test_a_trust_region_keeps_no_weights_of_its_own(load_student: Load, sampled: list[Example], tmp_path: Path) -> None:
    distill = settings(teacher=TeacherSection(type="trust_region", mix=0.3))
    first = Trainer(load_student(), distill, pad_id=0, seed=0)
    first.step(sampled)
    first.save(tmp_path)
    expected = first.step(sampled)
    resumed = Trainer(load_student(), distill, pad_id=0, seed=0)
    resumed.load(tmp_path)
    assert resumed.step(sampled) == expected
    assert adapter_parameters(resumed.model, TEACHER) == {}


# ---- GRPO


def reinforced(batch: list[Example]) -> list[Example]:
    return [replace(e, teacher_prompt_ids=(), advantage=a) for e, a in zip(batch, ADVANTAGES, strict=True)]


@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [4, 1024])
def test_grpo_is_the_naive_one(
    load_student: Load, sampled: list[Example], kl: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    batch, model, losses, clipped = reinforced(sampled), load_student(teacher=True), [], []
    for e in batch:
        assert e.advantage is not None
        student = of_tokens(logprobs(model, e.student_prompt_ids, e), e)
        with torch.no_grad():
            initial = of_tokens(logprobs(model, e.student_prompt_ids, e, "initial"), e)
        ratio = (student - written(e, e.logprobs)).exp()
        plain, limited = ratio * e.advantage, ratio.clamp(0.8, 1.3) * e.advantage
        losses.append(-torch.minimum(plain, limited) + kl * ((initial - student).exp() - (initial - student) - 1))
        clipped.append(limited < plain)
    expected = torch.cat(losses).mean()
    expected.backward()
    metrics, found = learn(
        load_student(teacher=True), settings(grpo=GrpoSection(clip=0.2, clip_high=0.3, kl=kl), batch_tokens=256), batch
    )
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert distance(found, gradients(model)) < 1e-5 * max(1.0, max(g.abs().max().item() for g in found))
    assert (
        metrics["clip_fraction"] == pytest.approx(torch.cat(clipped).double().mean().item())
        and metrics["clip_fraction"] > 0
    )
    assert "teacher_gain" not in metrics


def test_a_better_answer_becomes_likelier(load_student: Load, sampled: list[Example]) -> None:
    model = load_student(teacher=True)

    def mean(e: Example) -> float:
        with torch.no_grad():
            return of_tokens(logprobs(model, e.student_prompt_ids, e), e).mean().item()

    before = [mean(e) for e in sampled]
    taught = Trainer(model, settings(lr=2e-3), pad_id=0, seed=0)
    for _ in range(3):
        taught.step(reinforced(sampled))
    change = [mean(e) - b for e, b in zip(sampled, before, strict=True)]
    assert change[0] > 0 and change[2] < 0, change


def test_taught_and_reinforced_share_one_mean_over_tokens(load_student: Load, sampled: list[Example]) -> None:
    """SRPO's routing: each rollout has one objective, and no micro-batch mixes them."""
    mixed = [r if e.correct else e for r, e in zip(reinforced(sampled), sampled, strict=True)]
    parts = list(micro_batches(mixed, 10_000, shared=True))
    assert [{e.advantage is None for e in part} for part in parts] == [{False}, {True}]
    found = []
    for batch in (mixed, [e for e in mixed if e.advantage is None], [e for e in mixed if e.advantage is not None]):
        metrics, gradient = learn(load_student(teacher=True), settings(), batch)
        found.append((metrics, [g * metrics["tokens"] for g in gradient]))
    (both, together), (one, first), (other, second) = found
    assert both["loss"] * both["tokens"] == pytest.approx(
        one["loss"] * one["tokens"] + other["loss"] * other["tokens"], abs=1e-4
    )
    assert distance(together, [a + b for a, b in zip(first, second, strict=True)]) < 1e-4


# ---- control teachers


def test_the_gain_of_another_teacher_is_measured_without_learning(load_student: Load, batch: list[Example]) -> None:
    model = load_student(teacher=True)
    exact, gains = [], {True: [], False: []}  # type: ignore[var-annotated]
    for e in batch:
        with torch.no_grad():
            student = of_tokens(
                logprobs(model, e.student_prompt_ids, replace(e, written=(True,) * len(e.written))),
                replace(e, written=(True,) * len(e.written)),
            )
        exact.append(replace(e, logprobs=tuple(student.tolist())))
        gains[e.correct].append((of_tokens(teacher_of(model, e), e) - written(e, student.tolist())).mean().item())
    expected = sum(gains[True]) / len(gains[True]) - sum(gains[False]) / len(gains[False])
    before = [p.detach().clone() for p in adapter_parameters(model, STUDENT).values()]
    trainer = Trainer(model, settings(), pad_id=0, seed=0)
    assert trainer.gain(exact) == pytest.approx(expected, abs=1e-5)
    assert trainer.gain([e for e in exact if e.correct]) is None and trainer.gain([]) is None
    ratios = trainer.log_ratios([replace(e, id=str(i)) for i, e in enumerate(exact)])
    for i, e in enumerate(exact):
        in_all = (of_tokens(teacher_of(model, e), e) - written(e, list(e.logprobs))).sum().item()
        assert ratios[str(i)] == pytest.approx(in_all, abs=1e-4)
    assert len({round(ratio, 3) for ratio in ratios.values()}) > 1
    assert all(torch.equal(a, b) for a, b in zip(before, adapter_parameters(model, STUDENT).values(), strict=True))
    assert trainer.steps == 0
    assert trainer.step(exact)["teacher_gain"] == pytest.approx(expected, abs=1e-5)
    assert math.isclose(trainer.gain(exact) or 0.0, expected, abs_tol=1e-5) is False, "the teacher has moved"

"""Distillation of a tiny real model, against a naive trainer: one sequence at a time, no padding, no chunks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation import batches, chunks
from pmd_agent.distillation.divergences import divergence
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.distillation.trainer_state import Part, State
from pmd_agent.errors import PolicyError
from pmd_agent.models.adapters import STUDENT, TEACHER, Weights, adapter_parameters, answering_as
from pmd_agent.recipe.distill import DistillSection, TeacherSection

Load = Callable[..., Any]
WHO: tuple[Weights, ...] = ("initial", "current", "ema")


def settings(who: Weights = "ema", **changes: Any) -> DistillSection:
    """No warm-up, no decay, no clipping, no ratio, all of the vocabulary: what a test sees is the loss's own doing."""
    plain: dict[str, Any] = {
        "top_k": None,
        "importance_clip": None,
        "lr": 1e-2,
        "warmup": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1e9,
        "teacher": TeacherSection(type=who),
    }
    return DistillSection(**(plain | changes))


def trainer(model: Any, distill: DistillSection, seed: int = 0) -> Trainer:
    return Trainer(model, distill, pad_id=0, seed=seed)


def example(number: int, *, same: bool = False, written: tuple[bool, ...] | None = None) -> Example:
    """Lengths differ from one to the next, in all three parts."""
    generator = torch.Generator().manual_seed(number)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (n,), generator=generator).tolist())

    prompt, completion = ids(3 + number), ids(4 + 3 * (number % 4) if written is None else len(written))
    teacher = prompt if same else ids(5 + 7 * (number % 3)) + prompt
    logprobs = tuple((-4 * torch.rand(len(completion), generator=generator)).tolist())
    return Example(prompt, teacher, completion, written or (True,) * len(completion), logprobs, number % 2 == 0)


def examples(n: int = 5, **options: Any) -> list[Example]:
    return [example(i, **options) for i in range(n)]


def student_of(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in adapter_parameters(model, STUDENT).items()}


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in adapter_parameters(model, STUDENT).items() if p.grad is not None}


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def logits_at(model: Any, prompt: tuple[int, ...], e: Example) -> Tensor:
    """(T, V) of the whole model, alone and unpadded: row s is what it expects after prompt + y_<s."""
    ids = torch.tensor([[*prompt, *e.completion_ids]])
    logits: Tensor = model(input_ids=ids).logits[0]
    return logits[len(prompt) - 1 : -1]


def naive_losses(model: Any, batch: Sequence[Example], distill: DistillSection) -> list[Tensor]:
    """Per example the (N,) divergences at its written tokens."""
    assert distill.divergence != "sampled_kl" and distill.teacher.type != "trust_region"
    judge, found = divergence(distill.divergence, distill.alpha), []
    for e in batch:
        with torch.no_grad(), answering_as(model, distill.teacher.type):
            teacher = logits_at(model, e.teacher_prompt_ids, e)
        student = logits_at(model, e.student_prompt_ids, e)
        found.append(judge(student, teacher)[torch.tensor(e.written)])
    return found


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jsd"])
def test_loss_and_gradients_are_the_naive_ones(load_student: Load, who: Weights, name: str, share: bool) -> None:
    """Catches a shift of a position, a wrong denominator, padding that is seen, a teacher of the wrong weights."""
    distill = settings(who, divergence=name, alpha=0.3, batch_tokens=256, share_prefixes=share)
    batch = [*examples(8), example(8, written=(True, False, False, True, True))]

    model = load_student(teacher=who == "ema")
    expected = torch.cat(naive_losses(model, batch, distill)).mean()
    expected.backward()
    wanted = gradients(model)

    model = load_student(teacher=who == "ema")
    metrics = trainer(model, distill).step(batch)
    assert metrics["loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert metrics["loss"] > 0.01, "a test that could not fail"
    assert metrics["tokens"] == sum(sum(e.written) for e in batch)
    found = gradients(model)
    assert found.keys() == wanted.keys() and len(found) == 28
    assert distance(found, wanted) < 1e-5
    assert max(g.abs().max().item() for g in wanted.values()) > 1e-3


def test_micro_batches_and_chunks_change_nothing(load_student: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for tokens, chunk in ((256, 3), (16_384, 1024)):
        monkeypatch.setattr(chunks, "CHUNK", chunk)
        model = load_student(teacher=True)
        metrics = trainer(model, settings(batch_tokens=tokens)).step(examples(8))
        found.append((metrics, gradients(model)))
    (small, small_gradients), (large, large_gradients) = found
    assert small["loss"] == pytest.approx(large["loss"], abs=1e-5)
    assert small["grad_norm"] == pytest.approx(large["grad_norm"], rel=1e-4)
    assert distance(small_gradients, large_gradients) < 1e-5


def test_micro_batches_hold_at_most_so_many_padded_tokens() -> None:
    batch = examples(20)
    micro_batches = partial(batches.micro_batches, shared=False)
    cost = {e: len(e.teacher_prompt_ids) + len(e.student_prompt_ids) + 2 * len(e.completion_ids) for e in batch}
    parts = list(micro_batches(batch, 300))
    assert len(parts) > 3
    for part in parts:
        longest = max(len(e.teacher_prompt_ids) for e in part), max(len(e.student_prompt_ids) for e in part)
        assert len(part) * max(cost[e] for e in part) <= 300, longest
    assert sorted(map(hash, batch)) == sorted(hash(e) for part in parts for e in part)
    assert [len(part) for part in micro_batches(batch[:3], 1)] == [1, 1, 1], "too long is still taken"


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jsd"])
def test_a_teacher_that_reads_the_same_teaches_nothing(load_student: Load, name: str) -> None:
    model = load_student()
    before = student_of(model)
    taught = trainer(model, settings("current", divergence=name))
    taught._optimiser = torch.optim.SGD(taught._parameters)  # type: ignore[assignment]  # Adam makes steps of mere rounding
    metrics = taught.step(examples(same=True))
    assert abs(metrics["loss"]) < 1e-7
    assert metrics["grad_norm"] < 1e-6
    assert distance(before, student_of(model)) < 1e-7
    taught.step(examples())
    assert distance(before, student_of(model)) > 1e-4


@pytest.mark.parametrize("who", WHO)
def test_the_student_moves_towards_its_teacher(load_student: Load, who: Weights) -> None:
    model, batch = load_student(teacher=who == "ema"), examples()
    taught = trainer(model, settings(who))
    losses = [taught.step(batch)["loss"] for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(later < earlier * 1.2 for earlier, later in zip(losses, losses[1:], strict=False))


def test_only_the_adapter_of_the_student_learns(load_student: Load) -> None:
    for who in WHO:
        model = load_student(teacher=True)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        trainer(model, settings(who)).step(examples())
        changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert changed
        followers = (f".{STUDENT}.", f".{TEACHER}.") if who == "ema" else (f".{STUDENT}.",)
        assert all(any(part in name for part in followers) for name in changed)
        assert all(p.grad is None for p in adapter_parameters(model, TEACHER).values())


def test_what_others_wrote_is_read_but_not_learnt(load_student: Load) -> None:
    """The same mask, another unwritten token: what follows changes. The unwritten token's own loss never counts."""
    written = (True, True, False, True, True)
    first = example(1, written=written)
    other = Example(
        first.student_prompt_ids,
        first.teacher_prompt_ids,
        (*first.completion_ids[:2], first.completion_ids[2] + 1, *first.completion_ids[3:]),
        written,
        first.logprobs,
        first.correct,
    )
    distill, model = settings(), load_student(teacher=True)
    (a,), (b,) = naive_losses(model, [first], distill), naive_losses(model, [other], distill)
    torch.testing.assert_close(a[:2], b[:2])
    assert not torch.allclose(a[2:], b[2:])
    for e, expected in ((first, a), (other, b)):
        metrics = trainer(load_student(teacher=True), distill).step([e])
        assert metrics["tokens"] == 4
        assert metrics["loss"] == pytest.approx(expected.mean().item(), abs=1e-5)


def test_an_example_without_a_written_token_counts_for_nothing(load_student: Load) -> None:
    silent = example(2, written=(False, False))
    models = [load_student(teacher=True) for _ in range(2)]
    with_it, without = (
        trainer(m, settings()).step(batch)
        for m, batch in zip(models, ([*examples(4), silent], examples(4)), strict=True)
    )
    assert with_it == pytest.approx(without, abs=1e-6)
    before = student_of(models[0])
    alone = trainer(models[0], settings()).step([silent])
    assert alone["loss"] == 0.0 and alone["tokens"] == 0.0
    assert_same(before, student_of(models[0]))


@pytest.mark.parametrize("rate", [0.05, 0.7, 1.0])
def test_the_ema_teacher_follows_by_its_rate(load_student: Load, rate: float) -> None:
    model = load_student(teacher=True)
    before = {name: p.detach().clone() for name, p in adapter_parameters(model, TEACHER).items()}
    trainer(model, settings(teacher=TeacherSection(type="ema", rate=rate), updates=2)).step(examples())
    student = student_of(model)
    for name, p in adapter_parameters(model, TEACHER).items():
        torch.testing.assert_close(p.detach(), (1 - rate) * before[name] + rate * student[name], rtol=0, atol=1e-7)


def test_updates_split_the_batch_evenly(load_student: Load) -> None:
    for updates, expected in ((1, [9]), (4, [2, 2, 2, 3]), (9, [1] * 9), (20, [1] * 9)):
        assert sorted(map(len, batches.split(examples(9), updates))) == expected
        model = load_student(teacher=True)
        taught = trainer(model, settings(updates=updates))
        metrics = taught.step(examples(9))
        steps = {int(state["step"]) for state in taught._optimiser.state.values()}
        assert steps == {len(expected)}
        assert metrics["tokens"] == sum(len(e.completion_ids) for e in examples(9))


def test_the_order_of_the_batch_follows_from_seed_and_step(load_student: Load) -> None:
    def after(seed: int, batch: list[Example]) -> dict[str, Tensor]:
        model = load_student(teacher=True)
        trainer(model, settings(updates=5), seed).step(batch)
        return student_of(model)

    assert_same(after(0, examples()), after(0, examples()))
    assert distance(after(0, examples()), after(1, examples())) > 1e-4


def test_the_learning_rate_warms_up(load_student: Load) -> None:
    taught = trainer(load_student(teacher=True), settings(warmup=4, lr=0.1))
    assert [taught.step(examples(1))["lr"] for _ in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_gradients_are_clipped(load_student: Load) -> None:
    model = load_student(teacher=True)
    metrics = trainer(model, settings(max_grad_norm=1e-3)).step(examples())
    norm = torch.cat([g.flatten() for g in gradients(model).values()]).norm().item()
    assert metrics["grad_norm"] > 1e-2, "before clipping"
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_an_update_whose_gradient_is_not_finite_is_skipped(load_student: Load) -> None:
    model, good = load_student(teacher=True), examples()
    learner = trainer(model, settings(updates=1, importance_clip=2.0))
    learner.step(good)  # student and teacher are no longer the same
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    bad = [replace(good[0], logprobs=(math.nan,) * len(good[0].completion_ids)), *good[1:]]
    assert learner.step(bad)["updates_skipped"] == 1.0
    assert_same(before, {name: p.detach() for name, p in model.named_parameters()})
    after = learner.step(good)
    assert math.isfinite(after["loss"]) and "updates_skipped" not in after
    assert all(torch.isfinite(p).all() for p in student_of(model).values())


def test_a_batch_without_a_context_is_a_step_without_learning(load_student: Load) -> None:
    model = load_student(teacher=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    taught = trainer(model, settings())
    assert taught.step([]) == {"loss": 0.0, "tokens": 0.0}
    assert taught.steps == 1
    assert_same(before, {name: p.detach() for name, p in model.named_parameters()})


def test_the_teachers_gain_tells_right_from_wrong(load_student: Load) -> None:
    model, batch, distill = load_student(teacher=True), examples(6), settings()
    gains: dict[bool, list[float]] = {True: [], False: []}
    for e in batch:
        target = torch.tensor(e.completion_ids)[:, None]
        with torch.no_grad():
            student = logits_at(model, e.student_prompt_ids, e).log_softmax(-1).gather(-1, target)
            with answering_as(model, "ema"):
                teacher = logits_at(model, e.teacher_prompt_ids, e).log_softmax(-1).gather(-1, target)
        gains[e.correct].append((teacher - student).mean().item())
    expected = sum(gains[True]) / len(gains[True]) - sum(gains[False]) / len(gains[False])
    taught = trainer(model, distill)
    assert taught.step(batch)["teacher_gain"] == pytest.approx(expected, abs=1e-4)
    assert "teacher_gain" not in taught.step([e for e in batch if e.correct]), "nothing to compare with"


def test_the_teacher_has_no_dropout(load_student: Load) -> None:
    """With dropout in the student alone, what the teacher says is the same each time."""
    model = load_student(dropout=0.5)
    said = []
    taught = trainer(model, settings("current", lr=1e-30, updates=3))
    original = model.get_base_model().model.forward

    def listen(*args: Any, **kwargs: Any) -> Any:
        out = original(*args, **kwargs)
        if not torch.is_grad_enabled():
            said.append(out.last_hidden_state.clone())
        return out

    model.get_base_model().model.forward = listen
    taught.step(examples(1) * 3)
    assert len(said) == 3
    assert torch.equal(said[0], said[1]) and torch.equal(said[1], said[2])
    assert not model.training


# --- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("who", WHO)
def test_a_resumed_trainer_goes_on_as_if_never_stopped(
    load_student: Load, tmp_path: Path, who: Weights, dropout: float
) -> None:
    distill = settings(who, warmup=5, weight_decay=0.01, updates=2)
    steps = [examples(5), [example(i) for i in range(5, 9)]]

    def fresh() -> tuple[Any, Trainer]:
        model = load_student(teacher=who == "ema", dropout=dropout)
        return model, trainer(model, distill)

    unbroken, taught = fresh()
    expected = [taught.step(batch) for batch in steps]

    _, stopped = fresh()
    found = [stopped.step(steps[0])]
    stopped.save(tmp_path)
    torch.rand(3)  # another process has another past
    resumed, going_on = fresh()
    going_on.load(tmp_path)
    found.append(going_on.step(steps[1]))

    assert found == expected
    assert going_on.steps == 2
    for adapter in (STUDENT, TEACHER):
        left, right = adapter_parameters(unbroken, adapter), adapter_parameters(resumed, adapter)
        assert_same({n: p.detach() for n, p in left.items()}, {n: p.detach() for n, p in right.items()})


def test_a_checkpoint_of_other_tensors_is_refused(load_student: Load, tmp_path: Path) -> None:
    taught = trainer(load_student(), settings())
    taught.save(tmp_path)
    state = torch.load(tmp_path / "trainer.pt", weights_only=True)
    state["student"] = {name.replace("q_proj", "qkv"): p for name, p in state["student"].items()}
    torch.save(state, tmp_path / "trainer.pt")
    with pytest.raises(PolicyError, match="8 tensors of the student are in only one"):
        taught.load(tmp_path)


def test_sync_gathers_the_student_alone_and_the_checkpoint_does_not_gather_it_again(
    load_student: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = trainer(load_student(teacher=True), settings())
    gathered: list[str] = []
    plain = taught.gather

    def gather(part: Part) -> State:
        gathered.append(part)
        return plain(part)

    monkeypatch.setattr(taught, "gather", gather)
    for number in (1, 2):
        taught.step(examples())
        taught.save_adapter(tmp_path / f"adapter-{number}")
        assert gathered == ["student"]
        taught.save(tmp_path)
        assert gathered == ["student", "teacher", "optimiser"]
        gathered.clear()
    saved = torch.load(tmp_path / "trainer.pt", weights_only=True)
    assert_same(saved["student"], {n: p.detach() for n, p in adapter_parameters(taught.model, STUDENT).items()})


def test_a_saved_adapter_is_plain_peft(load_student: Load, load_tiny: Load, tmp_path: Path) -> None:
    from peft import PeftModel

    model = load_student(teacher=True)
    taught = trainer(model, settings())
    taught.save_adapter(tmp_path / "adapter")
    taught.step(examples())
    taught.save_adapter(tmp_path / "adapter")  # over the old one
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 4

    ids = torch.tensor([example(3).teacher_prompt_ids])
    loaded = PeftModel.from_pretrained(load_tiny(), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        expected, found, base = (m(input_ids=ids).logits for m in (model, loaded, load_tiny()))
    assert torch.equal(found, expected)
    assert not torch.allclose(found, base, atol=1e-2)

"""What rollouts share is computed once, and nothing else changes: against the padded path, on the policy in the box and others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pmd_agent.distillation import forest_attention, room
from pmd_agent.distillation.batches import micro_batches
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forest import plant
from pmd_agent.distillation.forward import ForwardPass
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.adapters import STUDENT, TEACHER, adapter_parameters, attach_lora
from pmd_agent.models.loading import load_base
from pmd_agent.recipe.distill import DistillSection, GrpoSection, TeacherSection
from tests.distillation import gpu_kernels

Load = Callable[..., Any]


def group(problem: int, n: int = 4, *, prompt: int = 24, memory: int = 40, answer: int = 12) -> list[Example]:
    """Rollouts of one problem. Half of the teachers read another end of the memory; two answers begin with the same 20 tokens."""
    generator = torch.Generator().manual_seed(problem)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (length,), generator=generator).tolist())

    asked, remembered, endings, opening = ids(prompt), ids(memory), (ids(5), ids(9)), ids(20)
    found = []
    for number in range(n):
        written = (opening if number < 2 else ()) + ids(answer + number)
        found.append(
            Example(
                student_prompt_ids=asked,
                teacher_prompt_ids=remembered + endings[number % 2] + asked,
                completion_ids=written,
                written=tuple(t != 3 for t in range(len(written))),
                logprobs=(-3.0,) * len(written),
                correct=number % 2 == 0,
            )
        )
    return found


def batch() -> list[Example]:
    first, second = group(0), group(1)
    alone = group(2, 1)
    reinforced = [replace(e, teacher_prompt_ids=(), advantage=0.5 - n) for n, e in enumerate(group(3))]
    return [*first, *alone, *second, *reinforced]


@pytest.fixture(scope="module")
def load_box() -> Load:
    def load() -> Any:
        model = attach_lora(
            load_base("box", dtype="float32", device="cpu"),
            rank=8, alpha=16, dropout=0.0, targets="all-linear", seed=0, teacher=True,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for adapter in (STUDENT, TEACHER):
                for parameter in adapter_parameters(model, adapter).values():
                    parameter.normal_(0.0, 0.05, generator=generator)
        return model

    return load


def settings(**changes: Any) -> DistillSection:
    plain: dict[str, Any] = {"warmup": 0, "max_grad_norm": 1e9, "grpo": GrpoSection(kl=0.1)}
    return DistillSection(**(plain | changes))


def learn(model: Any, distill: DistillSection) -> tuple[dict[str, float], dict[str, Tensor]]:
    metrics = Trainer(model, distill, pad_id=0, seed=0).step(batch())
    return metrics, {n: p.grad.clone() for n, p in adapter_parameters(model, STUDENT).items() if p.grad is not None}


@pytest.mark.parametrize("teacher", ["ema", "trust_region"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_on_the_policy_in_the_box_loss_and_gradients_are_those_of_the_padded_path(
    load_box: Load, teacher: str, checkpointing: bool
) -> None:
    how: dict[str, Any] = {"teacher": TeacherSection(type=teacher)}  # type: ignore[arg-type]
    expected, wanted = learn(load_box(), settings(share_prefixes=False, **how))
    found, gradients = learn(load_box(), settings(gradient_checkpointing=checkpointing, **how))
    assert found == pytest.approx(expected, abs=1e-4) and found["loss"] > 0.05
    assert gradients.keys() == wanted.keys()
    largest = max(g.abs().max().item() for g in wanted.values())
    assert max((gradients[n] - g).abs().max().item() for n, g in wanted.items()) < 1e-4 * min(1.0, largest)
    assert largest > 1e-3


def test_a_shared_token_is_computed_once(load_student: Load) -> None:
    seen: list[int] = []
    model = load_student(teacher=True)
    trained = Trainer(model, settings(), pad_id=0, seed=0)
    assert not trained.forward.unshared
    model.get_base_model().get_input_embeddings().register_forward_hook(
        lambda _module, arguments, _out: seen.append(arguments[0].numel())
    )
    examples = group(0)
    trained.step(examples)
    answers = [len(e.completion_ids) for e in examples]
    # The teachers' memory once, either ending with the problem once; the prompt once, and the opening of two answers.
    assert seen == [40 + (5 + 24) + (9 + 24) + sum(answers), 24 + sum(answers) - 20]


def test_micro_batches_count_what_is_shared_once() -> None:
    examples = group(0, 8)
    parts = list(micro_batches(examples, 400, shared=True))
    assert len(parts) < len(list(micro_batches(examples, 400, shared=False)))
    assert sorted(map(hash, examples)) == sorted(hash(e) for part in parts for e in part)
    for part in parts:
        rows = [(*e.student_prompt_ids, *e.completion_ids) for e in part]
        rows += [(-1, *e.teacher_prompt_ids, *e.completion_ids) for e in part]
        distinct = {row[:n] for row in rows for n in range(1, len(row) + 1)}
        assert len(distinct) - 1 <= 400
    assert [len(part) for part in micro_batches(examples[:3], 1, shared=True)] == [1, 1, 1], "too long is still taken"


# ---- other models

SMALL: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": 2, "initializer_range": 0.3,
}  # fmt: skip


def small(kind: str, **changes: Any) -> Any:
    """A random model of this kind in evaluation mode, with an adapter."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    options = {"attn_implementation": "sdpa"} | changes
    config = AutoConfig.for_model(kind, **(SMALL | {k: v for k, v in options.items() if k != "attn_implementation"}))
    base = AutoModelForCausalLM.from_config(config, attn_implementation=options["attn_implementation"]).eval()
    base.requires_grad_(False)
    model = attach_lora(base, rank=4, alpha=8, dropout=0.0, targets="all-linear", seed=0, teacher=False)
    return model.eval()


OTHERS = pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("mistral", {"sliding_window": 30}),
        ("gemma3_text", {"sliding_window": 30, "layer_types": ["sliding_attention", "full_attention"]}),
        ("olmo3", {"sliding_window": 30, "layer_types": ["sliding_attention", "full_attention"]}),
        ("qwen2", {}),
    ],
)


@OTHERS
def test_other_models_read_forests_too(kind: str, changes: dict[str, Any]) -> None:
    """Sliding windows among them: shorter than the sequences, so that a wrong window is seen."""
    model = small(kind, **changes)
    rows = [(e.teacher_prompt_ids, e) for e in [*group(0), *group(1)]]
    with torch.no_grad():
        expected = ForwardPass(model, pad_id=0, share=False).hidden(rows)
        forward = ForwardPass(model, pad_id=0, share=True)
        assert forward.unshared == ""
        torch.testing.assert_close(forward.hidden(rows), expected, rtol=1e-4, atol=1e-4)


# ---- one call of attention for all segments, as on a GPU


HYBRID = {
    "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}  # fmt: skip


def states_and_gradients(model: Any, rows: Any, *, share: bool = True) -> dict[str, Tensor]:
    hidden = ForwardPass(model, pad_id=0, share=share).hidden(rows)
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    (hidden * weights).mean().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {"hidden": hidden.detach(), **grads}


@OTHERS
def test_in_one_call_states_and_gradients_are_those_of_one_call_a_segment(
    kind: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grouped heads and windows; the head's width is not what scores are scaled by in Gemma."""
    model = small(kind, **changes)
    for parameter in adapter_parameters(model, STUDENT).values():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(2))
    rows = [(e.teacher_prompt_ids, e) for e in [*group(0), *group(1)]]
    expected = states_and_gradients(model, rows)
    calls = gpu_kernels.use(monkeypatch)
    found = states_and_gradients(model, rows)
    assert calls.count == (1 + 1) * 2, "the trial and the pass, a layer each: not a call more for all segments"
    assert found.keys() == expected.keys() and len(expected) > 20
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_in_one_call_learns_what_a_padded_one_learns(
    load_box: Load, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, wanted = learn(load_box(), settings(share_prefixes=False))
    gpu_kernels.use(monkeypatch)
    found, gradients = learn(load_box(), settings(gradient_checkpointing=checkpointing))
    assert found == pytest.approx(expected, abs=1e-4) and found["loss"] > 0.05
    assert max((gradients[n] - g).abs().max().item() for n, g in wanted.items()) < 1e-4


def test_a_kernel_that_fails_in_the_trial_is_not_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_kernels.use(monkeypatch)

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(forest_attention, "in_one_call", broken)
    forward = ForwardPass(small("qwen3"), pad_id=0, share=True)
    assert forward.unshared == "" and not forward.sharing.one_call
    assert "no kernel image" in forward.sharing.slow
    rows = [(e.teacher_prompt_ids, e) for e in group(0)]
    assert forward.hidden(rows).isfinite().all(), "by segments"


def test_the_way_is_chosen_by_device_kind_and_width() -> None:
    """Without a GPU, on tensors that have no numbers; a GPU's capability is asked last."""
    half = torch.empty(1, 4, 9, 64, dtype=torch.bfloat16, device="meta")
    assert not forest_attention.one_call_suits(half, half, half), "not on a GPU"
    assert forest_attention._kernel() is not None, "torch's own"


# ---- layers with a state


@pytest.mark.parametrize("one_call", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_hybrid_model_shares_all_but_its_linear_attention(
    one_call: bool, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen3.5: states and gradients are those of the padded path, and its other matrices read a shared token once."""
    model = small("qwen3_5_text", **HYBRID)
    for parameter in adapter_parameters(model, STUDENT).values():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(2))
    rows = [(e.student_prompt_ids, e) for e in [*group(0), *group(1, 2)]]
    expected = states_and_gradients(model, rows, share=False)
    if one_call:
        gpu_kernels.use(monkeypatch)
    if checkpointing:
        room.checkpoint(model.get_base_model())
        model.train()
    seen: list[int] = []
    mlp = model.get_base_model().model.layers[0].mlp
    mlp.register_forward_hook(lambda _module, arguments, _out: seen.append(arguments[0].shape[:-1].numel()))
    found = states_and_gradients(model, rows)
    assert found.keys() == expected.keys() and len(expected) > 20
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5, msg=name)
    shared = plant([prompt + e.completion_ids for prompt, e in rows])
    assert seen[-1] == len(shared.ids) < 0.7 * sum(len(p) + len(e.completion_ids) for p, e in rows)
    sharing = ForwardPass(model, pad_id=0, share=True).sharing
    assert sharing.refused == "" and "3 of 4 layers that are linear_attention" in sharing.partly


# ---- what cannot share


def test_what_cannot_share_is_named_and_computed_whole() -> None:
    eager = small("qwen3", attn_implementation="eager")
    assert "its attention is eager" in ForwardPass(eager, pad_id=0, share=True).unshared
    assert "share_prefixes is off" in ForwardPass(small("qwen3"), pad_id=0, share=False).unshared
    mixed = small("qwen3")
    mixed.get_base_model().config.layer_types = ["full_attention", "conv"]
    assert "1 of its 2 layers are of the kind conv" in ForwardPass(mixed, pad_id=0, share=True).unshared


def test_with_dropout_each_rollout_has_its_own(load_student: Load) -> None:
    forward = ForwardPass(load_student(dropout=0.1), pad_id=0, share=True)
    assert "dropout" in forward.unshared


def test_a_model_that_ignores_the_segments_is_found_out() -> None:
    """Its second answer would read the first one."""
    model = small("qwen3")
    body = model.get_base_model().model
    plain = body.forward
    body.forward = lambda *args, forest_plan=None, **kwargs: plain(*args, **kwargs)
    assert "does not hand" in ForwardPass(model, pad_id=0, share=True).unshared
    assert model.get_base_model().config._attn_implementation == "sdpa"


# ---- half precision


def test_rounding_at_depth_is_no_reason_not_to_share() -> None:
    """Random weights, 36 layers, bfloat16: states differ by more than 2 % of the largest, as padding makes them differ too."""
    model = small("llama", num_hidden_layers=36, hidden_size=128, head_dim=32, initializer_range=0.1).to(torch.bfloat16)
    assert ForwardPass(model, pad_id=0, share=True).unshared == ""
    body = model.get_base_model().model
    plain = body.forward
    body.forward = lambda *args, forest_plan=None, **kwargs: plain(*args, **kwargs)
    assert "does not hand" in ForwardPass(model, pad_id=0, share=True).unshared, "and a fault is found at that depth"


def test_a_bf16_base_learns_in_float32(load_student: Load) -> None:
    """Adapter, gradients and loss are float32; what flows through the base is not."""
    plain = load_student(teacher=True)
    expected = Trainer(plain, settings(), pad_id=0, seed=0).step(batch())
    model = load_student(teacher=True)
    for name, parameter in model.named_parameters():
        if "lora" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    trained = Trainer(model, settings(), pad_id=0, seed=0)
    kinds: set[torch.dtype] = set()
    model.get_base_model().model.layers[0].mlp.up_proj.register_forward_hook(
        lambda _module, arguments, out: kinds.update((arguments[0].dtype, out.dtype))
    )
    found = trained.step(batch())
    assert kinds == {torch.bfloat16}
    student = adapter_parameters(model, STUDENT).values()
    assert all(p.dtype == torch.float32 and p.grad is not None and p.grad.dtype == torch.float32 for p in student)
    assert found["loss"] == pytest.approx(expected["loss"], rel=0.05)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=0.1)


def test_gradient_checkpointing_computes_again_and_keeps_less(load_student: Load) -> None:
    calls, kept = [], []
    for checkpointing in (False, True):
        model = load_student(teacher=True)
        trained = Trainer(model, settings(gradient_checkpointing=checkpointing), pad_id=0, seed=0)
        count = [0]
        model.get_base_model().model.layers[0].self_attn.q_proj.register_forward_hook(
            lambda *_, count=count: count.__setitem__(0, count[0] + 1)
        )
        stored = [0]
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, stored=stored: (stored.__setitem__(0, stored[0] + t.numel()), t)[1], lambda t: t
        ):
            trained.step(group(0))
        calls.append(count[0])
        kept.append(stored[0])
    assert calls == [2, 3], "teacher, student, and the student again"
    assert kept[1] < 0.6 * kept[0]

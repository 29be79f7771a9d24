"""Episodes on the policy in the box: exact ids, exact log-probabilities, and no loss on what others wrote."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forward import ForwardPass
from pmd_agent.distillation.lm_head import lm_head_of
from pmd_agent.distillation.policy_gradient import token_logprobs
from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.episodes import Job, Played, play_all
from pmd_agent.models.adapters import STUDENT, adapter_parameters, attach_lora
from pmd_agent.models.loading import load_base, load_tokenizer
from pmd_agent.policies.base import seed_of
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.problems.world import World
from pmd_agent.problems.world_episode import WorldEpisode
from pmd_agent.recipe.distill import DistillSection, TeacherSection
from pmd_agent.types import Problem, Sampling
from tests.episodes.conftest import LIMITS

BoxLimits = replace(LIMITS, context=2048, tokens=1024, seconds=60.0)
SAMPLING = Sampling(1.0, 1.0, 48, 3)


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    """The box with a random adapter, as a trainer would have it."""
    model = attach_lora(
        load_base("box", dtype="float32", device="cpu"),
        rank=8, alpha=16, dropout=0.0, targets="all-linear", seed=0, teacher=False,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter_parameters(model, STUDENT).values():
            parameter.normal_(0.0, 0.02, generator=generator)
    return LocalPolicy(model.eval(), load_tokenizer("box"), name="box")


def problems(count: int) -> list[Problem]:
    """Of one to six operators, so of one to six turns."""
    world = World.create(5)
    return [p for n in range(1, 7) for p in world.problems(-(-count // 6), operators=n, split="exact")][:count]


def played_on(policy: LocalPolicy, asked: list[Problem], **limits: Any) -> list[Played]:
    jobs = [Job(p, lambda _: WorldEpisode(), partial(seed_of, SAMPLING, i, 0)) for i, p in enumerate(asked)]
    return play_all(
        policy, jobs, SAMPLING, replace(BoxLimits, **limits), lambda p, opening: opening or student_messages(p)
    )


def check_ids(policy: LocalPolicy, found: list[Played]) -> int:
    """All ids are the template's over the whole conversation. Returns how many replies the policy spelt in other tokens."""
    template, tokenizer = policy.turns._template, policy.tokenizer
    respelt = 0
    for played in found:
        talk = [dict(m) for m in played.opening]
        talk += [{"role": t.role, "content": t.content} for t in played.turns]
        text = template.render(talk, answer_next=False)
        ids = [*played.prompt_ids, *played.completion_ids]
        said = tokenizer.decode(ids)
        assert text.startswith(said) and text[len(said) :] in ("\n", "<|im_end|>\n")
        whole = tokenizer(text, add_special_tokens=False).input_ids
        if ids != whole[: len(ids)]:
            respelt += 1  # the same text: the policy may write `34` as `3` and `4`
    return respelt


@pytest.mark.slow
def test_ids_of_200_episodes_are_the_templates(policy: LocalPolicy) -> None:
    found = played_on(policy, problems(200))
    turns = {sum(t.role == "assistant" for t in p.turns) for p in found}
    assert len(found) == 200 and turns == {1, 2, 3, 4, 5, 6}
    assert check_ids(policy, found) <= 20


def test_ids_log_probabilities_and_the_mask(policy: LocalPolicy) -> None:
    found = played_on(policy, problems(12))
    check_ids(policy, found)
    head = lm_head_of(policy.model.get_base_model())
    examples = [
        Example(p.prompt_ids, p.prompt_ids, p.completion_ids, p.written, p.logprobs, False, id=str(i))
        for i, p in enumerate(found)
    ]
    forward = ForwardPass(policy.model, pad_id=0, share=True)
    with torch.no_grad():
        hidden_ND = forward.hidden([(e.student_prompt_ids, e) for e in examples])
        target_N = torch.tensor([i for e in examples for i, w in zip(e.completion_ids, e.written, strict=True) if w])
        sampled_N = torch.tensor([x for e in examples for x, w in zip(e.logprobs, e.written, strict=True) if w])
        assert hidden_ND.shape[0] == len(target_N) < sum(len(e.completion_ids) for e in examples)
        difference = (token_logprobs(head(hidden_ND), target_N) - sampled_N).abs().max()
    assert difference < 1e-5, difference


def test_no_loss_falls_on_what_others_wrote(policy: LocalPolicy) -> None:
    """Other observations' tokens, in place of those at the very end, change no gradient; the policy's own do."""
    found = [p for p in played_on(policy, problems(18)) if len(p.turns) >= 3]
    one = found[0]
    last = max(i for i, w in enumerate(one.written) if not w)
    examples = [
        Example(
            one.prompt_ids, (*one.prompt_ids[:3], *one.prompt_ids), one.completion_ids[:n], one.written[:n], one.logprobs[:n], True,
            id="0",
        )
        for n in (last + 1, last)
    ]  # fmt: skip
    examples.append(replace(examples[0], written=(*examples[0].written[:-1], True)))
    losses = []
    for example in examples:
        model = attach_lora(
            load_base("box", dtype="float32", device="cpu"),
            rank=8, alpha=16, dropout=0.0, targets="all-linear", seed=0, teacher=False,
        )  # fmt: skip
        trainer = Trainer(model, DistillSection(teacher=TeacherSection(type="initial"), warmup=0), pad_id=0, seed=0)
        losses.append(trainer.step([example]))
    assert losses[0]["tokens"] == losses[1]["tokens"] == losses[2]["tokens"] - 1
    assert losses[0]["loss"] == pytest.approx(losses[1]["loss"], abs=1e-7)
    assert losses[0]["grad_norm"] == pytest.approx(losses[1]["grad_norm"], abs=1e-6)
    assert losses[0]["loss"] != pytest.approx(losses[2]["loss"], abs=1e-7)


def test_an_episode_of_one_turn_is_the_attempt_that_it_was(policy: LocalPolicy) -> None:
    asked = problems(36)[:6]
    single = policy.sample([student_messages(p) for p in asked], 1, SAMPLING)
    assert [p.completion_ids for p in played_on(policy, asked)] == [c.completion_ids for (c,) in single]


def test_what_is_drawn_does_not_depend_on_the_pace(policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = problems(6)
    once = played_on(policy, asked)
    few = played_on(policy, asked, at_once=2)
    monkeypatch.setattr("pmd_agent.episodes.side_by_side.PATIENCE_SECONDS", 0.0)
    hasty = played_on(policy, asked)
    for other in (few, hasty):
        assert [p.completion_ids for p in other] == [p.completion_ids for p in once]

"""What reading does to belief, against the model's own forward pass, a row at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pmd_agent.distillation.likelihood import Likelihood
from pmd_agent.distillation.teacher_page import render
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.types import Attempt, ProblemView

PROBLEM = ProblemView("p", "In the mill, compute 37 zog 14.", system="Be brief.")
ATTEMPTS = [Attempt("0/p/0", "Use zog max: 37.", True, 1.0), Attempt("0/p/1", "Never zog.", False, 0.0)]


def likelihood(model: Any, tokenizer: Any, context: int = 256) -> Likelihood:
    policy = LocalPolicy(model, tokenizer, name="tiny")
    return Likelihood(model, policy.encode, tokenizer, context=context)


@torch.no_grad()
def mean_logprob(model: Any, tokenizer: Any, text: str, answer: str, room: int | None = None) -> float:
    messages = [{"role": "system", "content": PROBLEM.system}, {"role": "user", "content": text}]
    prompt = LocalPolicy(model, tokenizer, name="tiny").encode(messages)
    ids = tokenizer(answer, add_special_tokens=False).input_ids[:room]
    logprobs = torch.log_softmax(model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].double(), -1)
    return sum(float(logprobs[len(prompt) - 1 + t, token]) for t, token in enumerate(ids)) / len(ids)


@pytest.mark.parametrize("adapter", [False, True])
def test_shifts_are_differences_of_mean_log_probabilities(
    tiny: Any, load_student: Any, tokenizer: Any, adapter: bool
) -> None:
    model = load_student() if adapter else tiny
    found = likelihood(model, tokenizer).shifts(PROBLEM, ["Use zog max."], ["Never zog add."], ATTEMPTS)
    page = render(PROBLEM.prompt, [], ["Use zog max."], ["Never zog add."])
    wanted = [
        mean_logprob(model, tokenizer, page, a.text) - mean_logprob(model, tokenizer, PROBLEM.prompt, a.text)
        for a in ATTEMPTS
    ]
    assert found == pytest.approx(wanted, abs=1e-4) and all(abs(shift) > 1e-3 for shift in found)


def test_reading_nothing_moves_nothing(tiny: Any, tokenizer: Any) -> None:
    assert likelihood(tiny, tokenizer).shifts(PROBLEM, [], [], ATTEMPTS) == [0.0, 0.0]
    assert likelihood(tiny, tokenizer).shifts(PROBLEM, ["Use zog max."], [], []) == []


def test_an_attempt_that_does_not_fit_is_cut_alike_on_both_sides(tiny: Any, tokenizer: Any) -> None:
    page = render(PROBLEM.prompt, [], ["Use zog max."], [])
    policy = LocalPolicy(tiny, tokenizer, name="tiny")
    longest = len(policy.encode([{"role": "system", "content": PROBLEM.system}, {"role": "user", "content": page}]))
    found = likelihood(tiny, tokenizer, longest + 3).shifts(PROBLEM, ["Use zog max."], [], ATTEMPTS[:1])
    wanted = [mean_logprob(tiny, tokenizer, text, ATTEMPTS[0].text, 3) for text in (page, PROBLEM.prompt)]
    assert found == pytest.approx([wanted[0] - wanted[1]], abs=1e-4)
    assert likelihood(tiny, tokenizer, longest).shifts(PROBLEM, ["Use zog max."], [], ATTEMPTS) == [0.0, 0.0]


def test_an_empty_attempt_says_nothing(tiny: Any, tokenizer: Any) -> None:
    found = likelihood(tiny, tokenizer).shifts(PROBLEM, ["Use zog max."], [], [Attempt("i", "", False, 0.0), *ATTEMPTS])
    assert found[0] == 0.0 and found[1] != 0.0


def test_rows_do_not_see_each_other(tiny: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    together = likelihood(tiny, tokenizer).shifts(PROBLEM, ["Use zog max."], [], ATTEMPTS)
    monkeypatch.setattr("pmd_agent.distillation.likelihood.ROW_TOKENS", 1)
    assert likelihood(tiny, tokenizer).shifts(PROBLEM, ["Use zog max."], [], ATTEMPTS) == pytest.approx(
        together, abs=1e-5
    )

"""The policy in this process, on the tiny model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from pmd_agent.errors import PolicyError
from pmd_agent.models.adapters import load_adapter
from pmd_agent.policies import Messages
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.types import Sampling

ASK: list[Messages] = [
    [{"role": "user", "content": "In the mill, compute 37 zog 14."}],
    [{"role": "system", "content": "Reason."}, {"role": "user", "content": "zog?"}],
    [{"role": "user", "content": "Use zog max."}],
]
HOT = Sampling(1.0, 1.0, 12, 5)


@pytest.fixture
def policy(tiny: Any, tokenizer: Any) -> LocalPolicy:
    return LocalPolicy(tiny, tokenizer, name="tiny")


def test_n_completions_of_each_prompt_in_order(policy: LocalPolicy) -> None:
    found = policy.sample(ASK, 3, HOT)
    assert [len(group) for group in found] == [3, 3, 3]
    for messages, group in zip(ASK, found, strict=True):
        for c in group:
            assert list(c.prompt_ids) == policy.encode(messages)
            assert 1 <= len(c.completion_ids) == len(c.logprobs) <= 12
            assert (c.finish_reason == "stop") is (c.completion_ids[-1] == policy.tokenizer.eos_token_id)
            assert all(logprob <= 0 for logprob in c.logprobs)
    texts = [c.completion_ids for group in found for c in group]
    assert len(set(texts)) == 9, "every sample has its own noise"


def test_the_same_seed_gives_the_same_and_another_others(policy: LocalPolicy, tiny: Any, tokenizer: Any) -> None:
    first = policy.sample(ASK, 2, HOT)
    small = LocalPolicy(tiny, tokenizer, name="tiny", batch_tokens=64)
    assert [[c.completion_ids for c in g] for g in small.sample(ASK, 2, HOT)] == [
        [c.completion_ids for c in g] for g in first
    ]
    other = policy.sample(ASK, 2, Sampling(1.0, 1.0, 12, 6))
    assert {c.completion_ids for g in first for c in g}.isdisjoint(c.completion_ids for g in other for c in g)


def test_greedy_samples_are_all_the_same(policy: LocalPolicy) -> None:
    (group,) = policy.sample(ASK[:1], 3, Sampling(0.0, max_tokens=12))
    assert len({c.completion_ids for c in group}) == 1


def test_the_prompt_is_the_chat_template_ready_for_an_answer(policy: LocalPolicy) -> None:
    text = policy.tokenizer.decode(policy.encode(ASK[1]))
    expected = "<|im_start|>system\nReason.<|im_end|>\n<|im_start|>user\nzog?<|im_end|>\n<|im_start|>assistant\n"
    assert text == expected
    ids = policy.encode(ASK[1])
    assert ids.count(policy.tokenizer.eos_token_id) == 2, "special_tokens are single tokens"


@pytest.mark.parametrize("thinking", [False, True])
def test_the_template_is_told_whether_to_think(tiny: Any, tiny_folder: Path, thinking: bool) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if enable_thinking is false %}<think></think>{% endif %}"
    policy = LocalPolicy(tiny, tokenizer, name="tiny", thinking=thinking)
    assert tokenizer.decode(policy.encode(ASK[2])) == "Use zog max." + ("" if thinking else "<think></think>")
    other = tokenizer.decode(policy.encode(ASK[2], thinking=not thinking))
    assert other == "Use zog max." + ("<think></think>" if thinking else "")


def test_a_template_without_a_system_role_reads_its_text_all_the_same(tiny: Any, tokenizer: Any) -> None:
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    policy = LocalPolicy(tiny, other, name="tiny")
    talk = [{"role": "system", "content": "Use zog"}, {"role": "user", "content": "max."}]
    assert other.decode(policy.encode(talk)) == "Use zog\n\nmax."


def test_text_is_the_completion_without_special_tokens(policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    from pmd_agent.policies import local
    from pmd_agent.policies.generation import Answer

    ids = policy.tokenizer("max.<|im_end|>").input_ids
    monkeypatch.setattr(local, "generate_all", lambda *_, **__: [Answer(ids, [-1.0] * len(ids), True)])
    ((completion,),) = policy.sample(ASK[:1], 1, HOT)
    assert completion.text == "max."
    assert completion.completion_ids == tuple(ids), "but the tokens are all there"
    assert completion.finish_reason == "stop"


def test_every_end_token_of_the_model_ends(tiny: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (free,) = LocalPolicy(tiny, tokenizer, name="tiny").sample(ASK[:1], 1, HOT)
    other = free[0].completion_ids[2]
    monkeypatch.setattr(tiny.generation_config, "eos_token_id", [other])
    ((completion,),) = LocalPolicy(tiny, tokenizer, name="tiny").sample(ASK[:1], 1, HOT)
    assert completion.completion_ids == free[0].completion_ids[: free[0].completion_ids.index(other) + 1]
    assert completion.finish_reason == "stop"


def test_a_prompt_without_room_for_an_answer(policy: LocalPolicy) -> None:
    long: Messages = [{"role": "user", "content": "7" * 300}]
    with pytest.raises(PolicyError, match="reads 256 in all") as error:
        policy.sample([ASK[0], long], 1, HOT)
    assert "max_prompt_tokens" in error.value.hint


def test_an_answer_ends_where_the_context_does(policy: LocalPolicy) -> None:
    overhead = len(policy.encode([{"role": "user", "content": ""}]))
    nearly: Messages = [{"role": "user", "content": "7" * (256 - 4 - overhead)}]
    assert len(policy.encode(nearly)) == 252
    ((completion,),) = policy.sample([nearly], 1, Sampling(0.0, max_tokens=50))
    assert len(completion.completion_ids) <= 4


def test_a_model_that_trains_goes_on_training(load_student: Callable[..., Any], tokenizer: Any) -> None:
    """Sampling switches dropout off, and then back to what it was."""
    model = load_student(dropout=0.5)
    policy = LocalPolicy(model, tokenizer, name="tiny")
    model.train()
    ((first,),) = policy.sample(ASK[:1], 1, HOT)
    assert model.training
    model.eval()
    ((second,),) = policy.sample(ASK[:1], 1, HOT)
    assert not model.training
    assert first == second


def test_weights_changed_in_place_answer_at_once(load_student: Callable[..., Any], tokenizer: Any) -> None:
    from pmd_agent.models.adapters import STUDENT, adapter_parameters

    model = load_student()
    policy = LocalPolicy(model, tokenizer, name="tiny")
    assert policy.shares_weights
    ((before,),) = policy.sample(ASK[:1], 1, Sampling(0.0, max_tokens=12))
    with torch.no_grad():
        for parameter in adapter_parameters(model, STUDENT).values():
            parameter.mul_(-3)
    policy.load(None, 7)
    ((after,),) = policy.sample(ASK[:1], 1, Sampling(0.0, max_tokens=12))
    assert (before.policy_version, after.policy_version) == (0, 7)
    assert before.completion_ids != after.completion_ids


def test_weights_from_elsewhere_are_loaded(
    load_student: Callable[..., Any], load_tiny: Callable[[], Any], tokenizer: Any, tmp_path: Path
) -> None:
    student = load_student()
    student.save_pretrained(tmp_path)
    greedy = Sampling(0.0, max_tokens=12)
    policy = LocalPolicy(
        load_tiny(),
        tokenizer,
        name="tiny",
        reload=lambda folder: load_adapter(load_tiny(), folder) if folder else load_tiny(),
    )
    assert not policy.shares_weights
    ((base,),) = policy.sample(ASK[:1], 1, greedy)
    policy.load(tmp_path / "student", 3)
    ((adapted,),) = policy.sample(ASK[:1], 1, greedy)
    ((expected,),) = LocalPolicy(student, tokenizer, name="tiny").sample(ASK[:1], 1, greedy)
    assert adapted.completion_ids == expected.completion_ids != base.completion_ids
    assert adapted.policy_version == policy.version == 3
    policy.load(None, 4)
    assert policy.sample(ASK[:1], 1, greedy)[0][0].completion_ids == base.completion_ids


# --- as a DSPy language model -----------------------------------------------------------------------------------------


def test_programs_are_answered_by_these_very_weights(policy: LocalPolicy) -> None:
    lm = policy.lm(temperature=0.0, max_tokens=12, seed=0)
    ((completion,),) = policy.sample(ASK[:1], 1, Sampling(0.0, max_tokens=12))
    text = ASK[0][0]["content"]
    assert lm(text) == [completion.text]
    assert lm(text, max_tokens=2) == [policy.tokenizer.decode(completion.completion_ids[:2])]


def test_programs_may_be_answered_as_before_the_first_step(
    load_student: Callable[..., Any], load_tiny: Callable[[], Any], tokenizer: Any
) -> None:
    text, options = ASK[0][0]["content"], {"temperature": 0.0, "max_tokens": 12, "seed": 0}
    base = LocalPolicy(load_tiny(), tokenizer, name="tiny").lm(**options)(text)
    policy = LocalPolicy(load_student(), tokenizer, name="tiny")
    policy.load(None, 7)
    then, now = policy.lm(**options, initial=True), policy.lm(**options)
    assert (then.model, now.model) == ("local/tiny@0", "local/tiny@7")
    assert then(text) == base != now(text)
    assert now(text) != base, "the adapter is back"


def test_many_calls_draw_the_same_whatever_their_order(policy: LocalPolicy) -> None:
    asked = [f"compute {i} zog {i}" for i in range(12)]

    def texts(seed: int, order: list[int], threads: int) -> list[str]:
        lm = policy.lm(temperature=1.0, max_tokens=8, seed=seed)
        with ThreadPoolExecutor(threads) as pool:
            found = dict(zip(order, pool.map(lambda i: lm(asked[i])[0], order), strict=True))
        return [found[i] for i in range(12)]

    expected = texts(1, list(range(12)), 1)
    assert texts(1, list(range(11, -1, -1)), 12) == expected
    assert texts(2, list(range(12)), 12) != expected
    assert len(set(expected)) == 12


def test_a_prompt_too_long_is_told_to_the_caller(policy: LocalPolicy) -> None:
    lm = policy.lm(temperature=0.0, max_tokens=4, seed=0)
    with pytest.raises(Exception, match="reads 256 in all") as error:
        lm("7" * 300)
    assert isinstance(error.value.__cause__, PolicyError)


def test_a_closed_policy_holds_no_model(tiny: Any, tokenizer: Any) -> None:
    policy = LocalPolicy(tiny, tokenizer, name="tiny")
    policy.close()
    assert policy.model is None

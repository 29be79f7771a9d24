"""DSPy on the server, through litellm: what is sent, and what happens when it is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMError

from pmd_agent.errors import PolicyError
from pmd_agent.pipelines.adapter import StrictJSONAdapter
from pmd_agent.pipelines.signatures import Contrast
from pmd_agent.policies.vllm import lm as vllm_lm
from pmd_agent.policies.vllm import policy as vllm_policy
from pmd_agent.policies.vllm.policy import VllmPolicy


@pytest.fixture
def policy(server: Any, words: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VllmPolicy]:
    monkeypatch.setattr(vllm_policy, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(vllm_lm, "BACKOFF_SECONDS", 0.001)
    (tmp_path / "adapter_config.json").write_text("{}")
    policy = VllmPolicy(server, words, context=100_000, eos_ids=[2])
    server.fake.max_model_len = 100_000
    policy.load(tmp_path, 2)
    yield policy
    policy.close()


def ask(lm: dspy.LM, problem: str = "1 + 1") -> dspy.Prediction:
    with dspy.context(lm=lm, adapter=StrictJSONAdapter()):
        return dspy.Predict(Contrast)(problem=problem, attempts="2")


def chats(fake: Any) -> list[dict[str, Any]]:
    return [body for path, body in fake.calls if path == "/v1/chat/completions"]


def test_a_template_without_a_system_role_gets_its_text_with_the_users(
    server: Any, words: Any, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server renders the template: what is sent must be what it can take."""
    monkeypatch.setattr(
        words,
        "apply_chat_template",
        lambda messages, **_: "".join(m["content"] for m in messages if m["role"] != "system"),
    )
    (tmp_path / "adapter_config.json").write_text("{}")
    policy = VllmPolicy(server, words, context=100_000, eos_ids=[2])
    fake.max_model_len = 100_000
    policy.load(tmp_path, 2)
    ask(policy.lm(temperature=0.5, max_tokens=50, seed=3), "what is zog")
    (body,) = chats(fake)
    (message,) = body["messages"]
    assert message["role"] == "user" and "what is zog" in str(message["content"])
    assert "strategies" in str(message["content"]).split("what is zog")[0]
    policy.close()


def test_lists_that_become_memories_end(policy: VllmPolicy, fake: Any) -> None:
    ask(policy.lm(temperature=0.5, max_tokens=50, seed=3, most=8))
    (body,) = chats(fake)
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    assert {name: of.get("maxItems") for name, of in properties.items()} == {"strategies": 8, "lessons": 8}


def test_the_schema_is_sent_and_nothing_is_left_to_the_servers_defaults(policy: VllmPolicy, fake: Any) -> None:
    lm = policy.lm(temperature=0.5, max_tokens=50, seed=3)
    assert lm.model == f"hosted_vllm/{policy.model_name}" and not lm.cache
    assert ask(lm).strategies == ["Choose max."]
    (body,) = chats(fake)
    form = body["response_format"]
    assert form["type"] == "json_schema" and set(form["json_schema"]["schema"]["properties"]) == {
        "strategies",
        "lessons",
    }
    assert all("maxItems" not in of for of in form["json_schema"]["schema"]["properties"].values())
    expected = {
        "model": policy.model_name, "temperature": 0.5, "top_p": 1.0, "max_completion_tokens": 50, "top_k": 0, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert {name: body.get(name) for name in expected} == expected


def test_calls_run_side_by_side_each_with_the_seed_of_its_text(policy: VllmPolicy, fake: Any) -> None:
    lm = policy.lm(temperature=1.0, max_tokens=50, seed=3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ask(lm, f"{i} + 1"), range(16)))
    seeds = {body["messages"][-1]["content"]: body["seed"] for body in chats(fake)}
    assert len(set(seeds.values())) == 16
    ask(lm, "3 + 1")
    assert chats(fake)[-1]["seed"] == seeds[chats(fake)[-1]["messages"][-1]["content"]]
    ask(policy.lm(temperature=1.0, max_tokens=50, seed=4), "3 + 1")
    assert chats(fake)[-1]["seed"] not in seeds.values()


def test_a_call_that_is_lost_with_its_server_is_made_again(policy: VllmPolicy, fake: Any, server: Any) -> None:
    fake.drop = lambda body: "messages" in body and not server.recoveries
    assert ask(policy.lm(temperature=0.0, max_tokens=50, seed=3)).lessons == ["Choose max."]
    assert server.recoveries == 1 and list(fake.adapters) == [policy.model_name]


def test_an_adapter_that_the_server_lost_is_loaded_again(policy: VllmPolicy, fake: Any) -> None:
    fake.adapters.clear()
    assert ask(policy.lm(temperature=0.0, max_tokens=50, seed=3)).lessons == ["Choose max."]


def test_a_proxy_of_the_environment_is_passed_by(
    policy: VllmPolicy, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    assert ask(policy.lm(temperature=0.0, max_tokens=50, seed=3)).lessons == ["Choose max."]
    assert os.environ["NO_PROXY"] == "example.org,127.0.0.1"


def test_a_refusal_is_an_error_that_says_why(policy: VllmPolicy, fake: Any) -> None:
    fake.refuse = lambda path, body: (400, "no grammar for that") if "chat" in path else None
    with pytest.raises(LMError) as caught:
        ask(policy.lm(temperature=0.0, max_tokens=50, seed=3))
    assert isinstance(caught.value.__cause__, PolicyError) and "no grammar for that" in str(caught.value)


def test_a_model_of_an_older_version_is_refused(policy: VllmPolicy, tmp_path: Path) -> None:
    lm = policy.lm(temperature=0.0, max_tokens=50, seed=3)
    policy.load(tmp_path, 3)
    with pytest.raises(LMError, match="moved on"):
        ask(lm)


def test_a_model_without_the_adapter_outlives_it(policy: VllmPolicy, fake: Any, tmp_path: Path) -> None:
    lm = policy.lm(temperature=0.0, max_tokens=50, seed=3, initial=True)
    assert lm.model == f"hosted_vllm/{policy.base_name}" != f"hosted_vllm/{policy.model_name}"
    policy.load(tmp_path, 3)
    assert ask(lm).lessons == ["Choose max."]
    assert [body["model"] for body in chats(fake)] == [policy.base_name]


def test_answers_are_cut_to_the_room_that_is_left(policy: VllmPolicy, fake: Any) -> None:
    policy.context = len(policy.encode([{"role": "user", "content": "x" * 90_000}])) + 4000
    ask(policy.lm(temperature=0.0, max_tokens=10_000, seed=3), "x" * 90_000)
    assert 0 < chats(fake)[-1]["max_completion_tokens"] < 4000
    with pytest.raises(LMError, match=r"Lower pipeline\.attempts"):
        ask(policy.lm(temperature=0.0, max_tokens=10, seed=3), "x" * 100_000)


async def _acall(lm: dspy.LM) -> dspy.Prediction:
    with dspy.context(lm=lm, adapter=StrictJSONAdapter()):
        prediction: dspy.Prediction = await dspy.Predict(Contrast).acall(problem="1 + 1", attempts="2")
        return prediction


def test_it_can_be_awaited(policy: VllmPolicy) -> None:
    import asyncio

    assert asyncio.run(_acall(policy.lm(temperature=0.0, max_tokens=50, seed=3))).lessons == ["Choose max."]

"""VllmPolicy against a fake server: what is asked, what is asked again, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.errors import PolicyError
from pmd_agent.policies.vllm import policy as vllm_policy
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.policies.vllm.server import VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings
from pmd_agent.types import Sampling

SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_tokens=4, seed=7)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_policy, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def make(server: Any, words: Any) -> Iterator[Callable[..., VllmPolicy]]:
    made: list[VllmPolicy] = []

    def make(**options: Any) -> VllmPolicy:
        made.append(VllmPolicy(server, words, **{"context": 100, "eos_ids": [2], "in_flight": 4} | options))
        return made[-1]

    yield make
    for policy in made:
        policy.close()


@pytest.fixture
def policy(make: Callable[..., VllmPolicy]) -> VllmPolicy:
    return make()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text("{}")
    return tmp_path


def prompts(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"p{i}"}] for i in range(count)]


def test_completions_are_the_servers_ids_in_order(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 3)
    groups = policy.sample(prompts(5), 3, SAMPLING)
    assert [[c.prompt_ids for c in group] for group in groups] == [[tuple(map(ord, f"p{i}"))] * 3 for i in range(5)]
    seeds = [7 * 1_000_003 + i * 1009 for i in range(5)]
    expected = [[tuple(5 + (seed + g + t) % 200 for t in range(4)) for g in range(3)] for seed in seeds]
    assert [[c.completion_ids for c in group] for group in groups] == expected
    assert {c.policy_version for group in groups for c in group} == {3}
    assert [c.finish_reason for c in groups[0]] == ["length", "stop", "length"]
    assert groups[0][0].logprobs == (-0.5,) * 4 and groups[0][0].text == " ".join(map(str, expected[0][0]))


def test_what_a_server_may_have_defaults_for_is_said(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 0)
    policy.sample(prompts(1), 2, SAMPLING)
    body = fake.calls[-1][1]
    neutral = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert neutral.items() <= body.items() and body["top_p"] == 0.9 and body["stop_token_ids"] == [2]


def test_greedy_samples_are_asked_once_and_told_n_times(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 0)
    (group,) = policy.sample(prompts(1), 3, Sampling(temperature=0, max_tokens=2))
    assert len(group) == 3 and len(set(group)) == 1 and fake.calls[-1][1]["n"] == 1


def test_completions_are_cut_to_the_room_that_is_left(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 0)
    policy.sample([[{"role": "user", "content": "x" * 97}]], 1, SAMPLING)
    assert fake.calls[-1][1]["max_tokens"] == 3
    with pytest.raises(PolicyError, match="100 tokens, and the policy reads 100"):
        policy.sample([[{"role": "user", "content": "x" * 100}]], 1, SAMPLING)


def test_requests_in_flight_are_bounded(policy: VllmPolicy, fake: Any) -> None:
    def slow(body: dict[str, Any]) -> bool:
        time.sleep(0.02)
        return False

    policy.load(None, 0)
    fake.drop = slow
    policy.sample(prompts(24), 1, SAMPLING)
    assert 2 <= fake.most_in_flight <= 4


@pytest.mark.parametrize("forgets", [True, False])
def test_a_batch_is_completed_and_never_doubled(
    policy: VllmPolicy, fake: Any, server: Any, adapter: Path, forgets: bool
) -> None:
    """The server dies in the middle: answered prompts are not asked again, and the adapter is there before any is."""
    server.forgets = forgets
    policy.load(adapter, 4)
    name = policy.model_name
    died = threading.Event()

    def drop(body: dict[str, Any]) -> bool:
        if "prompt" in body and len(fake.answered) >= 6 and server.recoveries == 0:
            died.set()
        return died.is_set() and server.recoveries == 0 and "prompt" in body

    fake.drop = drop
    groups = policy.sample(prompts(20), 2, SAMPLING)
    assert died.is_set() and server.recoveries >= 1
    assert [group[0].prompt_ids for group in groups] == [tuple(map(ord, f"p{i}")) for i in range(20)]
    assert len(fake.answered) == len(set(fake.answered)) == 20
    assert {c.policy_version for group in groups for c in group} == {4}
    loads = [body for path, body in fake.calls if path == "/v1/load_lora_adapter"]
    assert [body["lora_name"] for body in loads] == [name] * (2 if forgets else 1)


def test_a_server_known_by_name_comes_back_though_every_request_was_lost(
    make: Callable[..., VllmPolicy], fake: Any, server: Any, adapter: Path
) -> None:
    """Names are looked up in asyncio's own threads: had each lost request waited in one of them, none would be left."""
    policy = make(in_flight=64)
    policy.load(adapter, 1)
    server.address = server.address.replace("127.0.0.1", "localhost")
    everyone, lost, lock = threading.Barrier(40), set[tuple[int, ...]](), threading.Lock()

    def drop(body: dict[str, Any]) -> bool:
        if "prompt" not in body or (key := tuple(body["prompt"])) in lost:
            return False
        with lock:
            lost.add(key)
        everyone.wait(20)
        fake.adapters.clear()
        return True

    fake.drop = drop
    began = time.monotonic()
    assert len(policy.sample(prompts(40), 1, SAMPLING)) == 40 and time.monotonic() - began < 20


def test_an_adapter_that_the_server_lost_is_loaded_again(policy: VllmPolicy, fake: Any, adapter: Path) -> None:
    policy.load(adapter, 1)
    fake.adapters.clear()  # someone unloaded it
    policy.sample(prompts(3), 1, SAMPLING)
    assert list(fake.adapters) == [policy.model_name]


def test_every_load_has_a_new_name_and_the_old_one_goes(policy: VllmPolicy, fake: Any, adapter: Path) -> None:
    names = []
    for version in (1, 2, 2, 3):
        policy.load(adapter, version)
        names.append(policy.model_name)
        assert list(fake.adapters) == [policy.model_name] and policy.version == version
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"pmd-v00000\d-[0-9a-f]{6}", name) for name in names)
    policy.load(None, 4)
    assert not fake.adapters and policy.model_name == "pmd-base"
    policy.load(adapter, 5)
    policy.close()
    assert not fake.adapters


def test_lost_connections_are_tried_again_with_growing_pauses(
    policy: VllmPolicy, fake: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_policy, "BACKOFF_SECONDS", 0.01)
    server.forgets = False
    policy.load(None, 0)
    times: list[float] = []

    def drop(body: dict[str, Any]) -> bool:
        if "prompt" in body:
            times.append(time.monotonic())
        return "prompt" in body

    fake.drop = drop
    with pytest.raises(PolicyError, match="after 6 tries"):
        policy.sample(prompts(1), 1, SAMPLING)
    pauses = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert len(times) == 6 and all(pause >= 0.01 * 2**i for i, pause in enumerate(pauses))


def test_a_server_error_is_tried_again_and_a_refusal_is_not(policy: VllmPolicy, fake: Any, server: Any) -> None:
    server.forgets = False
    policy.load(None, 0)
    troubles = [(500, "engine hiccup"), (503, "busy")]
    fake.refuse = lambda path, body: troubles.pop() if path == "/v1/completions" and troubles else None
    assert len(policy.sample(prompts(1), 1, SAMPLING)) == 1
    fake.refuse = lambda path, body: (400, "logprobs are off") if path == "/v1/completions" else None
    before = len(fake.calls)
    with pytest.raises(PolicyError, match="logprobs are off"):
        policy.sample(prompts(1), 1, SAMPLING)
    assert len(fake.calls) == before + 1


def test_an_answer_from_other_weights_is_refused(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 0)
    fake.renamed = "pmd-v000009-abcdef"
    with pytest.raises(PolicyError, match="answered from 'pmd-v000009-abcdef'"):
        policy.sample(prompts(1), 1, SAMPLING)


def test_an_adapter_that_is_refused_leaves_the_old_one(policy: VllmPolicy, fake: Any, adapter: Path) -> None:
    policy.load(adapter, 1)
    name = policy.model_name
    fake.refuse = lambda path, body: (400, "LoRA rank 64 is greater than 16") if "load" in path else None
    with pytest.raises(PolicyError, match="LoRA rank 64 is greater than 16"):
        policy.load(adapter, 2)
    fake.refuse = lambda path, body: None
    policy.sample(prompts(1), 1, SAMPLING)
    assert policy.model_name == name and policy.version == 1
    with pytest.raises(PolicyError, match="holds no adapter"):
        policy.load(adapter / "elsewhere", 2)


def test_a_server_that_reads_less_than_the_run_counts_on_is_refused(policy: VllmPolicy, fake: Any) -> None:
    fake.max_model_len = 64
    with pytest.raises(PolicyError, match="64 tokens in all, and the run counts on 100"):
        policy.load(None, 0)


def asked(fake: Any) -> list[str]:
    """Paths and queries since the last time, reading left out."""
    found = [path + ("?" + body["query"] if "query" in body else "") for path, body in fake.calls]
    fake.calls.clear()
    return [path for path in found if path not in ("/v1/completions", "/version")]


AWAKE_AGAIN = ["/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache"]


@pytest.mark.parametrize(
    ("version", "level", "woken"),
    [("0.32.0", 2, AWAKE_AGAIN), ("1.0.0rc1", 2, AWAKE_AGAIN), ("0.31.9", 1, ["/wake_up"]), ("dev", 1, ["/wake_up"])],
)
def test_the_server_sleeps_while_resting_and_wakes_before_anything_else(
    make: Callable[..., VllmPolicy], fake: Any, adapter: Path, version: str, level: int, woken: list[str]
) -> None:
    policy = make(sleep=True)
    fake.version = version
    policy.load(None, 0)
    asked(fake)
    with policy.resting():
        assert asked(fake) == [f"/sleep?level={level}&mode=wait"]
    assert asked(fake) == woken
    policy.sleep()
    policy.load(adapter, 1)
    assert asked(fake)[1:] == [*woken, "/v1/models", "/v1/load_lora_adapter"]


class OwnServer(VllmServer):
    """One that pmd has started: it can be ended and started anew."""

    def __init__(self, fake: Any) -> None:
        super().__init__(ServerSettings("m"), Path("unused.log"))
        self.fake, self.ended = fake, 0

    def ensure(self) -> int:
        if not self.address:
            self.starts, self.address = self.starts + 1, self.fake.address
            self.fake.adapters.clear()
        return self.starts

    def stop(self) -> None:
        self.address, self.ended = "", self.ended + 1


def test_a_server_that_lost_its_weights_at_level_2_is_started_anew_for_level_1(
    words: Any, fake: Any, adapter: Path
) -> None:
    warned: list[str] = []
    server = OwnServer(fake)
    policy = VllmPolicy(server, words, context=100, eos_ids=[2], sleep=True, warn=warned.append)
    try:
        policy.load(adapter, 1)
        asked(fake)
        with policy.resting():
            fake.reads = lambda copy: -9.0  # the weights are noise
        assert server.ended == 1 and len(warned) == 1 and "level 2" in warned[0]
        assert asked(fake)[-2:] == ["/v1/models", "/v1/load_lora_adapter"], "what was served is served again"
        with policy.resting():
            pass
        assert asked(fake) == ["/sleep?level=1&mode=wait", "/wake_up"]
        policy.sleep()
        fake.reads = lambda copy: float("nan")
        with pytest.raises(PolicyError, match=r"After sleep .level 1.") as caught:
            policy.wake()
        assert "policy.sleep=false" in caught.value.hint
    finally:
        policy.close()


def test_a_server_of_the_users_own_that_lost_its_weights_is_an_error(
    make: Callable[..., VllmPolicy], fake: Any
) -> None:
    policy = make(sleep=True)
    policy.load(None, 0)
    policy.sleep()
    fake.reads = lambda copy: -1.5
    with pytest.raises(PolicyError, match=r"After sleep .level 2."):
        policy.wake()


def test_an_adapter_that_was_lost_before_sleep_does_not_end_sleep_mode(
    make: Callable[..., VllmPolicy], fake: Any, adapter: Path
) -> None:
    policy = make(sleep=True)
    policy.load(adapter, 1)
    fake.adapters.clear()
    assert not policy.sleep()
    policy.load(adapter, 2)
    assert policy.sleep()


def test_every_copy_is_asked_after_a_load_and_one_without_the_adapter_is_an_error(
    make: Callable[..., VllmPolicy], fake: Any, adapter: Path
) -> None:
    policy = make(copies=3)
    policy.load(adapter, 1)
    read = [body for path, body in fake.calls if path == "/v1/completions"]
    assert [body["copy"] for body in read] == [0, 1, 2] and {body["model"] for body in read} == {policy.model_name}
    fake.reads = lambda copy: -1.3 if copy == 2 else -1.0
    with pytest.raises(PolicyError, match=r"Copy 2 .*0\.30 nats apart.*not reached") as caught:
        policy.load(adapter, 2)
    assert "policy.data_parallel=1" in caught.value.hint


def test_without_sleep_mode_resting_is_nothing(make: Callable[..., VllmPolicy], fake: Any) -> None:
    awake, policy = make(), make(sleep=True)
    awake.load(None, 0)
    policy.load(None, 0)
    with awake.resting():
        assert "/sleep" not in fake.paths()
    fake.refuse = lambda path, body: (404, "Not Found") if path == "/sleep" else None
    for _ in range(2):
        with policy.resting():
            pass
    assert fake.paths().count("/sleep") == 1 and "/wake_up" not in fake.paths()


def test_an_interrupt_takes_the_requests_back(policy: VllmPolicy, fake: Any) -> None:
    policy.load(None, 0)
    answers = threading.Event()
    fake.drop = lambda body: not answers.wait(20)
    started = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where tests run in the background
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            policy.sample(prompts(8), 1, SAMPLING)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 5
    answers.set()
    assert len(policy.sample(prompts(2), 1, SAMPLING)) == 2

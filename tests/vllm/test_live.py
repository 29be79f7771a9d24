"""The vLLM policy against real vLLM, with the policy in the box: the CPU build does (docs/vllm.md)."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.errors import PolicyError
from pmd_agent.policies.base import Messages
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.policies.vllm.process_guard import session_members
from pmd_agent.policies.vllm.server import RunningServer, VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.problems.world import World
from pmd_agent.types import Completion, Experience, Problem, Sampling

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; docs/vllm.md has the command for its CPU build", allow_module_level=True)

RANK = 8
GREEDY = Sampling(temperature=0.0, max_tokens=64)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    train, validation, test = World.create(0).split(train=150, validation=20, test=60)
    return [*train, *validation, *test]


@pytest.fixture(scope="module")
def prompts(problems: list[Problem]) -> list[Messages]:
    return [student_messages(p) for p in problems[:200]]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three, with random weights that are large enough to change answers."""
    import torch

    from pmd_agent.models.adapters import STUDENT, adapter_parameters, attach_lora
    from pmd_agent.models.loading import load_base

    folders = []
    for seed in range(3):
        model = attach_lora(
            load_base("box", dtype="float32", device="cpu"),
            rank=RANK, alpha=2 * RANK, dropout=0.0, targets="all-linear", seed=seed, teacher=False,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in adapter_parameters(model, STUDENT).items():
                if "lora_B" in name:
                    parameter.normal_(0.0, 0.06, generator=generator)
        folder = tmp_path_factory.mktemp(f"v{seed + 1:06d}")
        model.save_pretrained(str(folder), selected_adapters=[STUDENT])
        for file in (folder / STUDENT).iterdir():
            file.rename(folder / file.name)
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from pmd_agent.models.loading import load_tokenizer

    return load_tokenizer("box")


@pytest.fixture(scope="module")
def local(tokenizer: Any) -> LocalPolicy:
    from pmd_agent.models.adapters import load_adapter
    from pmd_agent.models.loading import load_base

    def load(adapter: Path | None) -> Any:
        base = load_base("box", dtype="float32", device="cpu")
        return base if adapter is None else load_adapter(base, adapter)

    return LocalPolicy(load(None), tokenizer, name="box", reload=load)


@pytest.fixture(scope="module")
def context(local: LocalPolicy) -> int:
    return local.context


@pytest.fixture(scope="module")
def policy(tokenizer: Any, context: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmPolicy]:
    log = Path(os.environ.get("PMD_TEST_VLLM_LOG", tmp_path_factory.mktemp("server") / "vllm.log"))
    settings = ServerSettings(model_source("box"), dtype="float32", lora_rank=RANK, max_model_len=context)
    policy = VllmPolicy(VllmServer(settings, log), tokenizer, context=context, eos_ids=[tokenizer.eos_token_id])
    policy.load(None, 0)
    yield policy
    watchdog = policy.server.pid  # type: ignore[attr-defined]
    policy.close()
    assert not session_members(watchdog)


def greedy(policy: Any, prompts: list[Messages]) -> list[Completion]:
    return [group[0] for group in policy.sample(prompts, 1, GREEDY)]


def difference(ours: list[Completion], theirs: list[Completion]) -> float:
    """The largest between the log-probabilities (nats) of the same tokens."""
    return max(
        abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )


def test_it_agrees_with_the_local_policy_for_the_base_and_after_each_of_three_updates(
    policy: VllmPolicy, local: LocalPolicy, prompts: list[Messages], adapters: list[Path]
) -> None:
    """Token by token, greedy, on 200 prompts: the same each time, so that a stale prefix cache would be seen."""
    assert len(prompts) == 200
    before: list[Completion] = []
    names = set()
    for version, adapter in enumerate([None, *adapters]):
        policy.load(adapter, version)
        local.load(adapter, version)
        names.add(policy.model_name)
        ours, theirs = greedy(policy, prompts), greedy(local, prompts)
        assert [c.completion_ids for c in ours] == [c.completion_ids for c in theirs]
        assert [(c.prompt_ids, c.text, c.finish_reason) for c in ours] == [
            (c.prompt_ids, c.text, c.finish_reason) for c in theirs
        ]
        largest = difference(ours, theirs)
        print(f"version {version}: largest difference of log-probabilities {largest:.6f} nats")
        assert largest < 0.02
        assert {c.policy_version for c in ours} == {version}
        changed = sum(a.completion_ids != b.completion_ids for a, b in zip(ours, before, strict=False))
        assert not before or changed > 50  # the update is one that a stale cache would show
        before = ours
    assert len(names) == 4  # a name that comes back would be answered from the cache of other weights


def test_sampled_log_probabilities_are_those_of_the_weights(
    policy: VllmPolicy, local: LocalPolicy, prompts: list[Messages], adapters: list[Path]
) -> None:
    """Drawn at temperature 0.7 and top-p 0.9, told at temperature 1 before top-p; samples of a group differ."""
    import torch

    policy.load(adapters[0], 11)
    local.load(adapters[0], 11)
    groups = policy.sample(prompts[:40], 4, Sampling(temperature=0.7, top_p=0.9, max_tokens=32, seed=5))
    again = policy.sample(prompts[:40], 4, Sampling(temperature=0.7, top_p=0.9, max_tokens=32, seed=5))
    same = sum(a == b for x, y in zip(groups, again, strict=True) for a, b in zip(x, y, strict=True))
    assert same >= 150  # of 160: the same seeds draw the same, up to rounding
    assert sum(len({c.completion_ids for c in group}) > 1 for group in groups) > 20
    largest = 0.0
    for completion in (c for group in groups for c in group):
        ids = torch.tensor([[*completion.prompt_ids, *completion.completion_ids]])
        with torch.inference_mode():
            logits = local.model(input_ids=ids).logits[0, len(completion.prompt_ids) - 1 : -1].float()
        told = torch.log_softmax(logits, -1).gather(-1, torch.tensor(completion.completion_ids)[:, None])[:, 0]
        largest = max(largest, float((told - torch.tensor(completion.logprobs)).abs().max()))
    assert largest < 0.02


def test_a_server_killed_in_the_midst_of_a_batch(
    policy: VllmPolicy, local: LocalPolicy, prompts: list[Messages], adapters: list[Path], monkeypatch: Any
) -> None:
    policy.load(adapters[1], 21)
    local.load(adapters[1], 21)
    name, seen = policy.model_name, policy.server.ensure()
    watchdog = policy.server.pid  # type: ignore[attr-defined]
    answered: Counter[tuple[int, ...]] = Counter()
    models: set[str] = set()
    post = policy._client.post

    async def counted(path: str, body: Any = None, **options: Any) -> Any:
        answer = await post(path, body, **options)
        if path == "/v1/completions":
            answered[tuple(body["prompt"])] += 1
            models.add(answer["model"])
            if len(answered) == 30:
                for pid in session_members(watchdog):
                    if pid != watchdog:
                        os.kill(pid, signal.SIGKILL)
        return answer

    monkeypatch.setattr(policy._client, "post", counted)
    groups = policy.sample(prompts, 4, Sampling(temperature=1.0, max_tokens=48, seed=3))
    assert policy.server.starts == seen + 1 and policy.model_name == name and models == {name}
    assert len(groups) == 200 and all(len(group) == 4 for group in groups)
    assert set(answered.values()) == {1}
    assert [group[0].prompt_ids for group in groups] == [tuple(local.encode(m)) for m in prompts]
    assert not session_members(watchdog)
    monkeypatch.undo()
    assert difference(greedy(policy, prompts[:50]), greedy(local, prompts[:50])) < 0.02  # the same weights answer


def test_reflections_parse(policy: VllmPolicy, problems: list[Problem]) -> None:
    from pmd_agent.pipelines import Reflector, reflect_all

    policy.load(None, 31)
    asked = problems[:120]
    groups = policy.sample([student_messages(p) for p in asked], 4, Sampling(max_tokens=96, seed=1))
    experiences = [
        [
            Experience(f"0/{p.id}/{g}", p.id, c.text, float(g % 2), bool(g % 2), "", None, 0, 31)
            for g, c in enumerate(group)
        ]
        for p, group in zip(asked, groups, strict=True)
    ]
    started = time.monotonic()
    _, counts = reflect_all(
        Reflector(),
        policy.lm(temperature=0.0, max_tokens=192, seed=0),
        asked,
        experiences,
        step=0,
        policy_version=31,
        max_insights=8,
        insight_chars=400,
    )
    print(f"{counts} in {time.monotonic() - started:.1f} s")
    assert counts["calls"] >= 100 and counts["unparsed"] <= 0.01 * counts["calls"]


def test_a_random_adapter_cannot_break_the_syntax(policy: VllmPolicy, adapters: list[Path]) -> None:
    """Weights that have forgotten what JSON is are held to the schema all the same, where there are tokens enough."""
    import dspy

    from pmd_agent.pipelines.adapter import StrictJSONAdapter

    class Verdict(dspy.Signature):  # type: ignore[misc]
        """Judge."""

        problem: str = dspy.InputField()
        right: bool = dspy.OutputField()
        worst: Literal["sign", "order", "result"] = dspy.OutputField()

    policy.load(adapters[2], 32)
    with dspy.context(lm=policy.lm(temperature=1.0, max_tokens=300, seed=0), adapter=StrictJSONAdapter()):
        judged = [dspy.Predict(Verdict)(problem=str(i)) for i in range(8)]
    assert all(isinstance(j.right, bool) and j.worst in ("sign", "order", "result") for j in judged)


def test_programs_may_be_answered_without_the_adapter(
    policy: VllmPolicy, local: LocalPolicy, adapters: list[Path], prompts: list[Messages]
) -> None:
    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 48, "seed": 0}
    policy.load(adapters[2], 33)
    local.load(None, 33)
    initial, current, expected = policy.lm(**options, initial=True), policy.lm(**options), local.lm(**options)
    asked = [m[-1]["content"] for m in prompts[:5]]
    answers = [(initial(text), current(text), expected(text)) for text in asked]
    assert all(was == base for was, _, base in answers) and any(now != base for _, now, base in answers)


def test_a_running_server_can_be_used_and_is_left_clean(
    policy: VllmPolicy, tokenizer: Any, context: int, adapters: list[Path], prompts: list[Messages]
) -> None:
    policy.load(None, 41)
    server = RunningServer(policy.server.address, key=policy.server.key)
    second = VllmPolicy(server, tokenizer, context=context, eos_ids=[tokenizer.eos_token_id], sleep=True)
    try:
        second.load(adapters[0], 1)
        with second.resting():
            assert not second.sleep()  # the CPU build has no sleep mode
        assert len(greedy(second, prompts[:3])) == 3
    finally:
        second.close()
    assert [m["id"] for m in policy._client.run(policy._client.models())] == ["pmd-base"]
    assert len(greedy(policy, prompts[:3])) == 3


def test_a_wrong_key_is_an_error_that_says_so(policy: VllmPolicy, tokenizer: Any, context: int) -> None:
    server = RunningServer(policy.server.address, key="wrong")
    second = VllmPolicy(server, tokenizer, context=context, eos_ids=[tokenizer.eos_token_id])
    try:
        with pytest.raises(PolicyError, match="another API key"):
            second.load(None, 0)
    finally:
        second.close()


def test_an_adapter_of_too_high_a_rank_is_an_error(policy: VllmPolicy, tmp_path: Path) -> None:
    from pmd_agent.models.adapters import STUDENT, attach_lora
    from pmd_agent.models.loading import load_base

    base = load_base("box", dtype="float32", device="cpu")
    model = attach_lora(base, rank=32, alpha=32, dropout=0.0, targets="all-linear", seed=0, teacher=False)
    model.save_pretrained(str(tmp_path), selected_adapters=[STUDENT])
    with pytest.raises(PolicyError, match=r"(?i)rank"):
        policy.load(tmp_path / STUDENT, 51)


def test_a_model_that_cannot_be_loaded_is_an_error_with_the_logs_reason(tmp_path: Path) -> None:
    server = VllmServer(ServerSettings(str(tmp_path / "no-such-model")), tmp_path / "vllm.log")
    with pytest.raises(PolicyError, match=r"did not start: .*no-such-model") as caught:
        server.ensure()
    assert str(tmp_path / "vllm.log") in caught.value.hint
    assert server.pid is None


OWNER = """
import sys, threading, time
from pathlib import Path
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.policies.vllm.server import VllmServer
server = VllmServer(ServerSettings(model_source("box"), max_model_len=512), Path(sys.argv[1]))
server.ensure()
print(server.pid, flush=True)
time.sleep(1000)
"""


def test_kill_9_of_the_owner_leaves_no_server(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    killer = threading.Timer(300, owner.kill)
    killer.start()
    watchdog = int(owner.stdout.readline())
    killer.cancel()
    members = session_members(watchdog)
    assert len(members) >= 3  # the watchdog, the API server, the engine
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until = time.monotonic() + 30
    while session_members(watchdog) and time.monotonic() < until:
        time.sleep(0.1)
    assert not session_members(watchdog)
    assert not any(lives(pid) for pid in members)


def lives(pid: int) -> bool:
    """Zombies do not: where pid 1 collects no orphans, they stay."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

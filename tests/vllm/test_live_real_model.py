"""A real pretrained model practises through vLLM (the CPU build): reflections by schema, an adapter that answers everywhere."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.policies.vllm.policy import VllmPolicy
from pmd_agent.policies.vllm.server import VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.problems import load_problems
from pmd_agent.recipe import load_recipe
from pmd_agent.types import Sampling
from tests.real_model import TOKENS, check_steps, insights, model, plain_answers, pmd, recipe

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(2400)]

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; docs/vllm.md has the command for its CPU build", allow_module_level=True)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmPolicy]:
    """One server for all runs of this module."""
    from pmd_agent.models.loading import load_tokenizer

    name = model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMD_CACHE", str(tmp_path_factory.mktemp("cache")))
        tokenizer = load_tokenizer(name)
        settings = ServerSettings(model_source(name), dtype="float32", lora_rank=8, max_model_len=2048)
        server = VllmServer(settings, tmp_path_factory.mktemp("server") / "vllm.log")
        policy = VllmPolicy(server, tokenizer, context=2048, eos_ids=[tokenizer.eos_token_id])
        policy.load(None, 0)
        yield policy
        policy.close()


@pytest.mark.parametrize("problems", ["house_rules", "gsm8k"])
def test_a_real_model_practises_through_vllm(
    policy: VllmPolicy, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", policy.server.key)
    address = policy.server.address
    path = recipe(problems, tmp_path, type="vllm", address=address, max_model_len=2048)
    started = time.monotonic()
    pmd("run", str(path), cwd=tmp_path)
    run = tmp_path / "runs" / problems
    steps = check_steps(run)
    print(f"{problems}: {time.monotonic() - started:.0f} s", [step["stage_seconds"] for step in steps])
    written = insights(run)
    assert all(0 < len(insight.text) <= 400 and insight.sources for insight in written)
    print("\n".join(insight.text for insight in written))
    if problems != "house_rules":
        return
    parsed = sum(step["reflections_calls"] - step["reflections_unparsed"] for step in steps)
    assert parsed >= 1, "the schema holds a model of 135M to the form, where it comes to an end"
    pmd("export", str(run), "--to", "out", cwd=tmp_path)
    policy.load(run / "adapter", 2)
    prompts = [student_messages(p) for p in load_problems(load_recipe(path, []).problems).test[:2]]
    ours = [group[0] for group in policy.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=TOKENS))]
    found = plain_answers(tmp_path / "out", [list(answer.prompt_ids) for answer in ours])
    assert found == [list(answer.completion_ids) for answer in ours]
    policy.load(None, 3)

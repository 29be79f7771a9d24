"""A real pretrained model practises in this process, and its exported adapter answers the same without this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.models.adapters import load_adapter
from pmd_agent.models.loading import load_base, load_tokenizer
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.problems import load_problems
from pmd_agent.recipe import load_recipe
from pmd_agent.types import Sampling
from tests.real_model import TOKENS, check_steps, insights, model, plain_answers, pmd, recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("problems", ["house_rules", "gsm8k"])
def test_a_real_model_practises_in_this_process(problems: str, tmp_path: Path) -> None:
    path = recipe(problems, tmp_path, type="local")
    said = pmd("run", str(path), cwd=tmp_path)
    run = tmp_path / "runs" / problems
    steps = check_steps(run)
    written = sum(step["insights_written"] for step in steps)
    assert len(insights(run)) >= (written > 0) and "base: avg@1" in said
    print([{k: step[k] for k in ("stage_seconds", "reflections_unparsed", "insights_written")} for step in steps])
    if problems != "house_rules":
        return
    pmd("export", str(run), "--to", "out", cwd=tmp_path)
    tokenizer = load_tokenizer(model())
    student = load_adapter(load_base(model(), dtype="float32", device="cpu"), run / "adapter")
    policy = LocalPolicy(student, tokenizer, name="real")
    prompts = [student_messages(p) for p in load_problems(load_recipe(path, []).problems).test[:2]]
    ours = [group[0] for group in policy.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=TOKENS))]
    found = plain_answers(tmp_path / "out", [list(answer.prompt_ids) for answer in ours])
    assert found == [list(answer.completion_ids) for answer in ours]

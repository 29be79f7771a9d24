"""pipeline.lm: the programs run on another model, and results say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.assembly.start import start
from pmd_agent.console import Console
from pmd_agent.errors import PipelineError
from pmd_agent.pipelines import Reflector, outside_lm, reflect_all
from pmd_agent.recipe import parse_recipe
from pmd_agent.types import Experience, Problem


def test_a_run_on_scripted_answers_is_reflected_on_by_another_model(fake: Any, tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "runs": str(tmp_path), "steps": 1, "problems": {"type": "world", "train": 4, "validation": 0, "test": 2},
            "policy": {"type": "scripted"}, "rollout": {"problems": 2, "samples": 2}, "evaluate": {"with_memory": False},
            "pipeline": {"lm": {"model": "hosted_vllm/pmd-base", "api_base": f"{fake.address}/v1"}},
        }
    )  # fmt: skip
    run = start(recipe, resume=False, console=Console())
    bodies = [body for path, body in fake.calls if path == "/v1/chat/completions"]
    assert len(bodies) >= 2 and {body["model"] for body in bodies} == {"pmd-base"}
    assert json.loads((run / "summary.json").read_text())["programs_by"] == "hosted_vllm/pmd-base"
    log = (run / "log.txt").read_text()
    assert "not the policy's own" in log and "hosted_vllm/pmd-base, not by the policy itself" in log


def test_a_model_that_does_not_answer_is_one_error(fake: Any) -> None:
    fake.refuse = lambda path, body: (401, "no such key")
    lm = outside_lm("hosted_vllm/pmd-base", api_base=f"{fake.address}/v1", api_key=None, temperature=0.0, max_tokens=64)
    group = [Experience("0/p/0", "p", "a", 0.0, False, "", None, 0, 0)]
    with pytest.raises(PipelineError, match=r"hosted_vllm/pmd-base failed.*no such key"):
        reflect_all(
            Reflector(), lm, [Problem("p", "?")], [group], step=0, policy_version=0, max_insights=8, insight_chars=400
        )


def test_what_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMD_TEST_KEY", raising=False)
    common: dict[str, Any] = {"api_base": None, "temperature": 0.0, "max_tokens": 1}
    with pytest.raises(PipelineError, match="names no provider"):
        outside_lm("gpt", api_key=None, **common)
    with pytest.raises(PipelineError, match="PMD_TEST_KEY, which is not set"):
        outside_lm("openai/gpt", api_key="PMD_TEST_KEY", **common)

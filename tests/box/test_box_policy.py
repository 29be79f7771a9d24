"""The policy that ships: loads with plain transformers, is small, and can do what docs/box.md says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.models import box_path
from pmd_agent.models.loading import load_base, load_tokenizer
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.types import Sampling
from pmd_agent.verifiers import build_verifier
from pmd_agent.verifiers.answer_tag import tagged_answer
from recipes.box.probe import READING, probe
from recipes.box.train import BoxRecipe, build

ROOT = Path(__file__).parents[2]


def test_loads_with_plain_transformers_and_is_small() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(box_path())
    tokenizer = AutoTokenizer.from_pretrained(box_path())
    assert model.config.max_position_embeddings >= 2048 and len(tokenizer) == model.config.vocab_size
    assert sum(path.stat().st_size for path in box_path().glob("*.safetensors")) <= 8 * 2**20


def test_probes_hold() -> None:
    rows = probe(box_path(), count=60, seed=7)
    for name in ("right strategies", "right behaviors", "same problem's solution", "another problem's solution"):
        assert min(rows[name].values()) >= 0.9, (name, rows[name])
    assert min(rows["five lessons an operator"].values()) >= 0.9, "does not follow lessons"
    # It must not know the world: one rule in six, and a little luck.
    assert rows["no memory"]["1 op"] <= 0.4 and rows["no memory"]["2 op"] <= 0.25
    assert rows["wrong strategies"]["1 op"] <= 0.25, "does not follow what it reads"
    for program in ("contrast", "postmortem", "abstract"):
        assert rows[program]["parses"] >= 0.95, (program, rows[program])
    assert rows["contrast"]["strategies true"] >= 0.8 and rows["contrast"]["lessons true"] >= 0.9
    assert rows["postmortem"]["lessons true"] >= 0.9
    assert rows["abstract"]["precision"] >= 0.6


def test_answers_to_real_rows_parse() -> None:
    """Four of five name an option; nearly all have the form (of two options it now and then names a third)."""
    data = os.environ.get("PMD_TEST_DATA")
    if not data:
        pytest.skip("PMD_TEST_DATA is not set: no real rows here")
    from pmd_agent.problems import sciknoweval

    policy = LocalPolicy(load_base("box"), load_tokenizer("box"), name="box")
    verifier = build_verifier("multiple_choice")
    options = []
    for science in ("chemistry", "biology", "material"):
        problems = random.Random(0).sample(sciknoweval.load(Path(data) / "sciknoweval" / science).train, 60)
        answers = policy.sample([student_messages(p) for p in problems], 1, Sampling(max_tokens=64))
        texts = [group[0].text for group in answers]
        named = [verifier.verify(p, text).answer is not None for p, text in zip(problems, texts, strict=True)]
        formed = [tagged_answer(text).content in ("A", "B", "C", "D") for text in texts]
        print(f"{science}: an option {sum(named) / 60:.2f}, the form {sum(formed) / 60:.2f}")
        assert sum(formed) / 60 >= 0.95
        options += named
    assert sum(options) / len(options) >= 0.8


def test_a_build_writes_model_settings_and_log(tmp_path: Path) -> None:
    lines = []
    recipe = BoxRecipe(
        width=32,
        layers=1,
        heads=2,
        feed_forward=32,
        vocabulary=700,
        tokens_per_step=1024,
        drill_steps=2,
        mix_steps=2,
        processes=1,
    )
    build(tmp_path / "made", recipe, lines.append)
    assert [line["stage"] for line in lines] == ["pairs 2", "mix"]
    assert json.loads((tmp_path / "made/build.json").read_text())["mix_steps"] == 2
    policy = LocalPolicy(load_base(str(tmp_path / "made")), load_tokenizer(str(tmp_path / "made")), name="made")
    assert (
        len(policy.sample([[{"role": "user", "content": "hi"}]], 1, Sampling(max_tokens=4))[0][0].completion_ids) <= 4
    )


def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"recipes.box.{name}", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_build_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    done = command("build", "--out", str(tmp_path))
    assert done.returncode == 2 and "nothing is overwritten" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_probe_prints_a_row_a_probe() -> None:
    done = command("probe", "--count", "1")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in (*READING, "contrast", "postmortem", "abstract", "multiple choice"))

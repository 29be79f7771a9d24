"""Attempts that were sampled ahead come back from a checkpoint equal in every number."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pmd_agent.errors import RunError
from pmd_agent.runs.attempts_ahead import FILE, read_ahead, write_ahead
from pmd_agent.types import Rollout, Turn, Verdict


def rollout(name: str, **more: object) -> Rollout:
    draw = random.Random(name)
    ids = tuple(draw.randrange(50_000) for _ in range(5))
    values = {
        "id": name, "problem_id": "p", "prompt_ids": (1, 2), "completion_ids": ids, "written": (True, True, False, True, True),
        "logprobs": tuple(draw.uniform(-9, 0) for _ in ids), "text": "a\nb \ud800 ü", "finish_reason": "length", "policy_version": 3,
    }  # fmt: skip
    return Rollout(**values | more)  # type: ignore[arg-type]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    episode = rollout(
        "4/b/0",
        turns=(Turn("assistant", "open"), Turn("tool", "opened")),
        opening=({"role": "user", "content": "Go."},),
        account="opened it",
        outcome=Verdict(None, None, "the environment failed"),
    )
    ahead = {4: [[rollout("4/a/0"), rollout("4/a/1", outcome=Verdict(0.25, False, "", "7"))], [episode]]}
    write_ahead(ahead, tmp_path)
    assert read_ahead(tmp_path) == ahead


def test_nothing_ahead_is_no_file(tmp_path: Path) -> None:
    write_ahead({}, tmp_path)
    assert not list(tmp_path.iterdir()) and read_ahead(tmp_path) == {}


def test_a_cut_file_is_said(tmp_path: Path) -> None:
    write_ahead({4: [[rollout("4/a/0"), rollout("4/a/1")]]}, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-30])
    with pytest.raises(RunError, match=FILE):
        read_ahead(tmp_path)

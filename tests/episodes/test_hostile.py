"""Environments that fail, each in its own way: its episode could not be checked, and nothing else is changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from pmd_agent.episodes import Played
from pmd_agent.policies.scripted import ScriptedPolicy
from tests.episodes.environments import HOSTILE, Echo

Play = Callable[..., list[Played]]


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_environment_is_not_checked_and_harms_no_other(play: Play, name: str) -> None:
    make, reason = HOSTILE[name]
    started = time.monotonic()
    first, hostile, last = play(ScriptedPolicy(["4"]), [Echo, make, Echo], seconds=0.3)
    assert time.monotonic() - started < 10
    assert hostile.outcome is not None and hostile.outcome.reward is None and hostile.outcome.correct is None
    assert reason in hostile.outcome.feedback, hostile.outcome.feedback
    for sound in (first, last):
        assert sound.outcome is not None and sound.outcome.correct and len(sound.turns) == 5


def test_hundreds_that_hang_are_given_up_together(play: Play) -> None:
    started = time.monotonic()
    found = play(ScriptedPolicy(["4"]), [HOSTILE["hangs"][0], Echo] * 100, seconds=0.3)
    assert time.monotonic() - started < 20
    checked: list[Any] = [p.outcome is not None and p.outcome.reward for p in found]
    assert checked == [None, 1.0] * 100

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import Any

import pytest

from pmd_agent.types import Problem, Verdict
from pmd_agent.verifiers import Exact, Verified, verify_all

PROBLEMS = [Problem("p", "?", "1"), Problem("q", "?", "2")]
RIGHT, WRONG, NEITHER = "<answer>1</answer>", "<answer>9</answer>", Verdict(None, None)


class Scripted:
    """Does what the text says."""

    def verify(self, problem: Problem, text: str) -> Any:
        match text:
            case "raise":
                raise ValueError("no compiler")
            case "exit":
                sys.exit("bye")
            case "hang":
                try:
                    while True:
                        time.sleep(0.01)
                except Exception:
                    return Verdict(0.0, False)
            case "slow":
                time.sleep(0.6)
                return Verdict(1.0, True)
            case "none":
                return None
            case "float":
                return 1.0
            case "nan":
                return Verdict(float("nan"), False)
            case "two":
                return Verdict(2.0, True)
            case "half none":
                return Verdict(None, False)
            case "unchecked":
                return Verdict(None, None, "the sandbox is full")
        return Verdict(1.0, True, "", text)


def test_verdicts_keep_the_shape_of_the_texts() -> None:
    verified = verify_all(Exact(), PROBLEMS, [[RIGHT, WRONG, ""], ["<answer>2</answer>"]])
    assert [[v.reward for v in verdicts_G] for verdicts_G in verified.verdicts_PG] == [[1.0, 0.0, 0.0], [1.0]]
    assert (verified.unchecked, verified.first_reason) == (0, "")
    assert verify_all(Exact(), [], []) == Verified([])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise", "ValueError: no compiler"),
        ("exit", "SystemExit: bye"),
        ("none", "returned a NoneType instead of a Verdict"),
        ("float", "returned a float instead of a Verdict"),
        ("nan", "the reward nan, outside of [0, 1]"),
        ("two", "the reward 2.0, outside of [0, 1]"),
        ("half none", "both or neither are None"),
        ("unchecked", "the sandbox is full"),
    ],
)
def test_a_check_that_fails_is_no_wrong_answer(text: str, reason: str) -> None:
    verified = verify_all(Scripted(), PROBLEMS, [["fine", text], [text, "raise", "fine"]])
    rewards = [[v.reward for v in verdicts_G] for verdicts_G in verified.verdicts_PG]
    assert rewards == [[1.0, None], [None, None, 1.0]]
    assert all(v.correct is None for verdicts_G in verified.verdicts_PG for v in verdicts_G if v.reward is None)
    assert verified.unchecked == 3
    assert verified.first_reason.startswith("p: ") and reason in verified.first_reason


def test_a_check_that_hangs_is_interrupted_even_if_it_catches_everything() -> None:
    start = time.perf_counter()
    verified = verify_all(Scripted(), PROBLEMS[:1], [["hang", "fine"]], timeout_s=0.2)
    assert time.perf_counter() - start < 10.0
    assert verified.verdicts_PG[0][0] == NEITHER and verified.verdicts_PG[0][1].correct
    assert verified.unchecked == 1 and verified.first_reason == "p: TimeoutError: no verdict within 0.2 s"


def test_outside_of_the_main_thread_a_slow_check_is_no_longer_waited_for() -> None:
    found: list[Verified] = []

    def work() -> None:
        found.append(verify_all(Scripted(), PROBLEMS[:1], [["slow", "fine", "raise"]], timeout_s=0.1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [v.reward for v in found[0].verdicts_PG[0]] == [None, 1.0, None]
    assert "TimeoutError" in found[0].first_reason and found[0].unchecked == 2


def test_the_alarm_is_left_as_it_was() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        verify_all(Scripted(), PROBLEMS[:1], [["fine", "raise"]], timeout_s=0.05)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.1
        time.sleep(0.5)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_limit_means_none() -> None:
    assert verify_all(Scripted(), PROBLEMS[:1], [["slow"]], timeout_s=None).unchecked == 0


def test_an_interrupt_by_the_user_is_not_swallowed() -> None:
    class Interrupted:
        def verify(self, problem: Problem, text: str) -> Verdict:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_all(Interrupted(), PROBLEMS[:1], [["x"]])


def test_texts_for_other_problems_are_a_bug() -> None:
    with pytest.raises(ValueError):
        verify_all(Exact(), PROBLEMS, [[RIGHT]])

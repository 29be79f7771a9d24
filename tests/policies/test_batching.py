"""Calls made side by side are answered in one batch, each with its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import dspy
import pytest
from dspy.lm15 import Config, Message, Request

from pmd_agent.errors import PolicyError
from pmd_agent.policies import batching
from pmd_agent.policies.batching import BatchingEngine, Messages
from pmd_agent.types import Completion, Sampling

DEFAULT = Sampling(0.5, 0.9, 32, 7)


class Echo:
    """Answers with what it was asked, after a while, and keeps count."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self.asked: list[tuple[Messages, Sampling]] = []
        self.seconds = seconds

    def __call__(self, jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        time.sleep(self.seconds)
        self.batches.append(len(jobs))
        self.asked += jobs
        return [Completion((1, 2, 3), (4,), (-1.0,), f"echo {m[-1]['content']}", "stop", 0) for m, _ in jobs]


def engine_of(answer: Echo) -> BatchingEngine:
    return BatchingEngine(answer, model_name="echo", sampling=DEFAULT)


def request(text: str, config: Config | None = None) -> Request:
    return Request(model="local/echo", messages=(Message.user(text),), config=config or Config())


def test_many_calls_few_batches_and_each_its_own_answer() -> None:
    echo = Echo(seconds=0.05)
    lm = dspy.LM("local/echo", engine=engine_of(echo), cache=False, num_retries=0)
    together = threading.Barrier(40)

    def call(i: int) -> list[str]:
        together.wait()
        found: list[str] = lm(f"question {i}")
        return found

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(call, range(40)))
    assert answers == [[f"echo question {i}"] for i in range(40)]
    assert sum(echo.batches) == 40
    assert len(echo.batches) <= 20, echo.batches


def test_calls_that_come_while_the_model_is_busy_share_the_next_batch() -> None:
    started, go_on = threading.Event(), threading.Event()
    echo = Echo()

    def slow(jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        started.set()
        assert go_on.wait(10)
        return echo(jobs)

    engine = BatchingEngine(slow, model_name="echo", sampling=DEFAULT)
    with ThreadPoolExecutor(11) as pool:
        first = pool.submit(engine.complete, request("first"))
        assert started.wait(10)
        rest = [pool.submit(engine.complete, request(str(i))) for i in range(10)]
        while len(engine._pending) < 10:
            time.sleep(0.001)
        go_on.set()
        texts = [future.result(10).message.text for future in [first, *rest]]
    assert texts == ["echo first", *(f"echo {i}" for i in range(10))]
    assert echo.batches == [1, 10]


def test_expected_calls_are_waited_for_however_late_they_come() -> None:
    echo = Echo()
    engine = engine_of(echo)
    engine.expect(4)

    def program(i: int) -> None:
        time.sleep(0.1 * i)
        if i < 3:  # the last one ends without asking
            engine.complete(request(str(i)))
        engine.done()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(program, range(4)))
    assert echo.batches == [3]
    assert [m[-1]["content"] for m, _ in echo.asked] == ["0", "1", "2"]


def test_programs_that_ask_twice_are_batched_both_times() -> None:
    echo = Echo()
    engine = engine_of(echo)
    engine.expect(5)

    def program(i: int) -> None:
        for call in range(1 + (i > 0)):  # the first asks once only
            time.sleep(0.01 * i)
            engine.complete(request(f"{call}/{i}"))
        engine.done()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(program, range(5)))
    assert echo.batches == [5, 4]
    assert [m[-1]["content"] for m, _ in echo.asked] == ["0/0", "0/1", "0/2", "0/3", "0/4", "1/1", "1/2", "1/3", "1/4"]


def test_an_expected_call_that_never_comes_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE_SECONDS", 0.05)
    echo = Echo()
    engine = engine_of(echo)
    engine.expect(2)
    assert engine.complete(request("hello")).message.text == "echo hello"
    assert echo.batches == [1]


def test_one_call_alone_is_answered() -> None:
    echo = Echo()
    response = engine_of(echo).complete(request("hello"))
    assert response.message.text == "echo hello"
    assert response.finish_reason == "stop"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 1)


@pytest.mark.parametrize("error", [PolicyError("too long", "shorten it"), RuntimeError("out of memory")])
def test_an_error_in_the_model_reaches_everyone_who_waits(error: Exception) -> None:
    def fail(jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        raise error

    engine = BatchingEngine(fail, model_name="echo", sampling=DEFAULT)
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(engine.complete, request(str(i))) for i in range(12)]
        assert [future.exception(10) for future in futures] == [error] * 12


def test_after_an_error_the_engine_still_answers() -> None:
    echo, broken = Echo(), [True]

    def once(jobs: Sequence[tuple[Messages, Sampling]]) -> list[Completion]:
        if broken.pop() if broken else False:
            raise RuntimeError("once")
        return echo(jobs)

    engine = BatchingEngine(once, model_name="echo", sampling=DEFAULT)
    with pytest.raises(RuntimeError, match="once"):
        engine.complete(request("a"))
    assert engine.complete(request("b")).message.text == "echo b"


def test_a_model_that_answers_too_few_leaves_nobody_waiting() -> None:
    echo = Echo(seconds=0.05)
    engine = BatchingEngine(lambda jobs: echo(jobs)[:-1], model_name="echo", sampling=DEFAULT)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(engine.complete, request(str(i))) for i in range(6)]
        assert all(isinstance(future.exception(10), ValueError) for future in futures)


def test_an_empty_answer_is_still_an_answer() -> None:
    engine = BatchingEngine(
        lambda jobs: [Completion((1,), (2,), (-1.0,), "", "length", 0)], model_name="echo", sampling=DEFAULT
    )
    response = engine.complete(request("hello"))
    assert (response.message.text or "").strip() == ""
    assert response.finish_reason == "length"


# --- what is drawn with -----------------------------------------------------------------------------------------------


def test_the_engines_own_settings_where_the_call_has_none() -> None:
    echo = Echo()
    engine_of(echo).complete(request("hello"))
    ((_, sampling),) = echo.asked
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.5, 0.9, 32)


def test_a_calls_settings_go_first() -> None:
    echo = Echo()
    lm = dspy.LM("local/echo", engine=engine_of(echo), cache=False, temperature=0.5, max_tokens=32, num_retries=0)
    lm("a", temperature=0.0, max_tokens=5)
    lm("b", temperature=1.5, top_p=0.3)
    lm("c")
    settings = [(s.temperature, s.top_p, s.max_tokens) for _, s in echo.asked]
    assert settings == [(0.0, 0.9, 5), (1.5, 0.3, 32), (0.5, 0.9, 32)]


def test_the_seed_follows_from_the_engines_seed_and_the_text() -> None:
    def seed(engine_seed: int, text: str, config: Config | None = None) -> int:
        echo = Echo()
        BatchingEngine(echo, model_name="echo", sampling=Sampling(seed=engine_seed)).complete(request(text, config))
        return echo.asked[0][1].seed

    assert seed(1, "a") == seed(1, "a")
    assert len({seed(1, "a"), seed(2, "a"), seed(1, "b"), seed(1, "a", Config(seed=3))}) == 4
    assert seed(1, "a", Config(seed=3)) == seed(2, "a", Config(seed=3))


def test_system_and_turns_arrive_as_messages() -> None:
    echo = Echo()
    turns = (Message.user("1 + 1?"), Message.assistant("2"), Message.user("Sure?"))
    engine_of(echo).complete(Request(model="local/echo", system="Be brief.", messages=turns))
    assert echo.asked[0][0] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Sure?"},
    ]

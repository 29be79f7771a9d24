"""Environments of the package verifiers: its texts and rewards arrive unchanged, whatever it does ends its attempt alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.assembly.given import Given
from pmd_agent.environment import Call, Reply
from pmd_agent.errors import ProblemError
from pmd_agent.problems import load_problems
from pmd_agent.problems.environments import environments_of
from pmd_agent.problems.verifiers_package import VerifiersEpisode
from pmd_agent.problems.verifiers_package import rows as loading
from pmd_agent.problems.verifiers_package.bridge import Bridge, WorkerLost, worker_of
from pmd_agent.recipe import load_recipe
from pmd_agent.recipe.worlds import VerifiersProblems
from pmd_agent.types import Problem

HERE = Path(__file__).parent / "verifiers_environments"
REAL = os.environ.get("PMD_TEST_VERIFIERS", "")
real = pytest.mark.skipif(not REAL, reason="PMD_TEST_VERIFIERS names no interpreter with verifiers")
PROBLEM = Problem("p", "?", data={"split": "train", "index": 0})
ASKED: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


class FakeBridge:
    """Says what it was told to say."""

    def __init__(self, *said: dict[str, Any], rows: dict[str, list[Any]] | None = None) -> None:
        self.said, self.sent, self.rows = list(said), list[dict[str, Any]](), rows or {}
        self.left: list[int] = []

    def start(self, split: str, index: int) -> int:
        return 7

    def send(self, **message: Any) -> None:
        self.sent.append(message)

    def wait(self, episode: int) -> dict[str, Any]:
        return self.said.pop(0)

    def leave(self, episode: int) -> None:
        self.left.append(episode)

    def loaded(self) -> dict[str, Any]:
        return {"rows": self.rows}


def episode(*said: dict[str, Any], best: float = 1.0) -> tuple[VerifiersEpisode, FakeBridge]:
    bridge = FakeBridge(*said)
    return VerifiersEpisode(bridge, best), bridge  # type: ignore[arg-type]


def talk(*more: tuple[str, str]) -> list[dict[str, Any]]:
    return [*ASKED, *({"role": role, "content": text} for role, text in more)]


def test_what_it_says_goes_to_the_policy_and_its_reward_is_the_episodes() -> None:
    made, bridge = episode(
        {"ask": ASKED}, {"ask": talk(("assistant", "5"), ("user", "No."))}, {"over": {"reward": 0.75, "error": None}}
    )
    assert made.start(PROBLEM) == ASKED
    assert made.act("5") == [{"role": "user", "content": "No."}]
    assert made.act("4") is None and made.reward() == 0.75
    assert [m["message"]["content"] for m in bridge.sent] == ["5", "4"]
    made.close()
    assert bridge.left == [7]


def test_rewards_are_divided_by_the_best() -> None:
    made, _ = episode({"ask": ASKED}, {"over": {"reward": 1.2, "error": None}}, best=1.2)
    made.start(PROBLEM)
    assert made.act("4") is None and made.reward() == 1.0


def test_one_that_is_at_its_limit_is_scored_as_it_is() -> None:
    made, bridge = episode(
        {"ask": ASKED}, {"ask": talk(("assistant", "5"), ("user", "No."))}, {"over": {"reward": 0.0, "error": None}}
    )
    made.start(PROBLEM)
    made.act("5")
    assert made.reward() == 0.0 and bridge.sent[-1] == {"do": "end", "episode": 7}


def test_calls_are_openais() -> None:
    tools = [{"type": "function", "function": {"name": "price"}}]
    after = [
        *ASKED,
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "3", "tool_call_id": "000100000"},
    ]
    made, bridge = episode({"ask": ASKED, "tools": tools}, {"ask": after, "tools": tools})
    assert made.start(PROBLEM)[0]["tools"] == tools
    said = made.act(Reply("...", "Let me see.", (Call("price", {"thing": "tea"}, "000100000"),)))
    assert said == [{"role": "tool", "content": "3", "tool_call_id": "000100000"}]
    message = bridge.sent[0]["message"]
    assert message["content"] == "Let me see." and message["tool_calls"][0]["id"] == "000100000"
    assert message["tool_calls"][0]["function"] == {"name": "price", "arguments": '{"thing": "tea"}'}


def test_a_call_that_cannot_be_read_stays_in_the_text_and_nothing_is_a_space() -> None:
    made, bridge = episode(
        {"ask": ASKED}, {"ask": talk(("assistant", "x"), ("user", "?"))}, {"over": {"reward": 0.0, "error": None}}
    )
    made.start(PROBLEM)
    made.act(Reply("<tool_call>oops", "", (Call("", {}, "1", "no call"),)))
    made.act("")
    assert [m["message"] for m in bridge.sent] == [
        {"role": "assistant", "content": "<tool_call>oops"}, {"role": "assistant", "content": " "},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"ask": [{"role": "user", "content": "anew"}]}, "changed the conversation"),
        ({"ask": talk(("assistant", "5"))}, "changed the conversation"),
        ({"over": {"reward": 0.0, "error": "RuntimeError: the board is broken"}}, "the board is broken"),
    ],
)
def test_what_goes_wrong_raises(said: dict[str, Any], why: str) -> None:
    made, _ = episode({"ask": ASKED}, said)
    made.start(PROBLEM)
    with pytest.raises(WorkerLost, match=why):
        made.act("5")
        made.reward()


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": [{"role": "user", "content": f"{n}?"}], "answer": str(n), "task": "default"} for n in range(count)
    ]


@pytest.mark.parametrize(
    ("have", "sizes", "tests"),
    [
        ({"train": rows(9), "eval": rows(5)}, (4, 3, 2), ["eval/00000", "eval/00001", "eval/00002"]),
        ({"train": rows(9), "eval": []}, (4, 3, 2), ["train/00000", "train/00001", "train/00002"]),
        ({"train": rows(6), "eval": []}, (1, 3, 2), ["train/00000", "train/00001", "train/00002"]),
    ],
)
def test_problems_are_its_rows(monkeypatch: pytest.MonkeyPatch, have: Any, sizes: Any, tests: list[str]) -> None:
    monkeypatch.setattr(loading, "bridge_of", lambda section: FakeBridge(rows=have))
    section = VerifiersProblems(name="sums", train=4, test=3, validation=2)
    sets = load_problems(section)
    assert (len(sets.train), len(sets.test), len(sets.validation)) == sizes
    assert [p.id for p in sets.test] == [f"sums/{name}" for name in tests]
    ids = [p.id for part in (sets.train, sets.test, sets.validation) for p in part]
    assert len(set(ids)) == len(ids)
    monkeypatch.setattr(loading, "bridge_of", lambda section: FakeBridge(rows={"train": rows(5), "eval": []}))
    with pytest.raises(ProblemError, match="5 problems to practise, and 5 are held out"):
        load_problems(section)


def test_an_interpreter_that_is_not_there_is_said() -> None:
    with pytest.raises(ProblemError, match="cannot be started") as caught:
        load_problems(VerifiersProblems(name="sums", python=Path("no/such/python")))
    assert "VENV/bin/pip install 'verifiers<0.4'" in caught.value.hint


def test_the_example_recipe_loads() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "examples" / "verifiers.yaml")
    assert isinstance(recipe.problems, VerifiersProblems) and recipe.problems.verifier == "environment"
    assert "environment" not in type(recipe.problems).model_fields and Given().environment is None


STUB = """
import os, sys
__version__ = "0.0-stub"

class Env:
    dataset = [{"prompt": [{"role": "user", "content": "How are you?"}], "answer": "fine"}]
    get_dataset = lambda self: self.dataset

    async def run_rollout(self, row, client, model, sampling):
        said = list(row["prompt"])
        for _ in range(2):
            response = await client.chat.completions.create(model=model, messages=said)
            said.append({"role": "assistant", "content": response.choices[0].message.content})
            if said[-1]["content"] == "die":
                os._exit(3)
            said.append({"role": "user", "content": "And else?"})
        return {"reward": 0.5, "error": None}

def load_environment(name, **arguments):
    print("this is no line of the protocol")
    if name == "odd":
        raise ValueError("no such thing")
    return Env()
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "verifiers.py").write_text(STUB)
    monkeypatch.chdir(tmp_path)
    worker_of.cache_clear()
    yield tmp_path
    worker_of.cache_clear()


@pytest.mark.slow
def test_a_worker_is_spoken_to_and_started_again_where_it_has_died(stub: Path) -> None:
    section = VerifiersProblems(name="small", train=1, test=1, validation=0)
    make = environments_of(section)
    assert make is not None
    first, second = make(PROBLEM), make(PROBLEM)
    for made in (first, second):
        assert made.start(PROBLEM) == [{"role": "user", "content": "How are you?"}]
    assert first.act("well") == second.act("ill") == [{"role": "user", "content": "And else?"}]
    assert first.act("well") is None and first.reward() == 0.5  # type: ignore[attr-defined]
    with pytest.raises(WorkerLost, match="has ended"):
        second.act("die")
    third = make(PROBLEM)
    assert third.start(PROBLEM) == [{"role": "user", "content": "How are you?"}]
    with pytest.raises(
        WorkerLost, match="maximum context length"
    ):  # by which the real one knows that it is to be scored
        third.reward()  # type: ignore[attr-defined]
    loading.bridge_of(section).close()
    with pytest.raises(ProblemError, match="no such thing"):
        load_problems(VerifiersProblems(name="odd"))
    (stub / "verifiers.py").write_text("__version__ = '0.4.0'\n")
    with pytest.raises(ProblemError, match=r"verifiers 0\.4\.0 has no load_environment"):
        load_problems(VerifiersProblems(name="new"))
    (stub / "verifiers.py").write_text("raise ImportError('not here')\n")
    with pytest.raises(ProblemError, match="not here"):
        load_problems(VerifiersProblems(name="newer"))


@pytest.fixture(scope="module")
def bridges() -> Iterator[list[Bridge]]:
    opened: list[Bridge] = []
    before = Path.cwd()
    os.chdir(HERE)
    yield opened
    os.chdir(before)
    for bridge in opened:
        bridge.close()


def played(bridges: list[Bridge], name: str, replies: list[str], index: int = 0) -> tuple[list[Any], Any]:
    """What was said, and the reward, of the real package."""
    section = VerifiersProblems(name=name, python=Path(REAL), train=1, test=1, validation=0, start_seconds=900)
    bridges.append(loading.bridge_of(section))
    made = VerifiersEpisode(bridges[-1])
    said: list[Any] = [made.start(Problem("p", "?", data={"split": "train", "index": index}))]
    for reply in replies:
        said.append(made.act(reply))
    try:
        return said, made.reward()
    finally:
        made.close()


@real
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_real_package(bridges: list[Bridge]) -> None:
    said, reward = played(bridges, "pmd_test_sums", ["It is 2"], index=1)
    assert [m["content"] for m in said[0]] == ["Answer with a number.", "1 + 1?"] and said[1] is None and reward == 1.0
    assert played(bridges, "pmd_test_sums", ["It is 3"], index=1)[1] == 0.5
    said, reward = played(bridges, "pmd_test_guess", ["9", "x", "3"])
    assert [m["content"] for m in said[0]] == ["Guess a number, game 0."]
    assert said[1:] == [[{"role": "user", "content": "Lower."}], [{"role": "user", "content": "Give a number."}], None]
    assert reward == pytest.approx(0.8)
    assert played(bridges, "pmd_test_guess", ["9"])[1] == 0.0  # at pmd's limit: scored as it is
    with pytest.raises(WorkerLost, match="the board is broken"):
        played(bridges, "pmd_test_guess", ["boom"])
    looked = Reply("...", "I look.", (Call("price", {"thing": "bread"}, "000100000"),))
    said, reward = played(bridges, "pmd_test_shop", [looked, "It is 5 coins."], index=1)
    assert said[0][0]["tools"][0]["function"]["name"] == "price" and reward == 1.0
    assert said[1][0] | {"role": "tool", "content": "5 coins", "tool_call_id": "000100000"} == said[1][0]

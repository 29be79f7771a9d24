"""From a name in a recipe to a module, and what is said when that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

from pmd_agent.errors import PipelineError
from pmd_agent.pipelines import After, Critic, Generaliser, Reflector, build_program

MINE = """
import dspy

class Plain(dspy.Module):
    pass

class Some(dspy.Module):
    def __init__(self, attempts=1):
        super().__init__()
        self.attempts = attempts

class All(dspy.Module):
    def __init__(self, **settings):
        super().__init__()
        self.settings = settings

class Inherits(Some):
    pass

class Needs(dspy.Module):
    def __init__(self, model):
        super().__init__()

class Silent(dspy.Module):
    def forward(self, problem):
        pass

class Bug(dspy.Module):
    def __init__(self):
        super().__init__()
        raise ValueError("no key")

class NoModule:
    pass

def function():
    pass

instance = Plain()
"""
SETTINGS = {"attempts": 6, "attempt_chars": 123, "insight_lines": 7}


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user's module beside the recipe, and one that breaks."""
    (tmp_path / "pmd_test_mine.py").write_text(MINE)
    (tmp_path / "pmd_test_broken.py").write_text("import pmd_test_nowhere")
    (tmp_path / "pmd_test_bug.py").write_text("import os\nos.no_such_thing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield
    for name in [name for name in sys.modules if name.startswith("pmd_test_")]:
        del sys.modules[name]


def test_the_shipped_modules_get_their_settings() -> None:
    reflector = build_program("pmd_agent.pipelines:Reflector", **SETTINGS)
    assert isinstance(reflector, Reflector)
    assert (reflector.attempts, reflector.attempt_chars) == (6, 123)
    generaliser = build_program("pmd_agent.pipelines:Generaliser", **SETTINGS)
    assert isinstance(generaliser, Generaliser)
    assert generaliser.insight_lines == 7


def test_several_work_one_after_the_other() -> None:
    names = ["pmd_agent.pipelines:Reflector", "pmd_agent.pipelines:Critic"]
    program = build_program(names, **SETTINGS)
    assert isinstance(program, After)
    assert isinstance(program.first, Reflector)
    assert isinstance(program.others[0], Critic) and program.others[0].attempt_chars == 123
    assert isinstance(build_program(names[:1], **SETTINGS), Reflector), "one alone needs no composition"


def test_how_a_module_will_be_called_is_looked_at_before_a_run() -> None:
    call = ("problem", "experiences")
    for path in ("pmd_agent.pipelines:Reflector", ["pmd_agent.pipelines:Reflector", "pmd_agent.pipelines:Critic"]):
        build_program(path, call, **SETTINGS)
    build_program("pmd_agent.pipelines:Generaliser", ("insights",), **SETTINGS)
    for path, says in (
        ("pmd_agent.pipelines:Critic", "missing a required argument: 'draft'"),
        ("pmd_agent.pipelines:Generaliser", "missing a required argument: 'insights'"),
        ("pmd_test_mine:Silent", "unexpected keyword argument 'experiences'"),
        ("pmd_test_mine:Plain", "no attribute 'forward'"),
    ):
        with pytest.raises(PipelineError, match="cannot be called with") as caught:
            build_program(path, call, **SETTINGS)
        assert says in caught.value.message and "def forward(self, problem, experiences)" in caught.value.hint


def test_an_error_of_a_constructor_says_where() -> None:
    with pytest.raises(PipelineError, match=r"Bug cannot be built: ValueError: no key \(.*pmd_test_mine.py:\d+\)"):
        build_program("pmd_test_mine:Bug", **SETTINGS)


def test_a_module_of_ones_own_gets_what_its_constructor_takes() -> None:
    assert isinstance(build_program("pmd_test_mine:Plain", **SETTINGS), dspy.Module)
    assert build_program("pmd_test_mine:Some", **SETTINGS).attempts == 6
    assert build_program("pmd_test_mine:Inherits", **SETTINGS).attempts == 6
    assert build_program("pmd_test_mine:All", **SETTINGS).settings == SETTINGS


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ([], "empty list"),
        ("Reflector", "does not name"),
        ("pmd_agent.pipelines.Reflector", "does not name"),
        (":Reflector", "does not name"),
        ("pmd_agent.pipelines:", "does not name"),
        (".pipelines:Reflector", "relative"),
        ("pmd_test_absent:X", "cannot be imported.*pmd_test_absent"),
        ("pmd_agent.absent:X", "cannot be imported"),
        ("pmd_test_broken:X", "cannot be imported.*pmd_test_nowhere"),
        ("pmd_test_mine:Absent", "has no 'Absent'"),
        ("pmd_test_mine:NoModule", "is no dspy.Module"),
        ("pmd_test_mine:function", "is no dspy.Module"),
        ("pmd_test_mine:instance", "is no dspy.Module"),
        ("pmd_test_mine:Needs", "cannot be built.*model"),
        (["pmd_agent.pipelines:Reflector", "pmd_test_mine:Absent"], "has no 'Absent'"),
    ],
)
def test_what_cannot_be_built_is_said_with_a_hint(path: str | list[str], said: str) -> None:
    with pytest.raises(PipelineError, match=said) as error:
        build_program(path, **SETTINGS)
    assert error.value.hint


def test_a_bug_in_a_users_module_is_told_with_its_place() -> None:
    with pytest.raises(PipelineError, match=r"no_such_thing.* at .*pmd_test_bug\.py:\d"):
        build_program("pmd_test_bug:X")

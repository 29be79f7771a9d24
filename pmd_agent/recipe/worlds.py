"""Made-up worlds as problems, each from its seed: their variants of the section `problems`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pmd_agent.recipe.section import Section


class WorldProblems(Section):
    """Made-up operators whose meaning has to be found out: the world in the box."""

    type: Literal["world"] = "world"
    seed: int = 0
    """Decides the assignment of rules to operators."""
    operators: int = Field(16, ge=2, le=32)
    domains: int = Field(4, ge=1, le=8)
    unseen_pairs: float = Field(0.0, ge=0, lt=1)
    """Share of the pairs of operators that training never shows; then tests have a kind of their own for those (2op-new)."""
    drift: float = Field(0.0, ge=0, le=1)
    """Share of the operators that mean another rule from the second half of the training problems on, and in the tests. Wants
    rollout.shuffle=false."""
    train: int = Field(64, ge=1)
    """Training problems, all with two operators."""
    test: int = Field(100, ge=1)
    """Test problems of each kind (one operator, two operators), never trained on."""
    validation: int = Field(20, ge=0)
    """Validation problems of each kind."""
    episodes: bool = False
    """An operator a turn: an environment says whether a result is right, and asks for the next one."""
    verifier: str = "exact"


class HouseRulesProblems(Section):
    """An office whose departments write dates, prices and the like each in their own way, which no task states."""

    type: Literal["house_rules"] = "house_rules"
    seed: int = 0
    """Decides which department writes what, and how."""
    departments: int = Field(4, ge=1, le=10)
    rules: int = Field(8, ge=2)
    """Conventions of each department, drawn from twice as many: most are shared, and their forms then differ."""
    conventions: tuple[str, ...] = ()
    """Those to draw from, such as `date`, or single forms of them, such as `date/iso`. Empty: all. `pmd problems RECIPE --probe`
    says what the recipe's model can follow."""
    habit: float = Field(0.25, ge=0, le=1)
    """Share of the rules whose form is the one that models mostly use anyhow."""
    feedback: Literal["none", "part", "message"] = "message"
    """What a wrong answer is told: nothing; which part is wrong; or what is wrong with it, as a program's interface would say it,
    which never says the right form."""
    hard: float = Field(0.5, ge=0, lt=1)
    """Share of the training tasks that ask for two things in one."""
    unseen_pairs: float = Field(0.25, ge=0, lt=1)
    """Share of the pairs of conventions that training never shows in one task; then tests have a kind of their own (two-new)."""
    drift: float = Field(0.0, ge=0, le=1)
    """Share of the rules that have another form from the second half of the training tasks on, and in the tests. Wants
    rollout.shuffle=false."""
    train: int = Field(256, ge=1)
    """Training tasks."""
    test: int = Field(64, ge=1)
    """Test tasks of each kind (one, two, two-new), never trained on."""
    validation: int = Field(16, ge=0)
    """Validation tasks of each kind."""
    verifier: str = "parts"


class TicketProblems(Section):
    """A made-up ticket system of six calls with quirks that no document states: attempts are episodes (docs/agents.md)."""

    type: Literal["tickets"] = "tickets"
    seed: int = 0
    """Decides the quirks: order of calls, units, fields, scales, spellings, error numbers."""
    drift: float = Field(0.0, ge=0, le=1)
    """Share of the quirks that are others from the second half of the training problems on, and in the tests. Wants
    rollout.shuffle=false."""
    train: int = Field(96, ge=1)
    """Training problems: open, assign and close in turn."""
    test: int = Field(30, ge=1)
    """Test problems of each kind, never trained on."""
    validation: int = Field(10, ge=0)
    """Validation problems of each kind."""
    verifier: Literal["environment"] = "environment"
    """The environment judges."""


class ReasoningGymProblems(Section):
    """Tasks of the package reasoning-gym (pip install 'pmd-agent[reasoning-gym]'), scored by their own scorers."""

    type: Literal["reasoning_gym"] = "reasoning_gym"
    tasks: tuple[str, ...] = Field(min_length=1)
    """Their names, such as [chain_sum, word_sorting]."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of a task: what its configuration takes, such as {chain_sum: {min_terms: 4}}."""
    seed: int = 0
    train: int = Field(100, ge=1)
    """Training problems of each task."""
    test: int = Field(50, ge=1)
    """Test problems of each task, never trained on."""
    validation: int = Field(10, ge=0)
    """Validation problems of each task."""
    verifier: Literal["reasoning_gym"] = "reasoning_gym"
    """The task's own scorer."""


class VerifiersProblems(Section):
    """An environment of the package verifiers, by name, in an interpreter of its own: attempts are episodes (docs/agents.md)."""

    type: Literal["verifiers"] = "verifiers"
    name: str
    """As verifiers.load_environment takes it."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What the environment's load_environment takes."""
    python: Path | None = None
    """The interpreter that has verifiers and the environment. Empty: pmd's own. `pmd doctor RECIPE` says how to make one."""
    best_reward: float = Field(1.0, gt=0)
    """The highest that it gives: rewards are divided by it, and have to be in [0, 1] then."""
    start_seconds: float = Field(300.0, gt=0)
    """Until the environment is loaded."""
    train: int = Field(1000, ge=1)
    """Training problems, at most: the first that it has."""
    test: int = Field(50, ge=1)
    """Test problems, at most: those of its evaluation set; where it has none, held out of its training set."""
    validation: int = Field(10, ge=0)
    """Held out of the training set."""
    verifier: Literal["environment"] = "environment"
    """The environment judges."""

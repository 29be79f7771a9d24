"""What a sweep is: one recipe, arms that differ from it in some keys, and three disjoint sets of seeds.

    name: mechanism
    recipe: quickstart.yaml          beside this file
    set: {steps: 32}                 for every arm
    seeds: {tune: [101, 102], validate: [201], report: [1, 2, 3, 4, 5]}
    reference: sdpo
    arms:
      pmd: {tune: {distill.lr: [1e-3, 3e-3]}}
      sdpo: {set: {method: sdpo}, tune: {distill.lr: [1e-3, 3e-3]}}
      experience: {like: pmd, set: {memory.tiers: [experience]}, seeds: 3}

`tune` is a grid that `pmd sweep FILE --tune` searches on the seeds `tune`, by validation accuracy after the last step; every
arm that has one must have as many configurations as the others. An arm that is `like` another has its keys and what was
tuned for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from pmd_agent.errors import RecipeError
from pmd_agent.recipe import Recipe, load_recipe, write_overrides
from pmd_agent.recipe.keys import describe_fault, unknown_keys
from pmd_agent.recipe.section import Section
from pmd_agent.recipe.yaml import read_yaml

SeedSet = Literal["tune", "validate", "report"]


class SweepArm(Section):
    """One arm."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of the recipe, and their values."""
    like: str | None = None
    """An arm whose keys, and tuned values, this one has too."""
    seeds: int | None = Field(None, ge=1)
    """Only so many of a set's seeds, the first ones. Empty: all."""
    tune: dict[str, list[Any]] = Field(default_factory=dict)
    """Dotted keys, and the values to try; every combination is one configuration."""


class Seeds(Section):
    """Seeds that must not meet: settings are chosen on `tune`, looked at on `validate`, and told of `report`."""

    tune: tuple[int, ...] = ()
    validation: tuple[int, ...] = Field((), alias="validate")
    report: tuple[int, ...] = Field(min_length=1)


class Sweep(Section):
    """The file."""

    name: str = Field(pattern=r"^\w[\w.-]{0,79}$")
    recipe: Path
    """Relative to this file."""
    set: dict[str, Any] = Field(default_factory=dict)
    seeds: Seeds
    seed_keys: tuple[str, ...] = ("seed",)
    """Keys of the recipe that a run's seed is given to, such as [seed, problems.seed]."""
    arms: dict[str, SweepArm] = Field(min_length=1)
    reference: str | None = None
    """The arm that the others are compared with. Empty: the first."""
    runs: Path = Path("runs")

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        sets = {"tune": self.seeds.tune, "validate": self.seeds.validation, "report": self.seeds.report}
        for which, numbers in sets.items():
            if twice := [number for number in numbers if numbers.count(number) > 1]:
                raise ValueError(f"seeds.{which} has {twice[0]} twice: a run a seed")
        for (a, these), (b, those) in itertools.combinations(sets.items(), 2):
            if shared := sorted({*these} & {*those}):
                raise ValueError(
                    f"seeds.{a} and seeds.{b} share {shared[0]}: what is reported must not have been tuned on"
                )
        for name, arm in self.arms.items():
            if arm.like is not None and (arm.like not in self.arms or self.arms[arm.like].like is not None):
                raise ValueError(f"arms.{name}.like={arm.like} is no arm that stands for itself")
            if arm.like is not None and arm.tune:
                raise ValueError(f"arms.{name} is like {arm.like}, whose tuning it takes: leave out its own")
        budgets = {name: len(configurations(arm)) for name, arm in self.arms.items() if arm.tune}
        if len(set(budgets.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in budgets.items())
            raise ValueError(f"every arm is tuned with as many configurations as the others, not with {told}")
        if self.reference is not None and self.reference not in self.arms:
            raise ValueError(f"reference={self.reference} is none of the arms: {', '.join(self.arms)}")
        return self

    @property
    def folder(self) -> Path:
        """Where its runs and its report are."""
        return self.runs / self.name

    def of(self, seeds: SeedSet) -> tuple[int, ...]:
        return {"tune": self.seeds.tune, "validate": self.seeds.validation, "report": self.seeds.report}[seeds]


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run of a sweep."""

    arm: str
    seed: int
    recipe: Recipe
    overrides: tuple[str, ...]
    """With which `pmd run` makes that recipe out of the sweep's."""

    @property
    def path(self) -> Path:
        return self.recipe.runs / self.recipe.name


def load_sweep(path: Path) -> Sweep:
    """Read a sweep. Raises RecipeError with every fault in it."""
    if not path.is_file():
        raise RecipeError(f"There is no sweep {path}.", "Give the path of a YAML file, such as recipes/mechanism.yaml.")
    data = read_yaml(path)
    if "arms" not in data:
        raise RecipeError(f"{path} has no arms, so it is no sweep.", f"A single run is started by: pmd run {path}")
    faults = list(unknown_keys({k: v for k, v in data.items() if k not in ("arms", "seeds")}, Sweep))
    if not faults:
        try:
            sweep = Sweep.model_validate(data)
            return sweep.model_copy(update={"recipe": path.parent / sweep.recipe})
        except ValidationError as error:
            faults = list(dict.fromkeys(describe_fault(e, Sweep) for e in error.errors()))
    raise RecipeError(f"{path}: " + "\n  ".join(faults), "docs/proof.md describes what a sweep may say.")


def runs_of(
    sweep: Sweep,
    seeds: SeedSet = "report",
    arms: Sequence[str] = (),
    tuned: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[SweepRun]:
    """The runs, seed by seed, so that a sweep that is stopped has whole rows. `arms`: only these. Raises RecipeError.

    `tuned` holds for each arm the values that tuning chose.
    """
    unknown = [name for name in arms if name not in sweep.arms]
    if unknown:
        raise RecipeError(f"The sweep has no arm {unknown[0]!r}.", f"It has {', '.join(sweep.arms)}.")
    if not sweep.of(seeds):
        raise RecipeError(f"The sweep names no seeds.{seeds}.", "Add some, other ones than those of the other sets.")
    found = []
    for number, seed in enumerate(sweep.of(seeds)):
        for name, arm in sweep.arms.items():
            if (arms and name not in arms) or (arm.seeds is not None and number >= arm.seeds):
                continue
            found.append(make_run(sweep, name, seed, settings_of(sweep, name, tuned or {}), sweep.folder))
    return found


def settings_of(sweep: Sweep, name: str, tuned: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An arm's keys: the sweep's, those of the arm it is like, its own, then what was tuned."""
    arm = sweep.arms[name]
    parent = sweep.arms[arm.like] if arm.like else None
    return {**sweep.set, **(parent.set if parent else {}), **tuned.get(arm.like or name, {}), **arm.set}


def make_run(
    sweep: Sweep, name: str, seed: int, settings: Mapping[str, Any], folder: Path, label: str = ""
) -> SweepRun:
    """One run of the sweep's recipe with these keys, in `folder`."""
    own = {"name": f"{label or name}-{seed}", "runs": str(folder)}
    overrides = write_overrides({**settings, **dict.fromkeys(sweep.seed_keys, seed), **own})
    try:
        return SweepRun(name, seed, load_recipe(sweep.recipe, overrides), tuple(overrides))
    except RecipeError as error:
        raise RecipeError(f"arm {name}: {error.message}", error.hint) from None


def configurations(arm: SweepArm) -> list[dict[str, Any]]:
    """Every combination of the values of `tune`; one empty one where there are none."""
    return [dict(zip(arm.tune, values, strict=True)) for values in itertools.product(*arm.tune.values())]


def tuned_arms(sweep: Sweep) -> Iterator[tuple[str, SweepArm]]:
    """The arms that have a grid of their own."""
    return ((name, arm) for name, arm in sweep.arms.items() if arm.tune)

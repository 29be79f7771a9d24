"""The programs of a run: built from the recipe's names or given in Python, and brought to the state of its last commit.

    checkpoints/step-*/reflector.json   the state that was committed with the step
    programs/given/reflector.json       the state of one that was given as an object, and the step at which it was
    programs/reflector.json             the state at the end of the run

Of a module only its instructions and examples are kept (pipelines/state.py). One that is given is found again by its name
where that can be imported and built, else it is to be given again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pmd_agent.errors import PipelineError, PMDError
from pmd_agent.plugins import import_plugin
from pmd_agent.recipe import Recipe, load_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.program_trace import FOLDER

if TYPE_CHECKING:
    import dspy

Role = Literal["reflector", "generaliser"]
ROLES: tuple[Role, ...] = ("reflector", "generaliser")
CALLED_WITH: dict[Role, tuple[str, ...]] = {"reflector": ("problem", "experiences"), "generaliser": ("insights",)}
GIVEN = f"{FOLDER}/given"


@dataclass(slots=True)
class Programs:
    """A run's reflector and generaliser."""

    reflector: dspy.Module
    generaliser: dspy.Module
    given: frozenset[str] = frozenset()
    """Those that were given as objects."""

    def open_in(self, run: RunDir, *, keep: bool = True) -> Programs:
        """In the state of the run's last commit, else in that in which they were given. Raises PipelineError.

        One that is given now counts in its own state, unless that is the state in which it was given before: then the run
        has gone on from it, and what it has made of it since is restored. `keep`: the folder remembers what is given now.
        """
        from pmd_agent.pipelines.state import read_state, restore, settle, state_of

        news = []
        for role in ROLES:
            module: dspy.Module = getattr(self, role)
            before, since = read_state(given) if (given := run.path / GIVEN / f"{role}.json").is_file() else (None, {})
            if role in self.given and state_of(module) != before:
                settle(module)
                news.append(role)
                continue
            committed = run.checkpoint / f"{role}.json" if run.checkpoint else None
            if committed and committed.is_file() and since.get("step", -1) < run.next_step:
                restore(module, read_state(committed)[0], committed)
            elif before is not None:
                restore(module, before, given)
        if news and keep:
            run.write_folder(GIVEN, self._giving(run, news))
        return self

    def _giving(self, run: RunDir, news: list[Role]) -> Callable[[Path], None]:
        """What `programs/given` is to have: the new ones, and those that were given before."""
        from pmd_agent.pipelines.state import write_state

        kept = {path.name: path.read_bytes() for path in (run.path / GIVEN).glob("*.json")}

        def fill(folder: Path) -> None:
            for name, content in kept.items():
                (folder / name).write_bytes(content)
            for role in news:
                write_state(getattr(self, role), folder / f"{role}.json", step=run.next_step)

        return fill


def named(
    recipe: Recipe,
    *,
    reflector: dspy.Module | None = None,
    generaliser: dspy.Module | None = None,
    resume: bool = False,
) -> Recipe:
    """The recipe with the classes of the given programs in place of those that it names.

    `resume`: where none is given now, but one was when the run was started, the name in the run's own recipe.
    """
    names: dict[str, object] = {}
    folder = recipe.runs / recipe.name
    for role, module in (("reflector", reflector), ("generaliser", generaliser)):
        if module is not None and not _names(getattr(recipe.pipeline, role), type(module)):
            names[role] = f"{type(module).__module__}:{type(module).__qualname__}"
        elif module is None and resume and (folder / GIVEN / f"{role}.json").is_file():
            names[role] = getattr(load_recipe(folder / "recipe.yaml").pipeline, role)
    if not names:
        return recipe
    return recipe.model_copy(update={"pipeline": recipe.pipeline.model_copy(update=names)})


def build_programs(
    recipe: Recipe, *, reflector: dspy.Module | None = None, generaliser: dspy.Module | None = None
) -> Programs:
    """Those given, else those that the recipe names. Raises PipelineError, also for an optimiser that is not there."""
    if recipe.pipeline.optimise.every:
        from pmd_agent.pipelines.optimisers import check_optimiser

        check_optimiser(recipe.pipeline.optimise.optimiser)
    given = {"reflector": reflector, "generaliser": generaliser}
    return Programs(
        reflector or _build(recipe, "reflector"),
        generaliser or _build(recipe, "generaliser"),
        frozenset(role for role, module in given.items() if module is not None),
    )


def _build(recipe: Recipe, role: Role) -> dspy.Module:
    from pmd_agent.pipelines import build_program

    settings = recipe.pipeline.model_dump(include={"attempts", "attempt_chars", "insight_lines"})
    settings["style"] = recipe.program_style
    name = getattr(recipe.pipeline, role)
    try:
        return build_program(name, CALLED_WITH[role], **settings)
    except PipelineError as error:
        run = recipe.runs / recipe.name
        if not (run / GIVEN / f"{role}.json").is_file():
            raise
        raise PipelineError(
            f"{run} was started from Python with a {role} of its own, {name}, which cannot be made from its name alone: "
            f"{error.message}",
            f"Go on with it in Python: pmd_agent.start(recipe, resume=True, {role}=...), with the same {role} again.",
        ) from None


def _names(path: str | list[str], kind: type) -> bool:
    """Whether a recipe names this class, under whichever of its names."""
    if not isinstance(path, str):
        return False
    try:
        return import_plugin(path, "Class", PipelineError) is kind
    except PMDError:
        return False

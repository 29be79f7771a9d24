"""A run as an object: made from a recipe and what a program gives, gone through step by step, read while it goes and after.

    run = Run.create("recipe.yaml", problems=[...], verifier=check)
    for step in run:
        print(step.number, step.metrics["reward"])

docs/python.md is the guide. `pmd run` goes through the same code.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pmd_agent.console import Console
from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, load_recipe, override_recipe, parse_recipe
from pmd_agent.recipe.problems import GivenProblems
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Step

if TYPE_CHECKING:
    import dspy

    from pmd_agent.assembly.given import Check, Given
    from pmd_agent.assembly.run_memory import RunMemory
    from pmd_agent.assembly.run_policy import RunPolicy
    from pmd_agent.problems import Item, ProblemSets


class Run:
    """Get it with `create` or `open`. What is loaded stays until the last step, `close`, or the end of a `with` block."""

    def __init__(self, recipe: Recipe, given: Given, *, resume: bool, console: Console) -> None:
        """Use `create` or `open`."""
        self.recipe = recipe
        self._given, self._resume, self._console = given, resume, console
        self._steps: Generator[Step, None, None] | None = None
        self._began_without = False
        """Whether there was no folder when the steps began."""

    @classmethod
    def create(
        cls,
        recipe: str | Path | Mapping[str, Any] | Recipe,
        *,
        problems: Iterable[Item] | None = None,
        test: Iterable[Item] | None = None,
        validation: Iterable[Item] | None = None,
        verifier: Check | str | None = None,
        reflector: dspy.Module | None = None,
        generaliser: dspy.Module | None = None,
        overrides: Sequence[str] = (),
        name: str | None = None,
        resume: bool = False,
        console: Console | None = None,
        quiet: bool = False,
    ) -> Self:
        """A run of a recipe: a file, plain data, or a Recipe, with `key=value` overrides. Raises PMDError.

        Problems are Problems or rows with prompt and answer; test and validation problems that are not given are held out.
        A verifier is called with a problem and a text, and returns a Verdict, a number in [0, 1], a bool, or None.
        Its folder is made at the first step. `resume`: go on with the run of this name, if there is one. `quiet`: no lines on
        the terminal; the run's log.txt has them.
        """
        from pmd_agent.assembly.given import Given

        resolved = _resolved(recipe, overrides, name)
        sets = None
        if problems is not None:
            resolved, sets = _with_problems(resolved, problems, test, validation, verifier)
        elif test is not None or validation is not None:
            raise RunError("Test or validation problems are given, but none to practise on.", "Give problems=[...].")
        if isinstance(verifier, str):
            checked = resolved.problems.model_copy(update={"verifier": verifier})
            resolved, verifier = resolved.model_copy(update={"problems": checked}), None
        given = Given(sets, verifier, reflector, generaliser)
        resolved = given.named(resolved)
        folder = resolved.runs / resolved.name
        if not (resume or _follows()):
            RunDir.check_free(folder)
        there = resume and (folder / "recipe.yaml").is_file()
        return cls(resolved, given, resume=there, console=_console(console, quiet))

    @classmethod
    def open(
        cls,
        run: str | Path,
        *,
        verifier: Check | None = None,
        reflector: dspy.Module | None = None,
        generaliser: dspy.Module | None = None,
        console: Console | None = None,
        quiet: bool = False,
    ) -> Self:
        """A run that has begun, by its folder or its name in runs/: to read, or to go on with. Raises RunError.

        Problems that were given are in its folder. Objects whose class or function cannot be imported are given again.
        """
        from pmd_agent.assembly.given import Given

        directory = RunDir.open(run)
        recipe, path = directory.recipe, directory.path
        if (recipe.runs / recipe.name).resolve() != path.resolve():  # it was moved, or is looked at from elsewhere
            recipe = recipe.model_copy(update={"runs": path.resolve().parent, "name": path.resolve().name})
        given = Given(None, verifier, reflector, generaliser)
        named = given.named(recipe)
        if named != recipe:
            raise RunError(
                f"{path} was started with other code: {_differences(recipe, named)}.",
                "Give what it was started with, or start another run.",
            )
        return cls(recipe, given, resume=True, console=_console(console, quiet))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the lock and what is loaded. The run can be gone on with, from its last checkpoint."""
        steps, self._steps = self._steps, None
        if steps is not None:
            _CURRENT.pop(self.path.resolve(), None)
            steps.close()
        if self._began_without and (self.path / "recipe.yaml").is_file():
            self._resume = True  # the folder is this run's own

    # ---- going on

    def __iter__(self) -> Iterator[Step]:
        """The steps that are left, each once it is committed; after the last the run is evaluated and summarised.

        A loop that is left goes on where it was left when the run is iterated again.
        """
        while (step := self._next()) is not None:
            yield step

    def finish(self) -> Self:
        """Make all steps that are left, and evaluate: what `pmd run` does."""
        for _ in self:
            pass
        return self

    def _next(self) -> Step | None:
        if self._steps is None:
            self._begin()
        assert self._steps is not None
        try:
            return next(self._steps)
        except StopIteration:
            self.close()
            return None
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        from pmd_agent.assembly.start import steps

        # Of two objects for one folder in this process, as when a notebook's cell is run again, the later one has it.
        if (other := _CURRENT.get(self.path.resolve())) is not None and other is not self:
            other.close()
        _CURRENT[self.path.resolve()] = self
        self._began_without = not (self.path / "recipe.yaml").is_file()
        self._steps = steps(self.recipe, self._given, resume=self._resume, console=self._console)

    # ---- reading

    @property
    def path(self) -> Path:
        """The run's folder, which is made at the first step."""
        return self.recipe.runs / self.recipe.name

    @property
    def directory(self) -> RunDir:
        """The folder as it is now. Raises RunError where the run has not begun."""
        if not (self.path / "recipe.yaml").is_file():
            raise RunError(f"{self.path} has not begun.", "Make a step: next(iter(run)), or run.finish().")
        return RunDir(self.path, load_recipe(self.path / "recipe.yaml"))

    @property
    def next_step(self) -> int:
        """The first step that is not committed."""
        return self.directory.next_step if (self.path / "recipe.yaml").is_file() else 0

    @property
    def finished(self) -> bool:
        """Whether no step is left and the summary is written."""
        return (self.path / "recipe.yaml").is_file() and self.directory.finished

    def metrics(self) -> list[dict[str, Any]]:
        """A line for each step so far."""
        return self.directory.metrics()

    @property
    def summary(self) -> dict[str, Any] | None:
        """What summary.json says; None while the run is not finished."""
        return self.directory.read_json("summary.json")

    @property
    def reflector(self) -> dspy.Module:
        """One of your own, with the instructions and examples that the run's has at its last commit."""
        from pmd_agent.assembly.reflections import reflector_of

        return reflector_of(self.directory, self._given)

    def reflections(self) -> list[dspy.Example]:
        """What the reflector was given and wrote in all committed steps: a training set for DSPy's optimisers."""
        from pmd_agent.assembly.reflections import reflections_of

        return reflections_of(self.directory)

    def memory(self, *, write: bool = False) -> RunMemory:
        """The memory as of the last commit, in a copy: no lock is taken, and nothing changed, also while the run goes on.

        `write`: the memory itself, to add to by hand, while nobody runs it. A memory on a server is read as it is.
        """
        from pmd_agent.assembly.run_memory import RunMemory

        return RunMemory(self.directory, write=write, warn=self._console.warn)

    def policy(self, *, adapter: bool = True, server: bool = False) -> RunPolicy:
        """The finished run's policy, or without its adapter the base. Weights are loaded here, also those of a vLLM run.

        `server`: the run's vLLM server answers. Raises RunError where there is no adapter.
        """
        from pmd_agent.assembly.run_policy import RunPolicy

        return RunPolicy(self.directory, adapter=adapter, server=server, console=self._console)

    def evaluate(
        self,
        problems: Iterable[Item] | None = None,
        *,
        base: bool = False,
        with_memory: bool = False,
        max_problems: int | None = None,
    ) -> dict[str, Any]:
        """avg@k, pass@k and maj@k of the adapter (or the base) on the test problems, or on these, and the same by kind."""
        from pmd_agent.assembly.evaluate import evaluate_run
        from pmd_agent.evaluation.scores import accuracy
        from pmd_agent.problems import ProblemSets
        from pmd_agent.problems.given import problems_from

        directory = self.directory
        sets = None
        if max_problems is not None and max_problems < 1:
            raise RunError(f"max_problems is {max_problems}.", "Give 1 or more, or leave it out.")
        if problems is not None:
            given = list(problems)
            if not given:
                raise RunError("There are no problems to evaluate on.", "Give at least one, or leave them out.")
            sets = ProblemSets((), (), problems_from(given, "test", directory.recipe.problems.verifier))
            max_problems = max_problems or len(given)  # all that are given, whatever the recipe says of its own
        found = evaluate_run(
            directory, console=self._console, base=base, with_memory=with_memory, max_problems=max_problems,
            problems=sets, verifier=self._given.verifier,
        )  # fmt: skip
        return accuracy(found)

    def export(self, to: str | Path, *, merge: bool = False) -> Path:
        """The adapter, or with `merge` whole weights, as files that peft and transformers load without this package."""
        from pmd_agent.export import export_run

        return export_run(self.directory, Path(to), merge=merge, say=self._console.warn)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, next_step={self.next_step})"


_CURRENT: weakref.WeakValueDictionary[Path, Run] = weakref.WeakValueDictionary()
"""Folder -> the run of this process that has it."""


def _resolved(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str], name: str | None) -> Recipe:
    names = [*overrides, *([] if name is None else [f"name={name}"])]
    if isinstance(recipe, str | Path):
        return load_recipe(recipe, names)
    if isinstance(recipe, Recipe):
        return parse_recipe(override_recipe(recipe.model_dump(mode="json"), names)) if names else recipe
    return parse_recipe(override_recipe(recipe, names))


def _with_problems(
    recipe: Recipe,
    problems: Iterable[Item],
    test: Iterable[Item] | None,
    validation: Iterable[Item] | None,
    verifier: Check | str | None,
) -> tuple[Recipe, ProblemSets]:
    """The recipe with what is given in place of its own problems: it keeps the verifier, and how problems are held out."""
    from pmd_agent.assembly.given import name_of
    from pmd_agent.problems import given_problems

    keys: dict[str, Any] = {}
    if "problems" in recipe.model_fields_set:
        keys = {
            k: v
            for k in GivenProblems.model_fields
            if k != "type" and (v := getattr(recipe.problems, k, None)) is not None
        }
    if verifier is not None:
        keys["verifier"] = verifier if isinstance(verifier, str) else name_of(verifier)
    section = GivenProblems(**keys)
    return recipe.model_copy(update={"problems": section}), given_problems(problems, test, validation, section)


def _differences(one: Recipe, other: Recipe) -> str:
    pairs = [("problems.verifier", one.problems.verifier, other.problems.verifier)]
    pairs += [
        (f"pipeline.{k}", getattr(one.pipeline, k), getattr(other.pipeline, k)) for k in ("reflector", "generaliser")
    ]
    return ", ".join(f"{key} {old} -> {new}" for key, old, new in pairs if old != new)


def _console(console: Console | None, quiet: bool) -> Console:
    if console is not None:
        return console
    return Console(io.StringIO(), io.StringIO()) if quiet else Console()


def _follows() -> bool:
    """Whether this is one of torchrun's processes that only learn: the folder is that of rank 0."""
    return bool(os.environ.get("TORCHELASTIC_RUN_ID")) and os.environ.get("RANK", "0") != "0"

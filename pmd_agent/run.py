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

from pmd_agent.arguments import a_count, kind_of
from pmd_agent.assembly.python_hints import for_python
from pmd_agent.console import Console
from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, load_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Step

if TYPE_CHECKING:
    import dspy

    from pmd_agent.assembly.given import Check, Given
    from pmd_agent.assembly.run_memory import RunMemory
    from pmd_agent.assembly.run_policy import RunPolicy
    from pmd_agent.problems import Item


class Run:
    """Get it with `create` or `open`. What is loaded stays until the last step, `close`, or the end of a `with` block."""

    def __init__(self, recipe: Recipe, given: Given, *, resume: bool, console: Console) -> None:
        """Use `create` or `open`."""
        self.recipe = recipe
        self._given, self._resume, self._console = given, resume, console
        self._steps: Generator[Step, None, None] | None = None
        self._began_without = False
        """Whether there was no folder when the steps began."""
        self._folder: tuple[int, int] | None = None
        """Which folder the steps that were begun are in, by its numbers on its disk."""

    @classmethod
    @for_python()
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
        environment: Any = None,
        overrides: Sequence[str] = (),
        name: str | None = None,
        resume: bool = False,
        console: Console | None = None,
        quiet: bool = False,
    ) -> Self:
        """A run of a recipe: a file, plain data, or a Recipe, with `key=value` overrides. Raises PMDError.

        Problems are Problems or rows with prompt and answer; test and validation problems that are not given are held out.
        A verifier is called with a problem and a text, and returns a Verdict, a number in [0, 1], a bool, or None.
        With an environment, a class or function that makes one for each attempt, attempts are episodes (docs/agents.md).
        Its folder is made at the first step. `resume`: go on with the run of this name, if there is one. `quiet`: no lines on
        the terminal; the run's log.txt has them.
        """
        from pmd_agent.assembly.given import Given
        from pmd_agent.assembly.given_recipe import resolved as resolve
        from pmd_agent.assembly.given_recipe import with_problems

        resolved = resolve(recipe, overrides, name)
        sets = None
        if problems is not None:
            resolved, sets = with_problems(resolved, problems, test, validation, verifier)
        elif test is not None or validation is not None:
            raise RunError("Test or validation problems are given, but none to practise on.", "Give problems=[...].")
        if isinstance(verifier, str):
            checked = resolved.problems.model_copy(update={"verifier": verifier})
            resolved, verifier = resolved.model_copy(update={"problems": checked}), None
        given = Given(sets, verifier, reflector, generaliser, environment)
        resolved = given.named(resolved)
        folder = resolved.runs / resolved.name
        if not (resume or _follows()):
            RunDir.check_free(folder)
        there = resume and (folder / "recipe.yaml").is_file()
        return cls(resolved, given, resume=there, console=_console(console, quiet))

    @classmethod
    @for_python()
    def open(
        cls,
        run: str | Path,
        *,
        verifier: Check | None = None,
        reflector: dspy.Module | None = None,
        generaliser: dspy.Module | None = None,
        environment: Any = None,
        console: Console | None = None,
        quiet: bool = False,
    ) -> Self:
        """A run that has begun, by its folder or its name in runs/: to read, or to go on with. Raises RunError.

        Problems that were given are in its folder. Objects whose class or function cannot be imported are given again.
        """
        from pmd_agent.assembly.given import Given
        from pmd_agent.assembly.given_recipe import differences

        if not isinstance(run, str | Path):
            raise RunError(f"The run is {kind_of(run)}.", "Give its folder, or its name in runs/.")
        directory = RunDir.open(run)
        recipe, path = directory.recipe, directory.path
        if (recipe.runs / recipe.name).resolve() != path.resolve():  # it was moved, or is looked at from elsewhere
            recipe = recipe.model_copy(update={"runs": path.resolve().parent, "name": path.resolve().name})
        given = Given(None, verifier, reflector, generaliser, environment)
        named = given.named(recipe)
        if named != recipe:
            raise RunError(
                f"{path} was started with other code: {differences(recipe, named)}.",
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
        if _numbers(self.path) == self._folder:  # of one that was moved away, it is said again
            self._folder = None
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

    @for_python()
    def _next(self) -> Step | None:
        if self._steps is None:
            self._begin()
        assert self._steps is not None
        try:
            self._require_place()
            step = next(self._steps)
            self._folder = _numbers(self.path)
            return step
        except StopIteration:
            self.close()
            return None
        except BaseException:
            self.close()
            raise

    def _require_place(self) -> None:
        """Raises RunError where the folder that the steps are in is no longer at its path."""
        if self._folder is not None and _numbers(self.path) != self._folder:
            raise RunError(
                f"{self.path} is no longer the folder that this run is in: it was moved or taken away.",
                "Move it back, or go on with it where it is: Run.open(FOLDER).",
            )

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
        """The folder as it is now. Raises RunError where the run has not begun, or its folder was moved."""
        self._require_place()
        if not (self.path / "recipe.yaml").is_file():
            raise RunError(f"{self.path} has not begun.", "Make a step: next(iter(run)), or run.finish().")
        return RunDir(self.path, load_recipe(self.path / "recipe.yaml"))

    @property
    def next_step(self) -> int:
        """The first step that is not committed."""
        self._require_place()
        return self.directory.next_step if (self.path / "recipe.yaml").is_file() else 0

    @property
    def finished(self) -> bool:
        """Whether no step is left and the summary is written."""
        return (self.path / "recipe.yaml").is_file() and self.directory.finished

    @for_python()
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

    @for_python()
    def reflections(self) -> list[dspy.Example]:
        """What the reflector was given and wrote in all committed steps: a training set for DSPy's optimisers."""
        from pmd_agent.assembly.reflections import reflections_of

        return reflections_of(self.directory)

    @for_python()
    def memory(self, *, write: bool = False) -> RunMemory:
        """The memory as of the last commit, in a copy: no lock is taken, and nothing changed, also while the run goes on.

        `write`: the memory itself, to add to by hand, while nobody runs it. A memory on a server is read as it is.
        """
        from pmd_agent.assembly.run_memory import RunMemory

        return RunMemory(self.directory, write=write, warn=self._console.warn)

    @for_python()
    def policy(self, *, adapter: bool = True, server: bool = False) -> RunPolicy:
        """The finished run's policy, or without its adapter the base. Weights are loaded here, also those of a vLLM run.

        `server`: the run's vLLM server answers. Raises RunError where there is no adapter.
        """
        from pmd_agent.assembly.run_policy import RunPolicy

        return RunPolicy(self.directory, adapter=adapter, server=server, console=self._console)

    @for_python()
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
        from pmd_agent.problems.given import items_of, problems_from

        directory = self.directory
        sets = None
        if max_problems is not None:
            max_problems = a_count(max_problems, "max_problems")
        if problems is not None:
            given = items_of(problems, "problems")
            if not given:
                raise RunError("There are no problems to evaluate on.", "Give at least one, or leave them out.")
            sets = ProblemSets((), (), problems_from(given, "test", directory.recipe.problems.verifier))
            max_problems = max_problems or len(given)  # all that are given, whatever the recipe says of its own
        found = evaluate_run(
            directory, console=self._console, base=base, with_memory=with_memory, max_problems=max_problems,
            problems=sets, verifier=self._given.verifier, environment=self._given.environment,
        )  # fmt: skip
        return accuracy(found)

    @for_python()
    def export(self, to: str | Path, *, merge: bool = False) -> Path:
        """The adapter, or with `merge` whole weights, as files that peft and transformers load without this package."""
        from pmd_agent.export import export_run

        return export_run(self.directory, Path(to), merge=merge, say=self._console.warn)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, next_step={self.next_step})"


_CURRENT: weakref.WeakValueDictionary[Path, Run] = weakref.WeakValueDictionary()
"""Folder -> the run of this process that has it."""


def _numbers(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _console(console: Console | None, quiet: bool) -> Console:
    if console is not None:
        return console
    return Console(io.StringIO(), io.StringIO()) if quiet else Console()


def _follows() -> bool:
    """Whether this is one of torchrun's processes that only learn: the folder is that of rank 0."""
    return bool(os.environ.get("TORCHELASTIC_RUN_ID")) and os.environ.get("RANK", "0") != "0"

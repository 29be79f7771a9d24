"""A run's folder, and what makes a step count.

    recipe.yaml        the resolved recipe               metrics.jsonl    one line a step
    environment.json   versions, command, time           rollouts/        one file a step
    state.json         what the run goes on from         programs/        one file a step (program_trace.py)
    memory/  adapter/  evaluation/                       checkpoints/     the newest few
    log.txt  summary.json  problems.jsonl, where they were given as objects

A checkpoint is committed by one atomic rename of state.json, which names the next step, the checkpoint and the length
of metrics.jsonl together. A killed run resumes from there; whatever was written later is taken back.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pmd_agent.errors import RunError
from pmd_agent.recipe import Recipe, dump_recipe, load_recipe
from pmd_agent.runs.changes import changes_of
from pmd_agent.runs.checkpoints import committed, number_of, prune, replace_folder
from pmd_agent.runs.disk import writing
from pmd_agent.runs.environment import command_line, describe_environment
from pmd_agent.runs.files import TEMPORARY, append, discard, shorten, to_json, to_lines, write_atomically
from pmd_agent.runs.lock import lock_folder
from pmd_agent.runs.plain_files import require_plain
from pmd_agent.runs.program_trace import FOLDER
from pmd_agent.runs.read_lines import read_lines
from pmd_agent.runs.whole import damage

PROBLEMS = "problems.jsonl"
_FIRST_FILES = {
    "lock", "environment.json", "environment.json.tmp", PROBLEMS, f"{PROBLEMS}{TEMPORARY}", "recipe.yaml.tmp",
}  # fmt: skip
"""All that is there of a run that was killed before recipe.yaml was written."""


@dataclass(frozen=True, slots=True)
class _State:
    next_step: int = 0
    checkpoint: str | None = None
    """Relative to the run's folder."""
    metrics_bytes: int = 0


class RunDir:
    """One run's folder. Get it with `create`, `resume` or `open`."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        """Reads state.json. Raises RunError where that is damaged."""
        self.path, self.recipe = path, recipe
        self.notes: list[str] = []
        """What resuming it had to mend, to be said."""
        state = self.read_json("state.json")
        try:
            self._state = _State(**state) if state else _State()
            if state is None and self.read_json("summary.json") is not None:
                raise _damaged(path / "state.json", "it is missing, though the run has ended")
        except TypeError:
            raise _damaged(path / "state.json", "it has other keys than this release writes") from None

    @classmethod
    def create(cls, recipe: Recipe, problems: Sequence[Mapping[str, Any]] | None = None) -> RunDir:
        """A new folder runs/<name>, which keeps the problems that are given. Raises RunError where there is one already.

        A run is never overwritten.
        """
        path = recipe.runs / recipe.name
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            cls.check_free(path)
            require_plain(path)
            lock_folder(path)
            if problems is not None:
                write_atomically(path / PROBLEMS, to_lines(problems))
            write_atomically(path / "environment.json", to_json(describe_environment(), indent=2))
            _write_recipe(path, recipe)
        return cls(path, recipe)

    @staticmethod
    def check_free(path: Path) -> None:
        """Raises RunError where there is a run, or something else, that a new run would overwrite."""
        if path.is_dir() and {entry.name for entry in path.iterdir()} - _FIRST_FILES:
            hint = "Go on with it by --resume, or give another name with --name NAME."
            raise RunError(f"{path} is there already, and a run is never overwritten.", hint)

    @classmethod
    def resume(cls, recipe: Recipe) -> RunDir:
        """The run of that name as its last commit left it. Raises RunError where there is none, or another one.

        With other `steps` or `epochs`, its adapter goes, and what was measured at its end is measured again.
        """
        path = recipe.runs / recipe.name
        if not (path / "recipe.yaml").is_file():
            raise RunError(
                f"There is no run {path} to go on with.", _hint(recipe.runs, recipe.name, "Start it without --resume.")
            )
        require_plain(path)
        changed = changes_of(path, recipe)
        with writing(path):
            lock_folder(path)
            run = cls(path, recipe)
            if recipe.steps is not None and recipe.steps < run.next_step:
                raise RunError(
                    f"{path} has made {run.next_step} steps already, more than steps={recipe.steps}.",
                    "Steps can only be raised; to have fewer, start another run with --name NAME.",
                )
            run._take_back(longer=bool(changed.keys() & {"steps", "epochs"}))
            if changed.keys() & {"steps", "epochs"}:
                run._forget_end()
            environment = run.read_json("environment.json") or {}
            resumed = describe_environment() | {"next_step": run.next_step, "changed": changed}
            environment["resumed"] = [*environment.get("resumed", []), resumed]
            run.write_json("environment.json", environment)
            _write_recipe(path, recipe)
        return run

    @classmethod
    def open(cls, run: str | Path, runs: Path = Path("runs")) -> RunDir:
        """A run to read from, by its path or its name. Raises RunError where there is none."""
        for path in (Path(run), runs / run):
            if (path / "recipe.yaml").is_file():
                require_plain(path)
                return cls(path, load_recipe(path / "recipe.yaml"))
        if Path(run).is_dir():
            raise RunError(
                f"{run} is no run: it has no recipe.yaml.", _hint(runs, Path(run).name, "Give a run's folder.")
            )
        raise RunError(
            f"There is no run {run}.", _hint(runs, Path(run).name, "Give a run's folder, or its name in runs/.")
        )

    def require_writable(self) -> None:
        """Raises RunError where nothing can be written; to be asked before work whose result is to be kept."""
        if not os.access(self.path, os.W_OK):
            raise RunError(
                f"{self.path} can be read but not written.", "Copy it to where you may write, and give the copy."
            )

    # ---- where things are

    @property
    def next_step(self) -> int:
        """The first step that is not committed."""
        return self._state.next_step

    @property
    def checkpoint(self) -> Path | None:
        """The folder that was committed last."""
        return self.path / self._state.checkpoint if self._state.checkpoint else None

    @property
    def finished(self) -> bool:
        """Whether the summary is written and no step is left."""
        summary = self.read_json("summary.json")
        return summary is not None and self.next_step >= (summary.get("steps") or self.recipe.steps or 0)

    @property
    def learns(self) -> bool:
        """Whether it ends with an adapter."""
        return self.recipe.policy.type != "scripted" and self.recipe.distill.enabled

    @property
    def memory_path(self) -> Path:
        """Folder of the memory."""
        return self.path / "memory"

    @property
    def checkpoints_path(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def adapter_path(self) -> Path:
        """Folder of the adapter that the run ended with."""
        return self.path / "adapter"

    @property
    def problems_path(self) -> Path:
        """The problems, where they were given as objects."""
        return self.path / PROBLEMS

    @property
    def log_path(self) -> Path:
        """What the terminal showed."""
        return self.path / "log.txt"

    # ---- steps

    def commit(
        self,
        step: int,
        metrics: Mapping[str, Any],
        rollouts: Sequence[Mapping[str, Any]],
        save: Callable[[Path], None],
        *,
        programs: Sequence[Mapping[str, Any]] = (),
        last: bool = False,
    ) -> None:
        """Record a step; every `checkpoint_every` steps, and at the last one, make all so far count.

        `save` writes into an empty folder what the next step needs. Raises RunError where the disk does not take it.
        """
        with writing(self.path):
            write_atomically(self.path / "rollouts" / f"step-{step:06d}.jsonl", to_lines(rollouts))
            if programs:
                write_atomically(self.path / FOLDER / f"step-{step:06d}.jsonl", to_lines(programs))
            due = last or (step + 1) % self.recipe.checkpoint_every == 0
            length = append(self.path / "metrics.jsonl", to_lines([{"step": step, **metrics}]), last=due)
            if due:
                checkpoint = replace_folder(self.checkpoints_path / f"step-{step + 1:06d}", save)
                self._set_state(_State(step + 1, self._relative(checkpoint), length))
                prune(self.checkpoints_path, self.next_step, self.recipe.keep_checkpoints)

    def write_folder(self, name: str, save: Callable[[Path], None]) -> Path:
        """A folder of the run, whole or not there: `save` fills an empty one, which then takes its place."""
        with writing(self.path):
            return replace_folder(self.path / name, save)

    def _take_back(self, *, longer: bool) -> None:
        """Remove what was written after the last commit, or after the newest one whose checkpoint is whole.

        A run that has ended, and is not to be `longer`, needs no checkpoint while its adapter is whole.
        """
        ended = self.finished and not longer and not (self.learns and damage(self.adapter_path))
        if self.checkpoint is not None and not ended:
            self._go_back_to_whole(self.checkpoint)
        metrics = self.path / "metrics.jsonl"
        if metrics.exists():
            if metrics.stat().st_size < self._state.metrics_bytes:
                raise _damaged(metrics, "lines are missing from its end")
            shorten(metrics, self._state.metrics_bytes)
        for rows in (*(self.path / "rollouts").glob("step-*"), *(self.path / FOLDER).glob("step-*")):
            if rows.suffix == TEMPORARY or number_of(rows) >= self.next_step:
                rows.unlink()
        for temporary in self.path.glob(f"*{TEMPORARY}"):
            discard(temporary) if temporary.is_dir() else temporary.unlink()
        prune(self.checkpoints_path, self.next_step, self.recipe.keep_checkpoints)

    def _go_back_to_whole(self, newest: Path) -> None:
        """To an earlier commit, where the last one's checkpoint is damaged. Raises RunError where none is whole."""
        reasons = {}
        for checkpoint in committed(self.checkpoints_path, self.next_step) or [newest]:
            if not (reason := damage(checkpoint)):
                break
            reasons[checkpoint] = reason
        else:
            raise _damaged(newest, reasons.get(newest) or "it is missing")
        if checkpoint == newest:
            return
        why = reasons.get(newest) or "it is missing"
        self.notes.append(f"{newest} is damaged ({why}): the run goes on from {checkpoint.name}, the checkpoint before")
        self._forget_end()  # first: after a kill here, it goes back again
        self._set_state(_State(number_of(checkpoint), self._relative(checkpoint), self._metrics_before(checkpoint)))

    def _metrics_before(self, checkpoint: Path) -> int:
        """Bytes of metrics.jsonl up to the step that a checkpoint goes on with."""
        lines = (self.path / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
        if len(lines) < number_of(checkpoint):
            raise _damaged(self.path / "metrics.jsonl", "lines are missing from its end")
        return sum(len(line) + 1 for line in lines[: number_of(checkpoint)])

    def _forget_end(self) -> None:
        """Its adapter goes, and what was measured at its end is measured again."""
        if self.adapter_path.is_dir():
            discard(self.adapter_path)
        for stale in [self.path / "summary.json", *self.path.glob("evaluation/final*")]:
            stale.unlink(missing_ok=True)

    def _set_state(self, state: _State) -> None:
        write_atomically(self.path / "state.json", to_json(asdict(state), indent=2))
        self._state = state

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.path))

    # ---- files

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl so far; one that is still being written is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        return list(read_lines(path, whole=False))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A file of the run; None where there is none. Raises RunError where it is damaged."""
        path = self.path / name
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise _damaged(path, str(error)) from None
        if not isinstance(found, dict):
            raise _damaged(path, "it holds no object")
        return found

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Replace a file of the run, folders made where they are missing. Raises RunError."""
        with writing(self.path):
            write_atomically(self.path / name, to_json(data, indent=2))

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """The same as JSON Lines."""
        with writing(self.path):
            write_atomically(self.path / name, to_lines(rows))


def fresh_name(runs: Path, name: str) -> str:
    """`name`, or the first of `name-2`, `name-3`, ... that is not taken in `runs`."""
    number, candidate = 1, name
    while (runs / candidate).exists():
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _write_recipe(path: Path, recipe: Recipe) -> None:
    command = " ".join(command_line().split())
    header = f"# Every setting of this run. Started, or resumed, with:\n#   {command}\n"
    write_atomically(path / "recipe.yaml", (header + dump_recipe(recipe)).encode("utf-8", "replace"))


def _hint(runs: Path, name: str, otherwise: str) -> str:
    names = sorted(p.parent.name for p in runs.glob("*/recipe.yaml"))
    near = difflib.get_close_matches(name, names, 3, 0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Runs in {runs}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}." if names else otherwise


def _damaged(path: Path, how: str) -> RunError:
    return RunError(f"{path} is damaged: {how}.", "Restore it from a copy, or start another run with --name NAME.")

"""Running a sweep: a process a run, so many side by side as the cores allow; what is finished is not run again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pmd_agent.console import Console, duration, percent
from pmd_agent.errors import RunError
from pmd_agent.recipe import dump_recipe, load_recipe
from pmd_agent.runs.folder import RunDir
from pmd_agent.sweep.plan import SweepRun


@dataclass
class _Board:
    """What the workers share."""

    waiting: deque[SweepRun]
    total: int
    done: int = 0
    finished_here: int = 0
    failed: list[str] = field(default_factory=list)
    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


def run_all(runs: Sequence[SweepRun], recipe: Path, console: Console, *, jobs: int) -> None:
    """Run what is not finished. A run that was killed goes on; one that fails is named, and the others go on.

    Raises RunError before anything is started where a folder holds another recipe's run, and at the end where runs failed.
    """
    waiting = deque(run for run in runs if not _is_finished(run))
    board = _Board(waiting, len(runs), done=len(runs) - len(waiting))
    if board.done:
        console.info(f"{board.done} of {board.total} runs are finished already")
    start = time.monotonic()
    workers = [
        threading.Thread(target=_work, args=(board, recipe, jobs, console, start), daemon=True)
        for _ in range(min(jobs, len(waiting)))
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        _stop(board)
        for worker in workers:
            worker.join()
        raise
    if board.failed:
        raise RunError(
            f"{len(board.failed)} of {board.total} runs failed: {', '.join(board.failed)}.",
            "Each one's output.txt says why. The same command runs what is missing.",
        )


def _is_finished(run: SweepRun) -> bool:
    """Whether its summary is there. Raises RunError where the folder holds a run of another recipe."""
    file = run.path / "recipe.yaml"
    if not file.is_file():
        return False
    if dump_recipe(load_recipe(file)) != dump_recipe(run.recipe):
        raise RunError(
            f"{run.path} holds a run of another recipe than the sweep now describes.",
            "Move that folder away, or give the sweep another name.",
        )
    return RunDir.open(run.path).finished


def _work(board: _Board, recipe: Path, jobs: int, console: Console, start: float) -> None:
    while True:
        with board.lock:
            if board.stopping.is_set() or not board.waiting:
                return
            run = board.waiting.popleft()
            began = time.monotonic()
            try:
                process = _begin(run, recipe, jobs)
            except OSError as error:  # no memory, no disk: the next run may fare no better, and is tried all the same
                board.done += 1
                board.failed.append(f"{run.path} ({error})")
                continue
            board.processes.add(process)
        code = process.wait()
        if code < 0 and board.stopping.is_set():
            return
        with board.lock:
            board.processes.discard(process)
            board.done += 1
            board.finished_here += 1
            if code:
                board.failed.append(str(run.path))
            left = len(board.waiting) + len(board.processes)
            each = (time.monotonic() - start) / board.finished_here
            console.info(
                f"{board.done:>{len(str(board.total))}}/{board.total} · {run.arm} · seed {run.seed} · {_told(run, code)} · "
                f"{duration(time.monotonic() - began)}" + (f" · eta {duration(each * left)}" if left else "")
            )


def _begin(run: SweepRun, recipe: Path, jobs: int) -> subprocess.Popen[bytes]:
    """`pmd run`, with its share of the cores where OMP_NUM_THREADS does not say another, its output beside its folder."""
    resume = ["--resume"] if (run.path / "recipe.yaml").is_file() else []
    run.path.parent.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    with (run.path.parent / f"{run.path.name}.output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pmd_agent", "run", str(recipe), *run.overrides, *resume],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": threads, **os.environ},
        )  # fmt: skip


def _stop(board: _Board) -> None:
    """End the runs that this process started; each is resumed by the next sweep."""
    with board.lock:
        board.stopping.set()
        for process in board.processes:
            process.terminate()


def _told(run: SweepRun, code: int) -> str:
    if code:
        output = run.path.parent / f"{run.path.name}.output.txt"
        lines = [line for line in output.read_text("utf-8", "replace").splitlines() if line.strip()]
        return f"failed with exit code {code}: {lines[-1].strip() if lines else 'no output'}"
    summary = RunDir.open(run.path).read_json("summary.json") or {}
    base, final = summary["base"]["free"], summary["final"]
    memory = f" ({percent(final['with_memory'])} with memory)" if final["with_memory"] is not None else ""
    return f"{percent(base)} -> {percent(final['free'])}{memory}"

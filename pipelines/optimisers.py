"""Tuning a program on a training set with one of DSPy's optimisers, within a number of metric calls."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from pmd_agent.errors import PipelineError, PMDError
from pmd_agent.pipelines.load_program import where
from pmd_agent.pipelines.metrics import Metric
from pmd_agent.pipelines.run_programs import run_programs
from pmd_agent.pipelines.state import settle
from pmd_agent.pipelines.style import Style, adapter_of
from pmd_agent.plugins import import_plugin

Examples = Sequence[dspy.Example]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a program is tuned."""

    optimiser: str
    """bootstrap, mipro, gepa, or package.module:Class."""
    metric: Metric | Callable[..., Any]
    calls: int
    """Of the metric, about, by the optimiser."""
    lm: dspy.LM
    """Which the program asks."""
    proposer: dspy.LM
    """Which writes new instructions, where the optimiser wants some written."""
    threads: int = 1
    demos: int = 1
    """Examples that are shown to each predictor, at most."""
    seed: int = 0
    style: Style = "box"
    """How the program's questions are laid out."""


def tune(module: dspy.Module, train: Examples, held_out: Examples, how: Tuning, threshold: float) -> dspy.Module | None:
    """A tuned copy; None where the optimiser came to nothing, because a model could not write what it was asked for.

    Raises PipelineError for any other failure of it. `threshold`: what an example has to score to be shown to others.
    """
    student = module.deepcopy()
    student._compiled = False  # it may have been tuned before
    with _quietly(), dspy.context(lm=how.lm, adapter=adapter_of(how.style)):
        try:
            found = _OPTIMISERS.get(how.optimiser, _of_ones_own)(student, train, held_out, how, threshold)
        except AdapterParseError:
            return None
        except PMDError:
            raise
        except Exception as error:
            raise PipelineError(
                f"pipeline.optimise: {how.optimiser} failed: {where(error)}.",
                "Mend it and go on with --resume, or choose another pipeline.optimise.optimiser.",
            ) from error
    models = {name: predictor.lm for name, predictor in module.named_predictors()}
    for name, predictor in found.named_predictors():
        predictor.lm = models.get(name)  # copies forget whom they ask
    return settle(found)


def scores(module: dspy.Module, examples: Examples, how: Tuning) -> list[float]:
    """The metric on each; what does not parse is worth 0. Raises PMDError."""
    answers = run_programs(how.lm, [partial(module, **example.inputs()) for example in examples], how.style)
    return [
        0.0 if answer is None else float(how.metric(example, answer))
        for example, (answer, _) in zip(examples, answers, strict=True)
    ]


def better(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the mean rose by more than two standard errors of the differences: on few examples most changes are noise."""
    differences = [a - b for a, b in zip(after, before, strict=True)]
    if len(differences) < 2:
        return False
    return mean(differences) > 2 * stdev(differences) / math.sqrt(len(differences))


def check_optimiser(name: str) -> None:
    """Raises PipelineError where there is no such optimiser, or what it needs is not installed."""
    if name == "mipro" and importlib.util.find_spec("optuna") is None:
        raise PipelineError(
            "pipeline.optimise.optimiser=mipro needs optuna, which is not installed.", "pip install optuna"
        )
    if name not in _OPTIMISERS:
        found = import_plugin(name, "Class", PipelineError)
        if not (inspect.isclass(found) and hasattr(found, "compile")):
            raise PipelineError(f"{name} is no optimiser of DSPy's: it has no compile.", "Name a class that has.")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Optimisers print, draw progress bars, and log each answer that does not parse."""
    logger = logging.getLogger("dspy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _bootstrap(student: Any, train: Examples, held_out: Examples, how: Tuning, threshold: float) -> Any:
    optimiser = dspy.BootstrapFewShot(
        metric=how.metric, metric_threshold=threshold, max_bootstrapped_demos=how.demos, max_labeled_demos=0,
        max_errors=how.calls + 1,
    )  # fmt: skip
    return optimiser.compile(student, trainset=list(train)[: how.calls])


def _mipro(student: Any, train: Examples, held_out: Examples, how: Tuning, threshold: float) -> Any:
    optimiser = dspy.MIPROv2(
        metric=how.metric, prompt_model=how.proposer, task_model=how.lm, auto=None, num_candidates=3, num_threads=how.threads,
        max_bootstrapped_demos=how.demos, max_labeled_demos=0, seed=how.seed, metric_threshold=threshold,
    )  # fmt: skip
    trials = max(1, how.calls // max(1, len(held_out)) - 1)
    return optimiser.compile(
        student, trainset=list(train), valset=list(held_out), num_trials=trials, minibatch=False, seed=how.seed
    )


def _gepa(student: Any, train: Examples, held_out: Examples, how: Tuning, threshold: float) -> Any:
    optimiser = dspy.GEPA(
        metric=how.metric,
        max_metric_calls=how.calls,
        reflection_lm=how.proposer,
        num_threads=how.threads,
        seed=how.seed,
    )
    return optimiser.compile(student, trainset=list(train), valset=list(held_out))


def _of_ones_own(student: Any, train: Examples, held_out: Examples, how: Tuning, threshold: float) -> Any:
    """`Class(metric=...)`, then `compile(student, trainset=...)`, with `valset` where it takes one."""
    optimiser = import_plugin(how.optimiser, "Class", PipelineError)(metric=how.metric)
    accepted = inspect.signature(optimiser.compile).parameters
    more = {"valset": list(held_out)} if "valset" in accepted else {}
    return optimiser.compile(student, trainset=list(train)[: how.calls], **more)


_OPTIMISERS: dict[str, Callable[[Any, Examples, Examples, Tuning, float], Any]] = {
    "bootstrap": _bootstrap,
    "mipro": _mipro,
    "gepa": _gepa,
}

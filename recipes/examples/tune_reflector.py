"""Tune a run's reflector on what it wrote, and start a run with it.

Purpose   See whether a reflector with better instructions, or with examples, writes memories that teach more.
Hardware  What the run itself needs.
Command   python recipes/examples/tune_reflector.py runs/quickstart --optimiser gepa --budget 120 --name tuned

The policy in the box can follow examples (bootstrap) but cannot write instructions: for gepa and mipro give it a model that
can, `--proposer openai/NAME`.
"""

from __future__ import annotations

import argparse
from typing import Any

import dspy

import pmd_agent as pmd
from pmd_agent.pipelines import StrictJSONAdapter


def main(arguments: list[str] | None = None) -> pmd.Run | None:
    """The new run; None where the tuned reflector is no better and none is made."""
    told = options().parse_args(arguments)
    run = pmd.Run.open(told.run)
    examples = run.reflections()
    half = len(examples) // 2
    train, held_out = examples[:half], examples[half:][: told.budget // 4]
    reflector: Any = run.reflector

    with run.policy() as policy:
        metric = pmd.metrics.support if told.metric == "support" else pmd.metrics.teacher_gain(policy)
        proposer = dspy.LM(told.proposer) if told.proposer else policy.lm(temperature=1.0)
        with dspy.context(lm=policy.lm(), adapter=StrictJSONAdapter()):
            # One thread: the policy cannot answer and be measured at the same time.
            score = dspy.Evaluate(devset=held_out, metric=metric, num_threads=1)
            before = score(reflector).score
            better = compiled(told.optimiser, reflector, train, held_out, metric, proposer, told.budget)
            after = score(better).score
    print(f"{metric.__name__} on {len(held_out)} reflections: {before:.1f} -> {after:.1f}")
    if not improved(before, after):
        return None

    # A new run; to go on with this one instead: pmd.Run.open(told.run, reflector=better)
    return pmd.Run.create(run.recipe, name=told.name, reflector=better).finish()


def improved(before: float, after: float) -> bool:
    """Whether to go on with it. On few reflections a small difference is noise."""
    return after > before


def compiled(
    optimiser: str, module: Any, train: list[Any], held_out: list[Any], metric: Any, proposer: dspy.LM, budget: int
) -> Any:
    """The module after one of DSPy's optimisers."""
    if optimiser == "gepa":
        gepa = dspy.GEPA(metric=metric, max_metric_calls=budget, reflection_lm=proposer, num_threads=1)
        return gepa.compile(module, trainset=train, valset=held_out)
    if optimiser == "mipro":
        mipro = dspy.MIPROv2(metric=metric, prompt_model=proposer, auto=None, num_candidates=3, num_threads=1)
        trials = max(1, budget // len(held_out) - 1)
        return mipro.compile(module, trainset=train, valset=held_out, num_trials=trials, minibatch=False)
    bootstrap = dspy.BootstrapFewShot(
        metric=metric, metric_threshold=0.5, max_bootstrapped_demos=1, max_labeled_demos=0, max_errors=budget
    )
    return bootstrap.compile(module, trainset=train[:budget])


def options() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a finished run's folder")
    parser.add_argument("--optimiser", choices=["bootstrap", "gepa", "mipro"], default="bootstrap")
    parser.add_argument("--metric", choices=["teacher_gain", "support"], default="teacher_gain")
    parser.add_argument("--budget", type=int, default=60, help="metric calls, about")
    parser.add_argument("--proposer", default="", help="provider/name of a model that writes instructions")
    parser.add_argument("--name", default="tuned", help="of the new run")
    return parser


if __name__ == "__main__":
    main()

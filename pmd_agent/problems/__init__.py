"""Data sources: files, the hub, Python functions and objects, SciKnowEval, GSM8K, MATH, MBPP, HumanEval, LiveCodeBench, made-up
worlds; each becomes training, validation and test problems."""

from pmd_agent.problems.function import load_function
from pmd_agent.problems.given import Item, as_rows, given_problems, read_given
from pmd_agent.problems.sets import ProblemSets, divided, load_problems
from pmd_agent.problems.sources import Row, load_hub, read, read_rows
from pmd_agent.problems.split import Split, first_of_each_kind, hold_out

__all__ = [
    "Item",
    "ProblemSets",
    "Row",
    "Split",
    "as_rows",
    "divided",
    "first_of_each_kind",
    "given_problems",
    "hold_out",
    "load_function",
    "load_hub",
    "load_problems",
    "read",
    "read_given",
    "read_rows",
]

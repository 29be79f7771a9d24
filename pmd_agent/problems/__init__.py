"""Data sources: files, the Hugging Face hub, SciKnowEval, Python functions; each becomes a `Split` of Problems."""

from pmd_agent.problems.function import load_function
from pmd_agent.problems.sources import Row, load_hub, read, read_rows
from pmd_agent.problems.split import Split, hold_out, validation_split

__all__ = ["Row", "Split", "hold_out", "load_function", "load_hub", "read", "read_rows", "validation_split"]

"""Errors a user can cause, and mend.

    PMDError
    ├── RecipeError        the recipe says something that cannot be
    ├── ProblemError       a data source or one of its rows
    ├── VerifierError      a checker that cannot be run here
    ├── PolicyError        a model that cannot be loaded, sampled or adapted
    ├── PipelineError      a reflection or generalisation program that cannot be built
    ├── MemoryStoreError   a store that cannot be opened, read or written
    ├── RunError           a run directory that is taken, missing or damaged
    └── OutputError        a terminal, pipe or file that takes no more of what is shown

Each is one message: what failed, why, what to type. The command line prints it without a traceback and exits with 2.
Anything else that escapes is a bug, and keeps its traceback.
"""


class PMDError(Exception):
    """The root. `hint` is what to type or change."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class RecipeError(PMDError):
    """The recipe says something that cannot be."""


class ProblemError(PMDError):
    """A data source or one of its rows."""


class VerifierError(PMDError):
    """A checker that cannot be run here."""


class PolicyError(PMDError):
    """A model that cannot be loaded, sampled or adapted."""


class PipelineError(PMDError):
    """A reflection or generalisation program that cannot be built."""


class MemoryStoreError(PMDError):
    """A store that cannot be opened, read or written."""


class RunError(PMDError):
    """A run directory that is taken, missing or damaged."""


class OutputError(PMDError):
    """A terminal, pipe or file that takes no more of what is shown."""

    def __init__(self, message: str, hint: str = "", *, closed: bool = False) -> None:
        super().__init__(message, hint)
        self.closed = closed
        """The reader has gone, such as `head` after its first line: nobody is there to be told."""

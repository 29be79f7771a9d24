"""What a Python program gives as objects, in place of what the recipe names: problems, a verifier, DSPy modules.

The recipe names them all the same, so that a run's folder says what made it. Problems are data and are kept in that
folder. Code is not: a function or class that another process can import is found again by its name, any other has to be
given again.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pmd_agent.assembly.programs import CALLED_WITH, ROLES, Role, named
from pmd_agent.assembly.tools import tool_episodes
from pmd_agent.environment import Environments, environments_from
from pmd_agent.errors import PipelineError, RecipeError
from pmd_agent.problems import ProblemSets
from pmd_agent.problems.environments import environments_of
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.problems import SandboxSection
from pmd_agent.recipe.tools import Tools
from pmd_agent.types import Problem
from pmd_agent.verifiers import GIVEN, FunctionVerifier, Verifier, check_callable

if TYPE_CHECKING:
    import dspy

Check = Verifier | Callable[[Problem, str], Any]
"""A verifier, or a function of a problem and a text, as docs/problems.md describes it."""


@dataclass(frozen=True, slots=True)
class Given:
    """None: what the recipe names."""

    problems: ProblemSets | None = None
    verifier: Check | None = None
    reflector: dspy.Module | None = None
    generaliser: dspy.Module | None = None
    environment: Any = None
    """A class with start, act and close, or a function that makes such an object."""

    def named(self, recipe: Recipe) -> Recipe:
        """The recipe with the names of what is given. Raises PipelineError for a program that cannot be called as it will be."""
        for role in ROLES:
            if (program := getattr(self, role)) is not None:
                _check_program(role, program)
        recipe = named(recipe, reflector=self.reflector, generaliser=self.generaliser)
        if self.verifier is not None:
            checked = recipe.problems.model_copy(update={"verifier": name_of(self.verifier)})
            recipe = recipe.model_copy(update={"problems": checked})
        if self.environment is not None:
            if "environment" not in type(recipe.problems).model_fields:
                raise RecipeError(
                    f"problems.type={recipe.problems.type} takes no environment.",
                    "Give the problems as well, or a file's.",
                )
            placed = recipe.problems.model_copy(update={"environment": name_of(self.environment)})
            recipe = recipe.model_copy(update={"problems": placed})
        return recipe

    def environments(self, recipe: Recipe) -> Environments | None:
        """What answers the attempts, where they are episodes. Raises RecipeError."""
        tools: Tools = getattr(recipe.problems, "tools", ())
        if tools and (self.environment is not None or getattr(recipe.problems, "environment", None)):
            raise RecipeError("problems.tools and an environment are both set.", "Leave out one of the two.")
        if tools:
            return tool_episodes(tools, getattr(recipe.problems, "sandbox", SandboxSection()))
        if self.environment is None:
            return environments_of(recipe.problems)
        return environments_from(self.environment, name_of(self.environment))

    def check(self, recipe: Recipe) -> Verifier | None:
        """The verifier that is given. Raises RecipeError where it cannot be called."""
        if self.verifier is None or hasattr(self.verifier, "verify"):
            return self.verifier
        name = name_of(self.verifier)
        check_callable(self.verifier, name)
        return FunctionVerifier(self.verifier, name, recipe.rollout.success_threshold)


def _check_program(role: Role, program: object) -> None:
    if isinstance(program, type) or not hasattr(program, "named_predictors"):
        raise PipelineError(
            f"The {role} that is given is a {type(program).__name__}, and no dspy.Module.",
            f"Give an object of a class that is derived from dspy.Module: {role}=Mine(), not {role}=Mine.",
        )
    from pmd_agent.pipelines.load_program import check_call

    check_call(f"The {role} {type(program).__qualname__}", type(program), CALLED_WITH[role])


def name_of(check: Any) -> str:
    """`module:function` where another process finds it so; else `given:` and what it is called."""
    what = check if hasattr(check, "__qualname__") else type(check)
    module, name = what.__module__, what.__qualname__
    if what is check and name.isidentifier() and _imports(module) and getattr(sys.modules[module], name, None) is check:
        return f"{module}:{name}"
    return f"{GIVEN}{module}.{name}"


def _imports(module: str) -> bool:
    """Whether another process can import it: a notebook's cells and a script are `__main__`."""
    try:
        return module != "__main__" and module in sys.modules and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False

"""From a recipe's name to a verifier."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from pmd_agent.errors import RecipeError
from pmd_agent.recipe.problems import Problems, SandboxSection
from pmd_agent.recipe.worlds import ReasoningGymProblems
from pmd_agent.verifiers.base import Verifier
from pmd_agent.verifiers.by_environment import ByEnvironment, Nobody
from pmd_agent.verifiers.code import CodeVerifier, Limits
from pmd_agent.verifiers.exact import Exact
from pmd_agent.verifiers.function import import_verifier
from pmd_agent.verifiers.mathematics import Mathematics
from pmd_agent.verifiers.multiple_choice import MultipleChoice
from pmd_agent.verifiers.parts import Parts
from pmd_agent.verifiers.reasoning_gym_scorer import ReasoningGym

GIVEN = "given:"
"""Leads the name of a verifier that was given as an object, and that no other process can import."""
BUILT_IN: dict[str, Callable[..., Verifier]] = {
    "multiple_choice": MultipleChoice,
    "exact": Exact,
    "parts": Parts,
    "math": Mathematics,
    "code": CodeVerifier,
    "environment": ByEnvironment,
    "none": Nobody,
}


def verifier_of(section: Problems, success_threshold: float) -> Verifier:
    """The verifier that a recipe's section `problems` names, with its settings. Raises RecipeError."""
    if isinstance(section, ReasoningGymProblems):
        return ReasoningGym(section.settings, success_threshold)
    parse = getattr(section, "parse", "lenient")
    if section.verifier == "multiple_choice":
        return build_verifier("multiple_choice", success_threshold, parse=parse)
    if parse != "lenient":
        raise RecipeError(
            f"problems.parse={parse} is a rule for multiple_choice, and the verifier is {section.verifier}.",
            "Leave it out, or set problems.verifier=multiple_choice.",
        )
    if section.verifier == "parts":
        return build_verifier("parts", success_threshold, feedback=getattr(section, "feedback", "message"))
    if section.verifier != "code":
        return build_verifier(section.verifier, success_threshold)
    sandbox = getattr(section, "sandbox", SandboxSection())
    limits = Limits(seconds=sandbox.seconds, wall=2.5 * sandbox.seconds, memory=sandbox.memory_mib << 20)
    settings = sandbox.model_dump(include={"total_seconds", "fraction", "cores", "allow_unsafe"})
    return build_verifier("code", success_threshold, limits=limits, **settings)


def build_verifier(name: str, success_threshold: float = 0.5, **settings: Any) -> Verifier:
    """`multiple_choice`, `exact`, `parts`, `math`, `code`, `environment`, `none`, or `package.module:function` of your own.

    `success_threshold`, in (0, 1], is the reward from which an attempt is correct, for functions; the others say themselves.
    `settings` are those of `code` (see CodeVerifier), `parts` or `multiple_choice`, and are for no other. VerifierError where
    a package is missing; RecipeError for an unknown name (it says the nearest one), or a function that cannot be used.
    """
    if not 0.0 < success_threshold <= 1.0:
        raise RecipeError(f"The success threshold is {success_threshold}.", "Give a number above 0, up to 1.")
    if name in BUILT_IN:
        return BUILT_IN[name](**settings)
    if name.startswith(GIVEN):
        raise RecipeError(
            f"The verifier {name.removeprefix(GIVEN)} was given as an object, and cannot be imported by its name.",
            "Give it again: pmd_agent.Run.open(RUN, verifier=...); a function in a module of its own is found by itself.",
        )
    if ":" in name:
        return import_verifier(name, success_threshold)
    close = difflib.get_close_matches(name.lower().replace("-", "_").replace(" ", "_"), BUILT_IN, n=1, cutoff=0.4)
    known = f"Known: {', '.join(BUILT_IN)}, or your own as package.module:function."
    raise RecipeError(f"There is no verifier {name!r}.", f"Did you mean {close[0]}? {known}" if close else known)

"""Verifiers: what tells a right answer from a wrong one, and says why without giving the answer away."""

from pmd_agent.verifiers.base import Verified, Verifier, verify_all
from pmd_agent.verifiers.build import GIVEN, build_verifier, verifier_of
from pmd_agent.verifiers.code import CodeVerifier
from pmd_agent.verifiers.exact import Exact
from pmd_agent.verifiers.function import FunctionVerifier, check_callable
from pmd_agent.verifiers.mathematics import Mathematics
from pmd_agent.verifiers.multiple_choice import MultipleChoice
from pmd_agent.verifiers.parts import Parts

__all__ = [
    "GIVEN",
    "CodeVerifier",
    "Exact",
    "FunctionVerifier",
    "Mathematics",
    "MultipleChoice",
    "Parts",
    "Verified",
    "Verifier",
    "build_verifier",
    "check_callable",
    "verifier_of",
    "verify_all",
]

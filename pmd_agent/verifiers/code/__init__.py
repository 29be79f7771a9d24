"""Programs: taken out of a completion, run in a sandbox, judged outside of it."""

from pmd_agent.verifiers.code.jail.room import Limits
from pmd_agent.verifiers.code.sandbox import ESSENTIAL, Sandbox, protections
from pmd_agent.verifiers.code.verifier import CodeVerifier

__all__ = ["ESSENTIAL", "CodeVerifier", "Limits", "Sandbox", "protections"]

"""The seam between the loop and a language model: `Policy`."""

from pmd_agent.policies.base import Messages, Policy

__all__ = ["Messages", "Policy"]

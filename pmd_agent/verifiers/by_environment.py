"""No verifier: the environment of an episode gives the reward itself, or nobody does."""

from __future__ import annotations

from pmd_agent.types import Problem, Verdict


class ByEnvironment:
    """Asked only where an environment has no reward: then nothing can be checked."""

    votes = False

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Unchecked."""
        return Verdict(None, None, "the environment gives the reward (problems.verifier=environment), and it gave none")


class Nobody:
    """Of chats without a verifier: the policy's own attempts are not judged."""

    votes = False

    def verify(self, problem: Problem, text: str) -> Verdict:
        """Unchecked."""
        return Verdict(None, None, "nothing judges it (problems.verifier=none)")

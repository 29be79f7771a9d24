"""The same words to a run's base and to its adapter: two conversations, each with the replies that were given in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pmd_agent.assembly.problems import problems_of
from pmd_agent.assembly.run_policy import RunPolicy
from pmd_agent.errors import RunError
from pmd_agent.policies import Policy
from pmd_agent.policies.base import Messages
from pmd_agent.types import Completion, Problem, Sampling

BASE, ADAPTER = "base", "adapter"


@dataclass(slots=True)
class Conversations:
    """One set of weights answers as the base and as the adapter in turn. Both draw with the same seed."""

    policy: RunPolicy
    sampling: Sampling
    system: str | None = None
    """The system message; None: the one that the run's problems share."""
    said: dict[str, Messages] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Who answers: a run that learns nothing has a base alone."""
        return [BASE, ADAPTER] if self.policy.learnt else [BASE]

    def say(self, text: str, *, system: str | None = None) -> dict[str, Completion]:
        """Each one's reply, which stays in its conversation. Raises RunError where one has no room left; then none does."""
        asked: dict[str, Messages] = {}
        for name in self.names:
            opening = self._opening(system)
            asked[name] = [*(self.said.get(name) or opening), {"role": "user", "content": text}]
            _require_room(self.policy.policy, asked[name], self.policy.context)
        replies: dict[str, Completion] = {}
        for name in self.names:
            self.policy.load(base=name == BASE)
            ((replies[name],),) = self.policy.policy.sample([asked[name]], 1, self.sampling)
        for name, reply in replies.items():
            self.said[name] = [*asked[name], {"role": "assistant", "content": reply.text}]
        return replies

    def pose(self, problem: Problem) -> dict[str, Completion]:
        """Each one's answer to a problem, as the run asks it, in a new conversation."""
        self.forget()
        return self.say(problem.prompt, system=problem.system)

    def forget(self) -> None:
        """Begin anew."""
        self.said = {}

    def test_problems(self) -> Sequence[Problem]:
        """Those of the run. Raises ProblemError where they cannot be read any more."""
        return problems_of(self.policy.run).test

    def _opening(self, system: str | None) -> Messages:
        given = system if self.system is None else self.system
        text = self.policy.system if given is None else given
        return [{"role": "system", "content": text}] if text else []


def _require_room(policy: Policy, messages: Messages, context: int) -> None:
    if (tokens := len(policy.encode(messages))) >= context:
        raise RunError(
            f"The conversation has {tokens} tokens, and the model reads and writes {context} in all.",
            "Begin another one (/new), or say less.",
        )

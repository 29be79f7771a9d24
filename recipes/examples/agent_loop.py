"""An agent of one's own, with OpenAI's messages: it recalls before it acts, and memory learns from what came of it.

    pmd run recipes/episodes.yaml
    python recipes/examples/agent_loop.py runs/episodes

The service is the world in the box, an operator a turn; the model is the run's own policy. Yours may be any: `reply` is the only
place that asks it. What was tried lies in the run's traces.jsonl in the end, and a run distils it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pmd_agent as pmd
from pmd_agent.problems.world_episode import WorldEpisode

Messages = list[dict[str, str]]


def act(reply: Callable[[Messages], str], problem: Any, notes: str) -> tuple[Messages, float]:
    """One episode: the messages, without the notes, and the service's reward."""
    service = WorldEpisode()
    messages = service.start(problem)
    hint = [{"role": "user", "content": notes.replace(problem.prompt, messages[-1]["content"])}]
    told: Messages = [*messages[:-1], *hint]
    while True:
        said = {"role": "assistant", "content": reply(told)}
        messages, told = [*messages, said], [*told, said]
        observation = service.act(said["content"])
        if observation is None:
            return messages, service.reward or 0.0
        heard = {"role": "user", "content": observation}
        messages, told = [*messages, heard], [*told, heard]


def main(run_folder: str, count: int = 8) -> float:
    """Returns the mean reward."""
    run = pmd.Run.open(run_folder)
    rewards = []
    with run.policy() as policy, run.memory(write=True) as memory:
        for problem in memory.problems[:count]:
            notes = memory.recall(problem).text
            messages, reward = act(lambda told: policy.chat(told, temperature=1.0, seed=len(rewards)), problem, notes)
            memory.learn(messages, reward)
            rewards.append(reward)
    print(f"mean reward {sum(rewards) / len(rewards):.2f}; what was tried is in {Path(run.path) / 'traces.jsonl'}")
    print(f"pmd run recipes/examples/traces.yaml problems.path={Path(run.path) / 'traces.jsonl'}")
    return sum(rewards) / len(rewards)


if __name__ == "__main__":
    main(sys.argv[1])

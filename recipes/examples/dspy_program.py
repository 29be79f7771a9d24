"""A DSPy program in production: it reads memory beside the question, and memory learns from what the user says of the answer.

pmd run recipes/quickstart.yaml
python recipes/examples/dspy_program.py runs/quickstart
"""

from __future__ import annotations

import sys

import dspy

import pmd_agent as pmd
from pmd_agent.problems.world import SYSTEM


class Solver(dspy.Module):
    """Asks the model with the notes that memory has on the question. Any module may call `recall` like this."""

    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def forward(self, question: str) -> dspy.Prediction:
        notes = self.memory.recall(question).text  # the question is its end
        (said,) = dspy.settings.lm(f"{SYSTEM}\n\n{notes}")
        return dspy.Prediction(reply=said, answer=said.rpartition("<answer>")[2].partition("</answer>")[0].strip())


def main(run_folder: str, count: int = 8) -> float:
    """Returns the share of right answers."""
    run = pmd.Run.open(run_folder)
    right = 0
    with run.policy() as policy, run.memory(write=True) as memory, dspy.context(lm=policy.lm(max_tokens=96)):
        solver = Solver(memory)
        for problem in memory.problems[:count]:
            found = solver(question=problem.prompt)
            reward = found.answer == problem.answer  # in production: a user's thumb, a test, a ticket that stays closed
            chat = [{"role": "user", "content": problem.prompt}, {"role": "assistant", "content": found.reply}]
            memory.learn(chat, reward)
            right += reward
    print(f"{right} of {count} right; what was tried is in {run.path / 'traces.jsonl'}")
    return right / count


if __name__ == "__main__":
    main(sys.argv[1])

"""Of several turns: a number to be found by asking. The reward is 1 for the number, less a tenth for each turn beyond the first."""

import verifiers as vf
from datasets import Dataset


class Guess(vf.MultiTurnEnv):
    @vf.stop
    async def found(self, state, **kwargs):
        return any(m["content"].strip() == state["answer"] for m in replies(state))

    async def env_response(self, messages, state, **kwargs):
        said = messages[-1]["content"].strip()
        if said == "boom":
            raise RuntimeError("the board is broken")
        if not said.isdigit():
            return [{"role": "user", "content": "Give a number."}]
        return [{"role": "user", "content": "Higher." if int(said) < int(state["answer"]) else "Lower."}]


def replies(state):
    return [m for step in state["trajectory"] for m in step["completion"]]


def load_environment():
    def reward(completion, answer) -> float:
        said = [m["content"].strip() for m in completion if m["role"] == "assistant"]
        return max(0.0, 1.1 - len(said) / 10) if said and said[-1] == answer else 0.0

    rows = Dataset.from_list([{"question": f"Guess a number, game {n}.", "answer": str(n + 3)} for n in range(8)])
    return Guess(dataset=rows, max_turns=4, rubric=vf.Rubric(funcs=[reward]))

"""Of one turn, with an evaluation set: the reward is 1 for the sum, 0.5 for one beside it."""

import verifiers as vf
from datasets import Dataset


def load_environment(size: int = 12):
    print("loading, on stdout")

    def close(completion, answer) -> float:
        said = completion[-1]["content"].split()[-1]
        return {0: 1.0, 1: 0.5}.get(abs(int(said) - int(answer)), 0.0) if said.isdigit() else 0.0

    def rows(first):
        return Dataset.from_list(
            [{"question": f"{n} + {n}?", "answer": str(2 * n)} for n in range(first, first + size)]
        )

    return vf.SingleTurnEnv(
        dataset=rows(0), eval_dataset=rows(100), system_prompt="Answer with a number.", rubric=vf.Rubric(funcs=[close])
    )

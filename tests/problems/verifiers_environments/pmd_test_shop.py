"""With a tool: the price of a thing is to be looked up."""

import verifiers as vf
from datasets import Dataset


def price(thing: str) -> str:
    """The price of a thing."""
    return f"{len(thing)} coins"


def load_environment():
    def right(completion, answer) -> float:
        return float(answer in completion[-1]["content"])

    rows = Dataset.from_list(
        [{"question": f"What is {thing}?", "answer": f"{len(thing)} coins"} for thing in ("tea", "bread", "butter")]
    )
    return vf.ToolEnv(dataset=rows, tools=[price], max_turns=3, rubric=vf.Rubric(funcs=[right]))

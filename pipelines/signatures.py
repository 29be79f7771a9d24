"""What the policy is asked when it reflects. A docstring here is the instruction that it reads.

The policy in the box was pretrained on exactly these texts (recipes/box/documents.py): changing a word here means
building it again.
"""

from __future__ import annotations

import dspy


class Contrast(dspy.Signature):  # type: ignore[misc]
    """Compare the attempts at one problem. A strategy says what all correct attempts did, so that it can be done again. A lesson says what failed attempts did that correct ones did not. Write each as one short imperative sentence. Never state the final answer."""  # noqa: E501

    problem: str = dspy.InputField(desc="the problem")
    attempts: str = dspy.InputField(desc="attempts with their verdicts")
    strategies: list[str] = dspy.OutputField(desc="what to do again")
    lessons: list[str] = dspy.OutputField(desc="what to avoid")


class Postmortem(dspy.Signature):  # type: ignore[misc]
    """Every attempt at this problem failed. A lesson says what these attempts did, so that it is not tried again. Do not guess what is right. Write each as one short imperative sentence."""  # noqa: E501

    problem: str = dspy.InputField(desc="the problem")
    attempts: str = dspy.InputField(desc="failed attempts")
    lessons: list[str] = dspy.OutputField(desc="what to avoid")


class Abstract(dspy.Signature):  # type: ignore[misc]
    """Find what recurs in insights from different problems. Write general rules, each as a short name, a colon and one imperative sentence. Keep a rule only where several problems support it. Where insights contradict each other, keep the one with more support."""  # noqa: E501

    insights: str = dspy.InputField(desc="insights, each with the number of problems that support it")
    behaviors: list[str] = dspy.OutputField(desc="general rules, as name: rule")

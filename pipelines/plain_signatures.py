"""The same questions for instruct models, which were pretrained on no such texts: what, for whom, in which words.

A note that helps on the next task says when it applies and exactly what to do; left alone, small models retell the attempts.
"""

from __future__ import annotations

import dspy


class Contrast(dspy.Signature):  # type: ignore[misc]
    """You write notes for a colleague who will get tasks of this kind and has not seen these attempts. Compare the correct attempts with the failed ones. A strategy says what the correct ones did, exactly enough to be done again. A lesson says which mistake made the others fail. Write one or two of each, one short sentence each, that begins with when it applies, such as: For ... tasks, write .... Where a form matters, show it with other values than those of this task."""  # noqa: E501

    problem: str = dspy.InputField(desc="the task")
    attempts: str = dspy.InputField(desc="answers to it, each correct or failed, with the checker's feedback")
    strategies: list[str] = dspy.OutputField(desc="what to do again")
    lessons: list[str] = dspy.OutputField(desc="what to avoid")


class Postmortem(dspy.Signature):  # type: ignore[misc]
    """You write notes for a colleague who will get tasks of this kind and has not seen these attempts. All of them failed. A lesson says which mistake they made and, where the feedback says what is wanted instead, that. Write one or two, one short sentence each, that begins with when it applies, such as: For ... tasks, do not .... Do not invent what the feedback does not say."""  # noqa: E501

    problem: str = dspy.InputField(desc="the task")
    attempts: str = dspy.InputField(desc="failed answers to it, with the checker's feedback")
    lessons: list[str] = dspy.OutputField(desc="what to avoid")


class Abstract(dspy.Signature):  # type: ignore[misc]
    """You write a short handbook from notes on single tasks. Each rule is a short name, a colon, and one sentence that says when it applies and exactly what to do, in the words of the notes. Notes that say the same become one rule; what holds for one case only, such as one department or one kind of task, says so. Leave out numbers and names of single tasks. Where notes contradict each other, keep the one with more support."""  # noqa: E501

    insights: str = dspy.InputField(desc="notes, each with the number of tasks that support it")
    behaviors: list[str] = dspy.OutputField(desc="rules, as name: rule")

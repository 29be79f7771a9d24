"""The stages of one step, as verbs. Each takes the parts and what flows in, returns what flows out, and adds to the metrics.

No tensors here: what a stage needs of a model is behind `Policy`, what learning needs is behind the trainer.

attempt.py   attempt, verify, remember       reflect.py   reflect, generalise
recall.py    recall                          teacher_prompts.py  what teachers read
distil.py    distil, sync                    retain.py    tidy, weigh
evaluate.py  evaluate                        parts.py     what all of them share
"""

from pmd_agent.stages.attempt import attempt, remember, verify
from pmd_agent.stages.distil import distil, publish_adapter, sync
from pmd_agent.stages.evaluate import evaluate
from pmd_agent.stages.parts import Metrics, Parts, seed_for
from pmd_agent.stages.recall import recall, wanted
from pmd_agent.stages.reflect import generalise, reflect
from pmd_agent.stages.retain import tidy, weigh
from pmd_agent.stages.teacher_prompts import TeacherPrompts, teacher_prompts

__all__ = [
    "Metrics", "Parts", "TeacherPrompts", "attempt", "distil", "evaluate", "generalise", "publish_adapter", "recall", "reflect",
    "remember", "seed_for", "sync", "teacher_prompts", "tidy", "verify", "wanted", "weigh",
]  # fmt: skip

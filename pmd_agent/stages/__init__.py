"""The stages of one step. Each takes the parts and what flows in, returns what flows out, and adds to the metrics.

No tensors here: what a stage needs of a model is behind `Policy`, what learning needs is behind the trainer.

A file for each, of its name. parts.py has what all of them share, program_lm.py which model runs the programs.
"""

from pmd_agent.stages.ahead import sampling_ahead
from pmd_agent.stages.attempt import attempt
from pmd_agent.stages.distil import Learnt, distil
from pmd_agent.stages.early import Early
from pmd_agent.stages.evaluate import evaluate
from pmd_agent.stages.generalise import generalise
from pmd_agent.stages.optimise import optimise
from pmd_agent.stages.parts import Metrics, Parts, reads_memory, seed_for
from pmd_agent.stages.recall import recall, wanted
from pmd_agent.stages.reflect import reflect
from pmd_agent.stages.remember import remember
from pmd_agent.stages.sync import publish_adapter, sync
from pmd_agent.stages.teacher_prompts import TeacherPrompts, teacher_prompts
from pmd_agent.stages.tidy import tidy
from pmd_agent.stages.time_left import time_left
from pmd_agent.stages.verify import verify
from pmd_agent.stages.weigh import weigh

__all__ = [
    "Early", "Learnt", "Metrics", "Parts", "TeacherPrompts", "attempt", "distil", "evaluate", "generalise", "optimise",
    "publish_adapter", "reads_memory", "recall", "reflect", "remember", "sampling_ahead", "seed_for", "sync",
    "teacher_prompts", "tidy", "time_left", "verify", "wanted", "weigh",
]  # fmt: skip

"""The stages of one step, as verbs. Each takes the parts and what flows in, returns what flows out, and adds to the metrics.

No tensors here: what a stage needs of a model is behind `Policy`, what learning needs is behind the trainer.

practice.py   attempt, verify, remember         writing.py    reflect, generalise
reading.py    recall                            teaching.py   distil, sync
keeping.py    tidy, weigh                       measuring.py  evaluate
parts.py      what all of them share
"""

from pmd_agent.stages.keeping import tidy, weigh
from pmd_agent.stages.measuring import evaluate
from pmd_agent.stages.parts import Metrics, Parts, seed_for
from pmd_agent.stages.practice import attempt, remember, verify
from pmd_agent.stages.reading import recall, wanted
from pmd_agent.stages.teaching import distil, publish_adapter, sync
from pmd_agent.stages.writing import generalise, reflect

__all__ = [
    "Metrics", "Parts", "attempt", "distil", "evaluate", "generalise", "publish_adapter", "recall", "reflect", "remember",
    "seed_for", "sync", "tidy", "verify", "wanted", "weigh",
]  # fmt: skip

"""The stages of one step, as verbs. Each takes the parts and what flows in, returns what flows out, and adds to the metrics.

No tensors here: what a stage needs of a model is behind `Policy`, what learning needs is behind the trainer.

practice.py   attempt, verify, remember         reflect.py    reflect, generalise
reading.py    recall                            distil.py   distil, sync
retain.py    tidy, weigh                       evaluate.py  evaluate
optimise.py   optimise                          parts.py     what all of them share
"""

from pmd_agent.stages.attempt import attempt, remember, verify
from pmd_agent.stages.distil import distil, publish_adapter, sync
from pmd_agent.stages.draw import Teaching
from pmd_agent.stages.evaluate import evaluate
from pmd_agent.stages.optimise import optimise
from pmd_agent.stages.parts import Metrics, Parts, seed_for
from pmd_agent.stages.recall import recall, wanted
from pmd_agent.stages.reflect import generalise, reflect
from pmd_agent.stages.retain import tidy, weigh

__all__ = [
    "Metrics", "Parts", "Teaching", "attempt", "distil", "evaluate", "generalise", "optimise", "publish_adapter", "recall",
    "reflect", "remember", "seed_for", "sync", "tidy", "verify", "wanted", "weigh",
]  # fmt: skip

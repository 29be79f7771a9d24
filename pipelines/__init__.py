"""The programs by which the policy writes its own memory: DSPy modules, composed freely.

Reflector      one problem's attempts  -> strategies and lessons
Generaliser    a cluster's insights    -> named behaviors
After, Beside  reflectors one after another, or side by side; Critic revises a draft
"""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or litellm reaches for the network at import

from pmd_agent.pipelines.adapter import PlainJSONAdapter, StrictJSONAdapter
from pmd_agent.pipelines.compose import After, Beside, Critic
from pmd_agent.pipelines.generaliser import Generaliser
from pmd_agent.pipelines.load_program import build_program
from pmd_agent.pipelines.outside import outside_lm
from pmd_agent.pipelines.reflector import Reflector
from pmd_agent.pipelines.run_programs import generalise_all, reflect_all

__all__ = [
    "After",
    "Beside",
    "Critic",
    "Generaliser",
    "PlainJSONAdapter",
    "Reflector",
    "StrictJSONAdapter",
    "build_program",
    "generalise_all",
    "outside_lm",
    "reflect_all",
]

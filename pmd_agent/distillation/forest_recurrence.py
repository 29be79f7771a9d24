"""Layers with a state (linear attention, as in Qwen3.5) over a forest (forest.py).

Their state at the end of a prompt cannot be handed to its rollouts: the modules take none that has a gradient. So such a layer
reads each sequence whole, laid out in padded rows, and what it says of a shared token is taken from one of them; they all say
the same. Everything else of the model, the matrices that come after and the other layers, has shared tokens once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation.forest_plan import Plan, gathered

KIND, NAME = "linear_attention", "linear_attn"
"""Of the layer in a configuration, and of the module in transformers."""


def install(body: torch.nn.Module) -> None:
    """Let these layers read forests; without a plan they do what they did."""
    for layer in body.modules():
        mixer = getattr(layer, NAME, None)
        if isinstance(mixer, torch.nn.Module) and "forward" not in vars(mixer):
            mixer.forward = partial(_read, mixer)
            # Not each transformers hands the plan from the layer to this module.
            layer.register_forward_pre_hook(_hand_on, with_kwargs=True)


def _hand_on(layer: Any, _args: Any, options: dict[str, Any]) -> None:
    getattr(layer, NAME).forest_plan = options.get("forest_plan")


def _read(mixer: Any, hidden_states: Tensor, *args: Any, **options: Any) -> Tensor:
    plan: Plan | None = getattr(mixer, "forest_plan", None)
    options.pop("forest_plan", None)
    if plan is None:
        found: Tensor = type(mixer).forward(mixer, hidden_states, *args, **options)
        return found
    rows = gathered(hidden_states[0], plan.rows).view(*plan.rows_shape, -1)
    out = type(mixer).forward(mixer, rows, *args, **(options | {"attention_mask": None}))
    return gathered(out.flatten(0, 1), plan.places)[None]

"""What training goes on from, whole and on the CPU, whether one process has the weights or many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pmd_agent.distillation.parallel import part_like, whole_tensor
from pmd_agent.errors import PolicyError
from pmd_agent.models.adapters import STUDENT, TEACHER, adapter_parameters

State = dict[str, Any]
Part = Literal["student", "teacher", "optimiser"]
PARTS: tuple[Part, ...] = ("student", "teacher", "optimiser")


def gathered(model: Any, optimiser: torch.optim.Optimizer, part: Part) -> State:
    """An adapter's tensors by name, or the optimiser's state. Where the weights are sharded, all processes have to ask."""
    if part != "optimiser":
        name = STUDENT if part == "student" else TEACHER
        return {key: _whole(p) for key, p in adapter_parameters(model, name).items()}
    moments = optimiser.state_dict()
    moments["state"] = {
        number: {key: _whole(value) for key, value in of_one.items()} for number, of_one in moments["state"].items()
    }
    return moments


def write_adapter(model: Any, folder: Path, student: State) -> None:
    """The student's gathered tensors in PEFT's own format, loadable without this package."""
    named = {name.replace(".*.", f".{STUDENT}."): p for name, p in student.items()}
    model.save_pretrained(str(folder), selected_adapters=[STUDENT], save_embedding_layers=False, state_dict=named)
    nested = folder / STUDENT  # peft puts a named adapter into a folder of its name
    for file in nested.iterdir():
        file.rename(folder / file.name)
    nested.rmdir()
    (folder / "README.md").unlink(missing_ok=True)


@torch.no_grad()
def restore(model: Any, optimiser: torch.optim.Optimizer, state: State) -> None:
    """The state that another trainer gathered, of as many processes as it had. Raises PolicyError where it does not fit."""
    for adapter, saved in ((STUDENT, state["student"]), (TEACHER, state["teacher"])):
        parameters = adapter_parameters(model, adapter)
        if odd := sorted(saved.keys() ^ parameters.keys()):
            raise PolicyError(
                f"The checkpoint does not fit this model: {len(odd)} tensors of the {adapter} are in only one of them ({odd[0]}).",
                "Resume the run with the model that it was started with.",
            )
        for name, parameter in parameters.items():
            parameter.copy_(part_like(saved[name], parameter))
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    moments: Mapping[int, Mapping[str, Any]] = state["optimiser"]["state"]
    parts = {
        number: {
            key: part_like(value, trained[number]) if key != "step" and isinstance(value, Tensor) else value
            for key, value in of_one.items()
        }
        for number, of_one in moments.items()
    }
    optimiser.load_state_dict({**state["optimiser"], "state": parts})


def _whole(value: Any) -> Any:
    return whole_tensor(value.detach()).cpu() if isinstance(value, Tensor) else value

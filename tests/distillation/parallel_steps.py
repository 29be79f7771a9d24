"""Trains a tiny model for some steps and reports, alone or as one of torchrun's processes:

python parallel_steps.py MODEL FOLDER none            torchrun ... parallel_steps.py MODEL FOLDER ddp
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pmd_agent.distillation.example import Example
from pmd_agent.distillation.leading_trainer import LeadingTrainer
from pmd_agent.distillation.parallel import follow, joined
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.adapters import STUDENT, TEACHER, adapter_parameters, attach_lora
from pmd_agent.models.loading import load_base
from pmd_agent.recipe.distill import DistillSection

STEPS = 20


def batch(step: int) -> list[Example]:
    """Two groups whose teachers share memory, one rollout that is reinforced, and lengths that differ."""
    generator = torch.Generator().manual_seed(step)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 250, (n,), generator=generator).tolist())

    found = []
    for problem in range(2):
        asked, memory = ids(20), ids(30)
        for n in range(3 + problem):
            answer = ids(5 + 3 * n)
            found.append(
                Example(asked, memory + asked, answer, (True,) * len(answer), (-9.0,) * len(answer), n % 2 == 0)
            )
    answer = ids(9)
    reinforced = Example(ids(8), (), answer, (True,) * 9, (-9.0,) * 9, True, advantage=1.0)
    return [*found, reinforced]


def settings() -> DistillSection:
    return DistillSection(lr=2e-3, warmup=2, updates=2, batch_tokens=256, gradient_checkpointing=True)


def model(folder: str) -> Any:
    base = load_base(folder, dtype="float32", device="cpu")
    adapted = attach_lora(base, rank=4, alpha=8, dropout=0.0, targets="all-linear", seed=0, teacher=True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for adapter in (STUDENT, TEACHER):
            for parameter in adapter_parameters(adapted, adapter).values():
                parameter.normal_(0.0, 0.1, generator=generator)
    return adapted


def learn(folder: str, out: Path, kind: Any) -> None:
    with joined(kind) as team:
        kind_of_trainer = LeadingTrainer if team.leads else Trainer
        trainer = kind_of_trainer(model(folder), settings(), pad_id=0, seed=0, team=team)
        parameter = next(iter(adapter_parameters(trainer.model, STUDENT).values()))
        base_weight = trainer.model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight
        seen = {
            "size": team.size,
            "parameter": type(parameter).__name__,
            "base": type(base_weight).__name__,
            "held": base_weight.to_local().numel() if hasattr(base_weight, "to_local") else base_weight.numel(),
        }
        if not team.leads:
            follow(trainer, team)
        else:
            trainer.total_steps = STEPS
            taught = [e for e in batch(0) if e.advantage is None]
            named = [replace(e, id=str(number)) for number, e in enumerate(taught)]
            gain, ratios = trainer.gain(taught), trainer.log_ratios(named)
            reports = [trainer.step(batch(step)) for step in range(STEPS // 2)]
            halfway = out / f"{kind}-state"
            halfway.mkdir()
            trainer.save(halfway)
            trainer.step(batch(99))  # and back again, so that what is restored matters
            trainer.load(halfway)
            reports += [trainer.step(batch(step)) for step in range(STEPS // 2, STEPS)]
            adapter = out / f"{kind}-adapter"
            adapter.mkdir()
            trainer.save_adapter(adapter)
            seen |= {"gain": gain, "ratios": ratios, "reports": reports}
        (out / f"{kind}-{team.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    torch.set_num_threads(1)
    learn(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

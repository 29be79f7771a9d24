"""One contestant of the benchmark, in a process of its own: python -m tests.benchmarks.distill.child NAME OPTIONS REPORT"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation import chunks
from pmd_agent.distillation.bench import (
    Cost,
    Peak,
    Work,
    batch_of,
    flops,
    measure_ceiling,
    measure_step,
    timed,
    with_adapters,
)
from pmd_agent.distillation.compiled import Guarded
from pmd_agent.distillation.losses import Judged, Tokens, distilled
from pmd_agent.errors import PMDError
from pmd_agent.models import BOX
from pmd_agent.models.loading import load_tokenizer
from pmd_agent.recipe.distill import DistillSection
from tests.benchmarks.distill.naive import NaiveTrainer, naive_loss
from tests.benchmarks.distill.sdpo_trl import TrlTrainer
from tests.benchmarks.distill.shapes import base_of


def step(contestant: str, work: Work) -> dict[str, Any]:
    """What the step cost, and of the naive one how many `rows` went through the model at once."""
    base = base_of(work)
    if contestant == "pmd":
        return asdict(measure_step(work, base))
    model = with_adapters(base, work)
    batch = batch_of(work, base.config.get_text_config().vocab_size)
    other: NaiveTrainer | TrlTrainer
    if contestant == "naive":
        other = NaiveTrainer(model, work.settings(), rows=len(batch))
    else:
        other = TrlTrainer(model, load_tokenizer(BOX), work.settings())
    peak = Peak(base.device)
    loss = other.step(batch)  # of the same weights for all
    cost = Cost(
        loss=loss,
        seconds=timed(lambda: other.step(batch), work.steps, base.device),
        peak_bytes=peak.taken(),
        model_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        tokens=sum(len(e.completion_ids) for e in batch),
        flops=flops(model, batch, shared=False),
        unshared="it shares none",
    )
    return asdict(cost) | ({"rows": other.rows} if isinstance(other, NaiveTrainer) else {})


def loss(contestant: str, *, vocabulary: int, tokens: int, width: int, logits: int | None = None) -> dict[str, Any]:
    """Peak memory of the loss alone: hidden states in, their gradient out. `logits` bounds the chunks (None: as shipped)."""
    torch.manual_seed(0)
    head = torch.nn.Linear(width, vocabulary, bias=False).requires_grad_(False)
    student_ND, teacher_ND = (4 * torch.randn(tokens, width) for _ in range(2))
    student_ND.requires_grad_()
    target_N = torch.randint(vocabulary, (tokens,))
    sampled_N = torch.full((tokens,), -50.0)
    settings = DistillSection()
    chunks.LOGITS = logits or chunks.LOGITS

    def judge(hidden_ND: Tensor, others_ND: list[Tensor], part: Tokens, fast: bool) -> Judged:
        with torch.no_grad():
            teacher_NV = head(others_ND[0])
        return distilled(head(hidden_ND), teacher_NV, part, settings)

    peak = Peak(torch.device("cpu"))
    if contestant == "pmd":
        columns = Tokens(target_N, sampled_N, torch.ones(tokens), torch.zeros(tokens))
        judged = chunks.backward(
            judge, student_ND, [teacher_ND], columns, total=tokens, vocabulary=vocabulary, guard=Guarded(print)
        )
        value = judged.loss_N.mean()
    else:
        with torch.no_grad():
            teacher_NV = head(teacher_ND)
        value = naive_loss(head(student_ND), teacher_NV, target_N, sampled_N, settings).mean()
        value.backward()
    assert student_ND.grad is not None
    return {"peak_bytes": peak.taken(), "loss": float(value.detach()), "grad": float(student_ND.grad.norm())}


def main(contestant: str, options: str, out: str) -> None:
    given = json.loads(options)
    try:
        if contestant == "ceiling":
            report = asdict(measure_ceiling(Work(**given)))
        elif contestant.startswith("loss-"):
            report = loss(contestant.removeprefix("loss-"), **given)
        else:
            report = step(contestant, Work(**given))
    except PMDError as error:
        report = {"error": error.message}
    Path(out).write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

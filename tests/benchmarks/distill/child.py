"""One contestant of the benchmark, in a process of its own: python -m tests.benchmarks.distill.child NAME OPTIONS REPORT"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation import chunks
from pmd_agent.distillation.bench import Work, batch_of, flops, model_of
from pmd_agent.distillation.losses import Judged, Tokens, distilled
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.errors import PMDError
from pmd_agent.recipe.distill import DistillSection
from tests.benchmarks.distill.measure import Peak, matmul_ceiling, timed
from tests.benchmarks.distill.naive import NaiveTrainer, naive_loss


def ceiling(work: Work) -> dict[str, Any]:
    from pmd_agent.models.loading import choose_device, choose_dtype

    device = choose_device(work.device)
    dtype = choose_dtype(work.dtype, device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {"flops": matmul_ceiling(device, dtype), "name": name, "dtype": str(dtype).removeprefix("torch.")}


def step(contestant: str, work: Work) -> dict[str, Any]:
    """Seconds and memory of one step; memory includes gradients and optimiser, not the model."""
    model = model_of(work)
    base = model.get_base_model()
    batch = batch_of(work, base.config.get_text_config().vocab_size)
    report: dict[str, Any] = {"model_bytes": sum(p.numel() * p.element_size() for p in model.parameters())}
    run: Callable[[], Any]
    if contestant == "pmd":
        trainer = Trainer(model, work.settings(), pad_id=0, seed=0)
        report["unshared"] = trainer.reader.unshared
        run = lambda: trainer.step(batch)["loss"]  # noqa: E731
    elif contestant == "naive":
        naive = NaiveTrainer(model, work.settings(), rows=len(batch))
        run = lambda: naive.step(batch)  # noqa: E731
    else:
        from pmd_agent.models.loading import load_tokenizer
        from tests.benchmarks.distill.sdpo_trl import TrlTrainer

        trl = TrlTrainer(model, load_tokenizer("box"), work.settings())
        run = lambda: trl.step(batch)  # noqa: E731
    peak = Peak(base.device)
    report["loss"] = run()  # of the same weights for all
    report["seconds"] = timed(run, work.steps, base.device)
    report["peak_bytes"] = peak.taken()
    report["tokens"] = sum(len(e.completion_ids) for e in batch)
    report["flops"] = flops(model, batch, shared=contestant == "pmd" and not report["unshared"])
    if contestant == "naive":
        report["rows"] = naive.rows
    return report


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

    def judge(hidden_ND: Tensor, others_ND: list[Tensor], part: Tokens) -> Judged:
        with torch.no_grad():
            teacher_NV = head(others_ND[0])
        return distilled(head(hidden_ND), teacher_NV, part, settings)

    peak = Peak(torch.device("cpu"))
    if contestant == "pmd":
        columns = Tokens(target_N, sampled_N, torch.ones(tokens), torch.zeros(tokens))
        judged = chunks.backward(judge, student_ND, [teacher_ND], columns, total=tokens, vocabulary=vocabulary)
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
            report = ceiling(Work(**given))
        elif contestant.startswith("loss-"):
            report = loss(contestant.removeprefix("loss-"), **given)
        else:
            report = step(contestant, Work(**given))
    except PMDError as error:
        report = {"error": error.message}
    Path(out).write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A compiled loss, and what happens where the compiler fails."""

from __future__ import annotations

import pytest
import torch

from pmd_agent.distillation.compiled import Guarded
from pmd_agent.distillation.losses import Tokens, distilled
from pmd_agent.recipe.distill import DistillSection

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def test_on_a_cpu_nothing_is_compiled() -> None:
    assert Guarded(pytest.fail).run(lambda fast: fast, device=CPU) is False
    assert Guarded(pytest.fail).run(lambda fast: fast, device=GPU) is True
    assert Guarded(pytest.fail, 4000).run(lambda fast: fast, device=GPU) is False, "the policy in the box"


def test_a_compiler_that_fails_is_named_once_and_not_asked_again() -> None:
    said: list[str] = []
    tried: list[bool] = []
    guard = Guarded(said.append)

    def work(fast: bool) -> str:
        tried.append(fast)
        if fast:
            raise RuntimeError("Failed to find a C compiler\nand more")
        return "done"

    assert [guard.run(work, device=GPU) for _ in range(3)] == ["done"] * 3
    assert tried == [True, False, False, False]
    assert said == ["the loss is not compiled, which costs some time: Failed to find a C compiler"]


def test_what_the_plain_function_fails_of_too_is_no_fault_of_the_compiler() -> None:
    guard = Guarded(pytest.fail)

    def broken(fast: bool) -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        guard.run(broken, device=GPU)
    assert not guard.failed

    def full(fast: bool) -> None:
        assert fast, "no second try at what does not fit"
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        guard.run(full, device=GPU)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
def test_the_loss_is_one_graph_in_value_and_gradient() -> None:
    """As a GPU's compiler gets it, for two sizes; the code that it would generate is left out."""
    fast = torch.compile(distilled, backend="aot_eager", fullgraph=True)
    for count in (12, 20, 7):
        draw = torch.Generator().manual_seed(count)
        student, teacher = (torch.randn(count, 300, generator=draw) for _ in range(2))
        tokens = Tokens(
            torch.randint(300, (count,), generator=draw),
            torch.full((count,), -6.0),
            torch.ones(count),
            torch.zeros(count),
        )
        found = []
        for judge in (distilled, fast):
            logits = student.clone().requires_grad_()
            judged = judge(logits, teacher, tokens, DistillSection())
            judged.loss_N.sum().backward()
            found.append((*judged, logits.grad))
        for expected, got in zip(*found, strict=True):
            torch.testing.assert_close(got, expected)

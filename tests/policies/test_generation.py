"""Batched sampling against transformers' own, token by token, and against what one sequence alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from pmd_agent.policies import generation
from pmd_agent.policies.generation import Answer, Request, generate, generate_all
from pmd_agent.types import Sampling

NOBODY: frozenset[int] = frozenset()
GREEDY = Sampling(temperature=0.0, max_tokens=12)


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 290, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


PROMPTS = [prompt(0, 5), prompt(1, 17), prompt(2, 1), prompt(0, 5), prompt(3, 40), prompt(4, 17)]


def run(model: Any, requests: Sequence[Request], eos: frozenset[int] = NOBODY, pad: int = 0) -> list[Answer]:
    return generate(model, requests, eos_ids=eos, pad_id=pad)


def requests(sampling: Sampling, prompts: Sequence[tuple[int, ...]] = PROMPTS) -> list[Request]:
    """One each, with seeds of their own."""
    return [
        Request(p, Sampling(sampling.temperature, sampling.top_p, sampling.max_tokens, 100 + i))
        for i, p in enumerate(prompts)
    ]


def alone(model: Any, request: Request, eos: frozenset[int] = NOBODY) -> Answer:
    return run(model, [request], eos)[0]


def test_greedy_is_transformers_greedy(tiny: Any) -> None:
    """Left padding of five widths, one prompt twice."""
    found = run(tiny, requests(GREEDY))
    for p, answer in zip(PROMPTS, found, strict=True):
        theirs = tiny.generate(
            torch.tensor([p]),
            attention_mask=torch.ones(1, len(p), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert answer.ids == theirs[0, len(p) :].tolist()
        assert not answer.ended
    assert len({tuple(a.ids) for a in found}) == 5, "prompts that all say the same would prove nothing"


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, 1.0, 15), Sampling(0.7, 0.9, 15)])
def test_logprobs_are_those_of_a_full_forward_at_temperature_one(tiny: Any, sampling: Sampling) -> None:
    for p, answer in zip(PROMPTS, run(tiny, requests(sampling)), strict=True):
        with torch.no_grad():
            logits = tiny(input_ids=torch.tensor([[*p, *answer.ids]])).logits[0, len(p) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(answer.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, rtol=0, atol=1e-4)


def test_a_completion_does_not_depend_on_its_batch(tiny: Any) -> None:
    batch = requests(Sampling(1.0, 1.0, 20))
    together = run(tiny, batch)
    for request, answer in zip(batch, together, strict=True):
        assert alone(tiny, request).ids == answer.ids
    backwards = run(tiny, batch[::-1])[::-1]
    assert [a.ids for a in backwards] == [a.ids for a in together]


def test_a_completion_depends_on_its_seed_and_prompt(tiny: Any) -> None:
    same = [Request(PROMPTS[1], Sampling(1.0, 1.0, 20, seed)) for seed in (1, 1, 2)]
    first, again, other = run(tiny, same)
    assert first == again
    assert first.ids != other.ids
    assert alone(tiny, Request(PROMPTS[5], same[0].sampling)).ids != first.ids


def test_an_equal_prompt_is_read_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = tiny.forward

    def listen(*args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny, "forward", listen)
    group = [Request(p, Sampling(1.0, 1.0, 3, i)) for i, p in enumerate([PROMPTS[0]] * 4 + [PROMPTS[1]] * 4)]
    run(tiny, group)
    assert shapes == [(2, 17), (8, 1), (8, 1)]


def test_rows_of_one_batch_end_each_at_their_own_limit(tiny: Any) -> None:
    """Rows are taken out as they become the majority: those that stay must not notice."""
    limits = (1, 30, 2, 9, 1, 17, 3, 30)
    batch = [Request(PROMPTS[i % 6], Sampling(1.0, 1.0, limit, i)) for i, limit in enumerate(limits)]
    found = run(tiny, batch)
    assert tuple(len(a.ids) for a in found) == limits == tuple(len(a.logprobs) for a in found)
    for request, answer in zip(batch, found, strict=True):
        whole = alone(tiny, Request(request.prompt_ids, Sampling(1.0, 1.0, 30, request.sampling.seed)))
        assert answer.ids == whole.ids[: len(answer.ids)]
        torch.testing.assert_close(torch.tensor(answer.logprobs), torch.tensor(whole.logprobs[: len(answer.ids)]))


def test_an_end_token_ends_and_is_kept(tiny: Any) -> None:
    free = run(tiny, requests(Sampling(1.0, 1.0, 25)))
    eos = frozenset({free[0].ids[4], free[1].ids[9]})
    found = run(tiny, requests(Sampling(1.0, 1.0, 25)), eos)
    ended = 0
    for answer, whole in zip(found, free, strict=True):
        stop = next((i for i, token in enumerate(whole.ids) if token in eos), None)
        assert answer.ended is (stop is not None)
        assert answer.ids == (whole.ids if stop is None else whole.ids[: stop + 1])
        assert len(answer.logprobs) == len(answer.ids)
        ended += answer.ended
    assert 2 <= ended < len(found)


def test_an_end_token_at_the_limit_counts_as_ended(tiny: Any) -> None:
    first = alone(tiny, Request(PROMPTS[0], Sampling(0.0, max_tokens=1)))
    found = alone(tiny, Request(PROMPTS[0], Sampling(0.0, max_tokens=1)), frozenset(first.ids))
    assert found.ended and found.ids == first.ids


def test_the_pad_token_is_never_read(tiny: Any) -> None:
    batch = requests(Sampling(1.0, 1.0, 10))
    assert [a.ids for a in run(tiny, batch, pad=0)] == [a.ids for a in run(tiny, batch, pad=123)]


def test_greedy_and_drawn_rows_side_by_side(tiny: Any) -> None:
    hot = Sampling(1.0, 1.0, 12, 7)
    batch = [Request(PROMPTS[0], s) for s in (GREEDY, hot, GREEDY)]
    greedy, drawn, again = run(tiny, batch)
    assert greedy.ids == again.ids == alone(tiny, batch[0]).ids
    assert drawn.ids == alone(tiny, batch[1]).ids
    assert drawn.ids != greedy.ids


# --- all, in batches --------------------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_requests_however_they_are_batched(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[Request]] = []

    def listen(model: Any, batch: Sequence[Request], **options: Any) -> list[Answer]:
        batches.append(list(batch))
        return generate(model, batch, **options)

    monkeypatch.setattr(generation, "generate", listen)
    asked = requests(Sampling(1.0, 1.0, 10), PROMPTS * 2)
    expected = [alone(tiny, request).ids for request in asked]
    for tokens in (1, 60, 150, 10_000):
        batches.clear()
        found = generate_all(tiny, asked, eos_ids=NOBODY, pad_id=0, batch_tokens=tokens)
        assert [a.ids for a in found] == expected
        for batch in batches:
            width = max(len(r.prompt_ids) for r in batch) + max(r.sampling.max_tokens for r in batch)
            assert len(batch) == 1 or len(batch) * width <= tokens
    assert len(batches) == 1


def test_the_longest_answer_of_a_batch_counts(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = generate
    monkeypatch.setattr(generation, "generate", lambda m, b, **o: sizes.append(len(b)) or original(m, b, **o))  # type: ignore[func-returns-value]
    asked = [Request((5, 6), Sampling(0.0, max_tokens=n)) for n in (20, 1, 1, 1)]
    generate_all(tiny, asked, eos_ids=NOBODY, pad_id=0, batch_tokens=50)
    assert max(sizes) == 2


def test_nothing_asked_nothing_answered(tiny: Any) -> None:
    assert generate_all(tiny, [], eos_ids=NOBODY, pad_id=0, batch_tokens=100) == []


# --- one draw ---------------------------------------------------------------------------------------------------------

PROBABILITIES = (0.5, 0.3, 0.15, 0.05)


def draws(sampling: Sampling, n: int = 4000, probabilities: tuple[float, ...] = PROBABILITIES) -> torch.Tensor:
    """(V,) how often each token comes, over n rows with seeds of their own."""
    rows = torch.tensor([probabilities]).log().expand(n, -1)
    chosen = generation._choose(rows, [sampling] * n, [torch.Generator().manual_seed(i) for i in range(n)])
    return torch.bincount(chosen, minlength=len(probabilities)) / n


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_tokens_come_as_often_as_their_probability(temperature: float) -> None:
    weights = torch.tensor(PROBABILITIES) ** (1 / temperature)
    torch.testing.assert_close(draws(Sampling(temperature)), weights / weights.sum(), rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (0.3, (1, 0, 0, 0)),
        (0.5, (1, 0, 0, 0)),
        (0.75, (0.625, 0.375, 0, 0)),
        (0.9, (0.526, 0.316, 0.158, 0)),
        (1.0, PROBABILITIES),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, expected: tuple[float, ...]) -> None:
    found = draws(Sampling(1.0, top_p))
    assert (found[torch.tensor(expected) == 0] == 0).all()
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float), rtol=0, atol=0.03)


def test_top_p_looks_at_the_tempered_distribution() -> None:
    """At temperature 0.5 the first token has 0.685 of the mass, so 0.6 is reached by it alone."""
    assert draws(Sampling(0.5, 0.6))[0] == 1.0


def test_top_p_of_one_row_leaves_the_others_alone() -> None:
    rows = torch.tensor([PROBABILITIES]).log().expand(2000, -1)
    samplings = [Sampling(1.0, 0.5 if i % 2 else 1.0) for i in range(2000)]
    chosen = generation._choose(rows, samplings, [torch.Generator().manual_seed(i) for i in range(2000)])
    assert (chosen[1::2] == 0).all()
    assert chosen[::2].bincount(minlength=4).min() > 20

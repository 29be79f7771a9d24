"""The policy that answers from a list."""

from __future__ import annotations

import json

from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.types import Sampling

ASK = [[{"role": "user", "content": text}] for text in ("a", "b")]


def test_answers_go_round_and_round_over_prompts_and_samples() -> None:
    policy = ScriptedPolicy(["x", "y", "z"])
    found = policy.sample(ASK, 2, Sampling())
    assert [[c.text for c in group] for group in found] == [["x", "y"], ["z", "x"]]
    assert policy.prompts == ASK
    assert bytes(found[0][0].prompt_ids) == b"a"
    assert bytes(found[1][0].completion_ids) == b"z"
    assert len(found[0][0].logprobs) == 1


def test_every_completion_carries_the_version() -> None:
    policy = ScriptedPolicy(["x"])
    policy.load(None, 4)
    assert policy.sample(ASK, 1, Sampling())[1][0].policy_version == 4


def test_programs_get_the_insights() -> None:
    given = json.dumps({"strategies": ["s"], "lessons": []})
    assert ScriptedPolicy(["x"], given).lm(temperature=0.0, max_tokens=9, seed=0)("?") == [given]
    (empty,) = ScriptedPolicy(["x"]).lm(temperature=0.0, max_tokens=9, seed=0)("?")
    assert json.loads(empty) == {"strategies": [], "lessons": [], "behaviors": []}

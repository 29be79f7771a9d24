"""The stages with a scripted policy: what enters memory and the loss, and what the recipe switches off."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from pmd_agent.distillation import teacher_page
from pmd_agent.errors import RunError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.pipelines import Generaliser, Reflector
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.problems.curriculum import Curriculum
from pmd_agent.recipe import Recipe, parse_recipe
from pmd_agent.stages import (
    Metrics,
    Parts,
    attempt,
    distil,
    evaluate,
    generalise,
    recall,
    reflect,
    remember,
    seed_for,
    sync,
    teacher_prompts,
    verify,
    weigh,
)  # fmt: skip
from pmd_agent.types import Behavior, Insight, Problem, Verdict

PROBLEMS = (Problem("p/0", "2 + 2?", "4"), Problem("p/1", "2 + 3?", "5"))
INSIGHTS = json.dumps({"strategies": ["Add them."], "lessons": ["Never guess."], "behaviors": ["sums: Add them."]})


class Checker:
    """Right where the text is the answer; cannot check the text "?"."""

    def verify(self, problem: Problem, text: str) -> Verdict:
        if text == "?":
            raise RuntimeError("the checker fell over")
        right = text == problem.answer
        return Verdict(float(right), right, "" if right else f"{text} is not correct.", text)


@dataclass
class Recorder:
    """Stands for the trainer: keeps what it is given."""

    examples: list[Any]
    controls: list[list[Any]] = field(default_factory=list)
    gains: dict[str, float] = field(default_factory=dict)
    token_gains: dict[str, list[float | None]] = field(default_factory=dict)

    def step(self, examples: list[Any], *, rollouts: int | None = None) -> dict[str, float]:
        self.examples = list(examples)
        return {"loss": 0.5}

    def gain(self, examples: list[Any]) -> float | None:
        self.controls.append(list(examples))
        return 0.25 if examples else None


def make(store: Memory, answers: list[str], trainer: Any = None, **settings: Any) -> Parts:
    recipe: Recipe = parse_recipe(
        {
            "policy": {"type": "scripted"},
            "rollout": {"problems": 2, "samples": 2},
            "pipeline": {"every": 2, "cluster_size": 2},
            **settings,
        }
    )
    return Parts(
        recipe=recipe, steps=4, curriculum=Curriculum(PROBLEMS, 2, 0), train=PROBLEMS, validation=(), test=PROBLEMS, policy=ScriptedPolicy(answers, INSIGHTS), verifier=Checker(),
        memory=store, embedder=HashingEmbedder(), reflector=Reflector(), generaliser=Generaliser(),
        trainer=trainer, context=10_000,
    )  # fmt: skip


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.ephemeral(HashingEmbedder()) as opened:
        yield opened


def step(parts: Parts, number: int = 0) -> Metrics:
    m = Metrics(number)
    rollouts = attempt(parts, m, PROBLEMS)
    verdicts = verify(parts, m, PROBLEMS, rollouts)
    experiences = remember(parts, m, rollouts, verdicts)
    reflect(parts, m, PROBLEMS, experiences)
    generalise(parts, m)
    recalled = recall(parts, m, PROBLEMS, experiences)
    distil(parts, m, rollouts, verdicts, teacher_prompts(parts, m, rollouts, verdicts, recalled))
    return m


def test_unchecked_rollouts_enter_nothing(memory: Memory) -> None:
    trainer = Recorder([])
    m = step(make(memory, ["4", "?", "7", "5"], trainer))
    assert m.values["unchecked"] == 1 and m.values["reward"] == pytest.approx(2 / 3)
    assert sorted(e.id for e in memory.list("experience")) == ["0/p/0/0", "0/p/1/0", "0/p/1/1"]
    assert len(trainer.examples) == 3


def test_nothing_checked_stops_the_run_with_the_reason(memory: Memory) -> None:
    with pytest.raises(RunError, match="fell over"):
        step(make(memory, ["?"]))


def test_a_measurement_that_checked_nothing_is_none(memory: Memory) -> None:
    with pytest.raises(RunError, match="fell over") as caught:
        evaluate(make(memory, ["?"]), Metrics(0), PROBLEMS, False)
    assert "--resume" in caught.value.hint
    assert [o.checked for o in evaluate(make(memory, ["4", "?"]), Metrics(0), PROBLEMS, False)] != [0, 0]


def test_all_failed_groups_get_lessons_only(memory: Memory) -> None:
    step(make(memory, ["4", "9", "8", "9"]))
    assert {i.text for i in memory.insights("p/0")} == {"Add them.", "Never guess."}
    assert {i.text for i in memory.insights("p/1")} == {"Never guess."}
    assert [i.confidence for i in memory.insights("p/0")] == [0.5, 0.5]


def test_behaviors_come_every_k_steps_and_cite_the_insights_that_say_so(memory: Memory) -> None:
    parts = make(memory, ["4", "9", "5", "9"])
    assert "behaviors" not in step(parts, 0).values and not memory.behaviors()
    assert step(parts, 1).values["behaviors"] == 1
    (behavior,) = memory.behaviors()
    assert behavior.name == "behavior_sums" and behavior.support == 2
    assert {i.text for i in memory.sources_of(behavior)} == {"Add them."}
    parts.steps = 5
    assert "behaviors" not in step(parts, 2).values
    assert step(parts, 4).values["behaviors"] == 1, "not at the last step"


@pytest.mark.parametrize("state", ["trial", "quarantined"])
def test_no_rule_is_made_of_what_is_not_trusted(memory: Memory, state: str) -> None:
    entry = Insight("0/p/0/strategy", "p/0", "strategy", "Poison the well.", 0.5, (), 0, 0)
    memory.put("insight", [entry], [], step=-1)
    memory.note(-1, states={entry.id: [state, "bank"]})
    parts = make(memory, ["9", "9", "9", "9"], memory={"lessons_kept": 1})
    parts.policy.insights = json.dumps({"lessons": ["Never guess."], "behaviors": ["luck: Never guess."]})  # type: ignore[attr-defined]
    step(parts, 1)
    assert memory.behaviors() and memory.state(entry) == state
    assert not any("Poison the well." in str(prompt) for prompt in parts.policy.prompts)  # type: ignore[attr-defined]


def test_what_a_bank_says_of_other_problems_outlives_a_generation(memory: Memory) -> None:
    insights = [Insight(f"0/{p}/s", p, "strategy", "Add them.", 0.5, (), 0, 0) for p in ("p/0", "elsewhere")]
    memory.put("insight", insights, [], step=-1)
    rules = [
        Behavior(f"0/{i.problem_id}", f"behavior_{i.problem_id}", f"Of {i.id}", "c", 1, (i.id,), 0, 0) for i in insights
    ]
    memory.put("behavior", rules, [], step=-1)
    parts = make(memory, ["4", "9", "5", "9"])
    step(parts, 1)
    assert {b.name for b in memory.behaviors()} == {"behavior_sums", "behavior_elsewhere"}
    step(parts, 3)
    assert {b.name for b in memory.behaviors()} == {"behavior_sums", "behavior_elsewhere"}


def test_behaviors_outlive_a_generation_that_could_not_be_read(memory: Memory) -> None:
    parts = make(memory, ["4", "9", "5", "9"])
    step(parts, 0)
    step(parts, 1)
    parts.policy.insights = "no JSON"  # type: ignore[attr-defined]
    m = step(parts, 3)
    assert m.values["generalisations_unparsed"] == 1
    assert [b.name for b in memory.behaviors()] == ["behavior_sums"]
    parts.policy.insights = json.dumps({"behaviors": ["other: Never guess."], "strategies": [], "lessons": []})  # type: ignore[attr-defined]
    step(parts, 5)
    assert [b.name for b in memory.behaviors()] == ["behavior_other"]


def test_the_teacher_reads_memory_and_the_student_never_does(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(memory, ["4", "9", "5", "9"], trainer)
    step(parts, 0)
    step(parts, 1)
    for example in trainer.examples:
        student, teacher = bytes(example.student_prompt_ids).decode(), bytes(example.teacher_prompt_ids).decode()
        assert "Add them." in teacher and teacher.endswith(student)
        assert "Add them." not in student and "Never guess." not in student
    assert all("Add them." not in p[-1]["content"] for p in parts.policy.prompts)  # type: ignore[attr-defined]


def test_a_rollout_is_never_its_own_demonstration() -> None:
    trainer = Recorder([])
    with Memory.ephemeral(HashingEmbedder(), tiers=()) as nothing:
        m = step(make(nothing, ["4", "9", "8", "8"], trainer, memory={"tiers": []}))
    # Only p/0's failure has a sibling that succeeded; the success itself has none, the failures have feedback.
    taught = {(bytes(e.completion_ids).decode(), e.correct) for e in trainer.examples}
    assert taught == {("9", False), ("8", False)} and m.values["context_fraction"] == 0.75


@pytest.mark.parametrize(("normalise", "advantage"), [(False, 0.5), (True, 0.5**0.5)])
def test_grpo_reinforces_every_checked_rollout_and_asks_no_teacher(normalise: bool, advantage: float) -> None:
    trainer = Recorder([])
    grpo = {"distill": {"grpo": {"normalise": normalise}}}
    with Memory.ephemeral(HashingEmbedder(), tiers=()) as nothing:
        m = step(make(nothing, ["4", "9", "?", "8"], trainer, method="grpo", **grpo))
    assert [e.advantage for e in trainer.examples] == pytest.approx([advantage, -advantage, 0.0], abs=1e-4)
    assert all(e.teacher_prompt_ids == () and e.logprobs == (-1.0,) for e in trainer.examples)
    assert m.values["reinforced"] == 1.0 and "context_fraction" not in m.values


def test_routing_reinforces_successes_and_teaches_failures(memory: Memory) -> None:
    trainer = Recorder([])
    m = step(make(memory, ["4", "9", "8", "8"], trainer, distill={"routing": "srpo"}))
    right = [e for e in trainer.examples if e.correct]
    assert [e.advantage for e in right] == [0.5]
    assert all(e.advantage is None and e.teacher_prompt_ids for e in trainer.examples if not e.correct)
    assert len(trainer.examples) == 4 and m.values["reinforced"] == 0.25 and m.values["context_fraction"] == 1.0


def test_a_group_of_failures_keeps_a_weight(memory: Memory) -> None:
    trainer = Recorder([])
    step(make(memory, ["4", "9", "8", "8"], trainer, distill={"weighting": "pass_rate"}))
    # p = (1 + 1) / 4 and (0 + 1) / 4
    assert [e.weight for e in trainer.examples] == pytest.approx([0.5, 0.5, 0.1875**0.5, 0.1875**0.5])
    assert len(trainer.examples) == 4


def test_control_teachers_read_another_s_memory_or_no_problem(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(memory, ["4", "9", "5", "9"], trainer, distill={"controls_every": 2})
    assert "teacher_gain_shuffled" not in step(parts, 0).values and not trainer.controls
    m = step(parts, 1)
    assert m.values["teacher_gain_shuffled"] == m.values["teacher_gain_reference_only"] == 0.25
    alone, shuffled = ([bytes(e.teacher_prompt_ids).decode() for e in examples] for examples in trainer.controls)
    assert len(alone) == len(shuffled) == 4
    assert all("Add them." in prompt and not prompt.rstrip().endswith("?") for prompt in alone)
    assert [prompt.splitlines()[-1] for prompt in shuffled] == ["2 + 2?", "2 + 2?", "2 + 3?", "2 + 3?"]
    assert "\n5\n" in shuffled[0] and "\n4\n" in shuffled[2], "the other problem's solution"


def test_a_teacher_that_reads_the_memory_without_the_problem(memory: Memory) -> None:
    trainer = Recorder([])
    step(make(memory, ["4", "9", "5", "9"], trainer, distill={"teacher": {"reads_problem": False}}))
    prompts = [bytes(e.teacher_prompt_ids).decode() for e in trainer.examples]
    assert len(prompts) == 4 and all("Add them." in p and not p.rstrip().endswith("?") for p in prompts)


def test_teachers_that_read_one_tier_alone(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(memory, ["4", "9", "5", "9"], trainer, distill={"tier_gains_every": 2})
    step(parts, 0)
    assert not trainer.controls
    m = step(parts, 1)
    experience, insight, behavior = (
        [bytes(e.teacher_prompt_ids).decode() for e in examples] for examples in trainer.controls
    )
    assert m.values["teacher_gain_experience"] == m.values["teacher_gain_insight"] == 0.25
    assert all(teacher_page.DEMONSTRATION in prompt and teacher_page.STRATEGIES not in prompt for prompt in experience)
    assert all(teacher_page.STRATEGIES in prompt and teacher_page.DEMONSTRATION not in prompt for prompt in insight)
    assert len(experience) == len(insight) == 4 and all(p.rstrip().endswith("?") for p in experience + insight)
    assert behavior == [] and "teacher_gain_behavior" not in m.values, "none was found for these problems"


def test_only_tiers_that_the_recipe_has_are_measured(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(
        memory, ["4", "9", "5", "9"], trainer, distill={"tier_gains_every": 1}, memory={"tiers": ["experience"]}
    )
    values = step(parts, 0).values
    assert "teacher_gain_experience" in values and "teacher_gain_insight" not in values and len(trainer.controls) == 1


@dataclass
class Trier(Recorder):
    """A teacher that believes five times as much in what is correct when it reads the strategy, a fiftieth with the lesson."""

    tried: list[list[Any]] = field(default_factory=list)

    def log_ratios(self, examples: list[Any]) -> dict[str, float]:
        self.tried.append(list(examples))
        pages = {e.id: bytes(e.teacher_prompt_ids) for e in examples}
        assert not any(b"Add them." in page and b"Never guess." in page for page in pages.values()), "each alone"
        return {
            name: -3.0 + (b"Add them." in page) * math.log(5) - (b"Never guess." in page) * math.log(50)
            for name, page in pages.items()
        }


def test_a_memory_of_a_bank_teaches_once_it_has_helped_alone(memory: Memory) -> None:
    def entry(kind: Literal["strategy", "lesson"], text: str) -> Insight:
        return Insight(f"0/p/0/{kind}", "p/0", kind, text, 0.5, (), 0, 0)

    memory.put("insight", [entry("strategy", "Add them."), entry("lesson", "Never guess.")], [], step=-1)
    memory.note(-1, states={f"0/p/0/{kind}": ["trial", "bank"] for kind in ("strategy", "lesson")})
    trainer = Trier([])
    settings: dict[str, Any] = {"memory": {"siblings": False, "tiers": ["insight"]}, "rollout": {"samples": 3}}
    # Lenient about the scripted policy, which learns nothing: the trainer is a stand-in.
    parts = make(memory, ["4", "9", "4", "5", "9", "5"], trainer, **settings)
    kept = parts.recipe.memory
    trial = kept.model_copy(update={"lift": kept.lift.model_copy(update={"trial": 2, "untried": 0.0})})
    parts.recipe = parts.recipe.model_copy(update={"memory": trial})
    taught = []
    for number in range(4):
        m = Metrics(number)
        rollouts = attempt(parts, m, PROBLEMS)
        verdicts = verify(parts, m, PROBLEMS, rollouts)
        prompts = teacher_prompts(parts, m, rollouts, verdicts, recall(parts, m, PROBLEMS, [[], []]))
        weigh(parts, m, rollouts, verdicts, prompts, distil(parts, m, rollouts, verdicts, prompts))
        taught.append([bytes(e.teacher_prompt_ids) for e in trainer.examples])
    # Two correct rollouts of one problem: nothing, the strategy and the lesson before each. The other problem has no memory.
    assert [len(tried) for tried in trainer.tried] == [6] * 4 and all(e.correct for e in trainer.tried[0])
    bare = [b"Add them." not in page and b"Never guess." not in page for page in taught[0] + taught[1] + taught[2]]
    assert all(bare) and len(bare) == 18, (
        "four correct rollouts have to have been seen, and the older count a little less"
    )
    read = [b"Add them." in page for page in taught[3]]
    assert read == [True] * 3 + [False] * 3 and not any(b"Never guess." in page for page in taught[3])
    assert memory.effects().ids("quarantined") == {"0/p/0/lesson"} and not memory.effects().ids("trial")
    assert m.values["quarantined"] == 1 and "on_trial" not in m.values
    assert memory.effects().tried("0/p/0/strategy").mean == pytest.approx(4.0)
    assert trainer.examples and memory.effects().tried("0/p/0/lesson").n == pytest.approx(8, abs=0.3)


def test_a_memory_on_trial_is_read_as_often_as_asked_and_no_more_once_it_harmed(memory: Memory) -> None:
    entry = Insight("0/p/0/lesson", "p/0", "lesson", "Never guess.", 0.5, (), 0, 0)
    memory.put("insight", [entry], [], step=-1)
    memory.note(-1, states={entry.id: ["trial", "bank"]})
    trainer = Trier([])
    parts = make(
        memory,
        ["4", "9", "4", "5", "9", "5"],
        trainer,
        memory={"siblings": False, "tiers": ["insight"]},
        rollout={"samples": 3},
    )
    kept = parts.recipe.memory
    lift = kept.lift.model_copy(update={"trial": 2, "untried": 1.0})
    parts.recipe = parts.recipe.model_copy(update={"memory": kept.model_copy(update={"lift": lift})})
    read, shares = [], []
    for number in range(4):
        m = Metrics(number)
        rollouts = attempt(parts, m, PROBLEMS)
        verdicts = verify(parts, m, PROBLEMS, rollouts)
        prompts = teacher_prompts(parts, m, rollouts, verdicts, recall(parts, m, PROBLEMS, [[], []]))
        weigh(parts, m, rollouts, verdicts, prompts, distil(parts, m, rollouts, verdicts, prompts))
        read.append([b"Never guess." in bytes(e.teacher_prompt_ids) for e in trainer.examples])
        shares.append(m.values["context_fraction"])
    # From the first step on; not any more once four correct rollouts spoke against it.
    assert read[:3] == [[True] * 3 + [False] * 3] * 3 and read[3] == [False] * 6
    assert shares == [0.5, 0.5, 0.5, 0.0]
    assert memory.effects().ids("quarantined") == {entry.id}


def test_distillation_ends_when_the_teacher_gains_nothing(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(memory, ["4", "9", "5", "9"], trainer, distill={"gain_patience": 2})
    parts.history = [{"teacher_gain": 0.1}, {"teacher_gain": -0.1}, {}]
    assert "loss" in step(parts, 0).values
    parts.history += [{"teacher_gain": 0.0}]
    trainer.examples = []
    m = step(parts, 1)
    assert m.values["distillation_ended"] == 1 and "loss" not in m.values and not trainer.examples
    assert m.values["context_fraction"] == 1.0, "the gauges go on"


def test_frozen_memory_takes_nothing_in(memory: Memory) -> None:
    parts = make(memory, ["4", "9", "5", "9"], memory={"freeze_after": 1})
    step(parts, 0)
    before = memory.counts()
    step(parts, 1)
    assert memory.counts() == before and before["experience"] == 4


def test_a_context_without_room_is_skipped_and_counted(memory: Memory) -> None:
    trainer = Recorder([])
    parts = make(memory, ["4", "9", "5", "9"], trainer)
    parts.context = 3
    m = step(parts)
    assert trainer.examples == [] and m.values["context_too_long"] == 4


def test_evaluation_with_memory_shows_it_and_draws_the_same_seed(memory: Memory) -> None:
    parts = make(memory, ["4", "9", "5", "9"])
    step(parts)
    parts.policy.prompts.clear()  # type: ignore[attr-defined]
    evaluate(parts, Metrics(-1), PROBLEMS, True)
    evaluate(parts, Metrics(-1), PROBLEMS, False)
    shown, plain = parts.policy.prompts[:2], parts.policy.prompts[2:]  # type: ignore[attr-defined]
    assert all("Add them." in p[-1]["content"] for p in shown)
    assert [p[-1]["content"] for p in plain] == [p.prompt for p in PROBLEMS]


def test_a_frozen_policy_keeps_its_version(memory: Memory, tmp_path: Any) -> None:
    parts = make(memory, ["4"])
    sync(parts, Metrics(5), tmp_path)
    assert parts.policy.version == 0
    parts.trainer = Recorder([])  # type: ignore[assignment]
    sync(parts, Metrics(5), tmp_path)
    assert parts.policy.version == 6


def test_seeds_differ_by_step_and_purpose() -> None:
    recipe = Recipe()
    seeds = {seed_for(recipe, step, purpose) for step in range(50) for purpose in range(4)}
    assert len(seeds) == 200
    assert seed_for(recipe, 3, 1) == seed_for(Recipe(), 3, 1)


@pytest.mark.parametrize("thinking", [None, True, False])
def test_the_teacher_s_prompt_may_think_where_the_student_s_does_not(memory: Memory, thinking: bool | None) -> None:
    asked: list[bool | None] = []

    class Asked(ScriptedPolicy):
        def encode(self, messages: Any, *, thinking: bool | None = None) -> list[int]:
            asked.append(thinking)
            return super().encode(messages, thinking=thinking)

    parts = make(memory, ["4", "9", "5", "9"], Recorder([]), distill={"teacher": {"thinking": thinking}})
    parts.policy = Asked(["4", "9", "5", "9"], INSIGHTS)
    step(parts)
    assert thinking is None or thinking in asked
    assert set(asked) == {None, thinking}, "sampling, and measuring the budget, are as the policy says"

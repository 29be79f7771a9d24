"""The main job on the policy in the box: it runs, repeats itself, survives a kill, and its adapter works without this package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests import processes

SMALL = [
    "steps=3", "problems.train=8", "problems.test=6", "problems.validation=2", "rollout.problems=4", "rollout.samples=4",
    "pipeline.every=2", "evaluate.every=2",
]  # fmt: skip
RECIPES = Path(__file__).parents[1] / "recipes"


def pmd(*arguments: str, cwd: Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = processes.pmd(*arguments, cwd=cwd)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def memory_dump(run: Path) -> dict[str, list[Any]]:
    from pmd_agent.memory import HashingEmbedder, Memory
    from pmd_agent.types import TIERS

    with Memory.open(run / "memory", HashingEmbedder()) as memory:
        return {tier: sorted(memory.list(tier, include_archived=True), key=lambda e: e.id) for tier in TIERS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run of the quickstart recipe."""
    where = tmp_path_factory.mktemp("finished")
    pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "one", *SMALL, cwd=where)
    return where / "runs" / "one"


def test_run_directory_is_complete(finished: Path) -> None:
    for name in (
        "recipe.yaml",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "adapter/adapter_config.json",
        "log.txt",
    ):
        assert (finished / name).is_file(), name
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["name"] == "one" and summary["method"] == "pmd" and summary["seed"] == 0
    assert summary["steps"] == 3 and summary["rollouts"] == 3 * 4 * 4
    for value in (summary["base"]["free"], summary["final"]["free"], summary["final"]["with_memory"]):
        assert 0 <= value <= 1
    assert {"attempt", "verify", "remember", "reflect", "recall", "distil"} <= set(summary["seconds"])
    rows = lines(finished / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all({"surprisal", "importance_ratio", "clip_fraction", "repetition", "markers"} <= set(row) for row in rows)
    assert "internalisation" in summary


def test_memory_cites_rollouts_that_exist(finished: Path) -> None:
    dump = memory_dump(finished)
    rollouts = {row["id"] for path in (finished / "rollouts").iterdir() for row in lines(path)}
    assert {e.id for e in dump["experience"]} == rollouts
    assert dump["insight"], "the policy wrote no insight"
    assert all(set(i.sources) <= rollouts for i in dump["insight"])
    assert {s for b in dump["behavior"] for s in b.sources} <= {i.id for i in dump["insight"]}
    correct = {e.problem_id for e in dump["experience"] if e.correct}
    assert {i.problem_id for i in dump["insight"] if i.kind == "strategy"} <= correct


def test_every_memory_has_the_prompt_that_it_was_made_from(finished: Path) -> None:
    from pmd_agent.pipelines.prompts import choose_attempts, render_attempts, render_insights
    from pmd_agent.runs.program_trace import find

    dump = memory_dump(finished)
    attempts = {e.id: e for e in dump["experience"]}
    insights = {i.id: i for i in dump["insight"]}
    assert insights  # in so few steps no rule may find an insight that says it
    for insight in insights.values():
        asked = find(finished, insight.id)
        assert asked is not None and (asked.about, asked.program) == (insight.problem_id, insight.program)
        (call,) = asked.calls
        # What its attempts are now, with those of later reflections that said the same; it was written from its own step's.
        own = [attempts[s] for s in insight.sources if s.split("/")[0] == insight.id.split("/")[0]]
        assert render_attempts(choose_attempts(own, 4), 4000) in call.messages[-1].text
        assert json.dumps(insight.text, ensure_ascii=False) in call.answers[0]
        assert call.model.startswith("local/")
    for behavior in dump["behavior"]:
        asked = find(finished, behavior.id)
        assert asked is not None and asked.program == behavior.program
        cited = [insights[s] for s in behavior.sources if int(s.split("/")[0]) <= int(behavior.id.split("/")[0])]
        lines = render_insights(cited, 1000)[0].splitlines()
        assert any(line.rpartition(" (")[0] in asked.calls[0].messages[-1].text for line in lines)
        assert behavior.text in asked.calls[0].answers[0]


def test_the_prompt_is_shown(finished: Path) -> None:
    insight = memory_dump(finished)["insight"][0]
    attempts = {row["id"]: row["text"] for path in (finished / "rollouts").iterdir() for row in lines(path)}
    plain = pmd("memory", "show", str(finished), insight.id, cwd=finished).stdout
    step = int(insight.id.split("/")[0])
    assert f"prompt in programs/step-{step:06d}.jsonl" in plain and "--- system" not in plain
    shown = pmd("memory", "show", str(finished), insight.id, "--prompt", cwd=finished).stdout
    assert shown.startswith(plain) and "call 1 of 1 · local/" in shown
    said = shown.removeprefix(plain)
    system, user, answer = (said.index(f"--- {role}\n") for role in ("system", "user", "answer"))
    assert system < user < answer
    assert any(attempts[s] in said[user:answer] for s in insight.sources if s in attempts)
    assert insight.text in said[answer:]
    experience = memory_dump(finished)["experience"][0]
    shown = pmd("memory", "show", str(finished), experience.id, "--prompt", cwd=finished).stdout
    assert "--- user\nIn the " in shown and "--- answer\n" + experience.text in shown


def test_the_page_of_a_run_has_all_of_it(finished: Path) -> None:
    """Each memory that a teacher read leads to attempts; a few attempts are there token by token; answers before and after."""
    from tests.reports.conftest import data_in

    pmd("report", "one", "--to", "page.html", cwd=finished.parent.parent)
    data = data_in((finished.parent.parent / "page.html").read_text())
    assert data["overview"]["state"] == "finished" and data["overview"]["step"] == [0, 1, 2]
    assert [m["name"] for m in data["overview"]["measured"]] == ["base", "final", "final_with_memory"]
    steps = [data[f"rollouts-{step}"] for step in range(3)]
    attempts = {name for columns in steps for name in columns["id"]}
    memories = {entry["id"]: entry for entry in data["memories"]["entries"]}
    assert len(attempts) == 48 and memories
    read = {columns["names"][place] for columns in steps for places in columns["read"] for place in places}
    assert read and read <= attempts | memories.keys()
    for entry in memories.values():
        assert entry["sources"] and set(entry["sources"]) <= attempts | memories.keys()
    for columns in steps:
        shown = columns["tokens"]
        assert len(shown) == 8
        for place, tokens in shown.items():
            assert "".join(text for text, _ in tokens).startswith(columns["text"][int(place)])
            mean = sum(gain for _, gain in tokens) / len(tokens) / 100
            assert mean == pytest.approx(columns["gain"][int(place)], abs=0.01)
    assert {name for columns in steps for name in (columns["names"][p] for p in columns["problem"])} <= data[
        "problems"
    ].keys()
    assert len(data["answers"]) == 12 and all(a["final"][2][0][0] for a in data["answers"])


def test_same_seed_same_metrics(finished: Path, tmp_path: Path) -> None:
    pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "two", *SMALL, cwd=tmp_path)
    assert without_times(lines(tmp_path / "runs/two/metrics.jsonl")) == without_times(lines(finished / "metrics.jsonl"))


def test_killed_and_resumed_is_as_if_never_killed(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pmd_agent", "run", str(RECIPES / "quickstart.yaml"), "--name", "one", *SMALL]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "runs/one/metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 1):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)  # into the next step
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "runs/one/summary.json").exists(), "killed too late to show anything"

    pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "one", "--resume", *SMALL, cwd=tmp_path)
    assert without_times(lines(metrics)) == without_times(lines(finished / "metrics.jsonl"))
    assert memory_dump(tmp_path / "runs/one") == memory_dump(finished)
    for folder in ("rollouts", "programs"):  # no call is lost, none is there twice
        kept, wanted = (sorted((run / folder).glob("step-*")) for run in (tmp_path / "runs/one", finished))
        assert [p.name for p in kept] == [p.name for p in wanted] and len(wanted) == 3
        assert [p.read_bytes() for p in kept] == [p.read_bytes() for p in wanted]


def test_a_run_is_never_overwritten(finished: Path) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    done = pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "one", *SMALL, cwd=finished.parents[1], check=2)
    assert "--resume" in done.stderr and "Traceback" not in done.stderr
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_exported_adapter_answers_the_same_without_this_package(finished: Path, tmp_path: Path) -> None:
    pmd("export", str(finished), "--to", str(tmp_path / "plain"), cwd=tmp_path)
    ours = tmp_path / "ours.py"
    ours.write_text(
        textwrap.dedent(f"""
        import json, pathlib
        from pmd_agent.distillation.teacher_page import student_messages
        from pmd_agent.policies.local import LocalPolicy
        from pmd_agent.problems.world import World
        from pmd_agent.types import Sampling
        from pmd_agent.models import box_path
        from pmd_agent.models.adapters import load_adapter
        from pmd_agent.models.loading import load_base, load_tokenizer
        policy = LocalPolicy(load_adapter(load_base("box"), pathlib.Path({str(finished / "adapter")!r})), load_tokenizer("box"), name="box")
        prompts = [student_messages(p) for p in World.create(0).problems(20, operators=2, split="export")]
        answers = policy.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=80))
        print(json.dumps([str(box_path()), prompts, [list(a[0].completion_ids) for a in answers]]))
        """)
    )
    base, prompts, wanted = json.loads(subprocess.check_output([sys.executable, str(ours)], text=True))
    plain = tmp_path / "plain.py"
    plain.write_text(
        textwrap.dedent(f"""
        import json, sys
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer
        prompts = json.loads(sys.stdin.read())
        tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "plain")!r})
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base!r}, dtype="float32"), {str(tmp_path / "plain")!r}).eval()
        found = []
        for messages in prompts:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            out = model.generate(**ids, max_new_tokens=80, do_sample=False)
            found.append(out[0, ids["input_ids"].shape[1]:].tolist())
        assert not any(name.startswith("pmd_agent") for name in sys.modules)
        print(json.dumps(found))
        """)
    )
    found = json.loads(
        subprocess.run(
            [sys.executable, str(plain)], input=json.dumps(prompts), capture_output=True, text=True, check=True
        ).stdout
    )
    assert found == wanted


def test_an_export_says_what_practice_did_here_and_elsewhere(finished: Path, tmp_path: Path) -> None:

    run = shutil.copytree(finished, tmp_path / "runs" / "one")
    (tmp_path / "other.yaml").write_text(
        "name: other\nproblems: {type: world, seed: 7, test: 4, validation: 0, train: 4}\n"
    )
    said = pmd("evaluate", "one", "--on", "other.yaml", "--problems", "3", cwd=tmp_path).stdout
    assert "base: avg@" in said and "adapter: avg@" in said and "other: " in said.splitlines()[-1]
    pmd("export", "one", "--to", "out", cwd=tmp_path)
    found = json.loads((tmp_path / "out" / "certificate.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    assert found["memory_free"]["before"] == summary["base"]["free"]
    assert found["memory_free"]["after"] == summary["final"]["free"]
    assert found["with_memory"]["after"] == summary["final"]["with_memory"]
    assert found["elsewhere"]["other"]["points"]["low"] <= found["elsewhere"]["other"]["points"]["high"]
    weights = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert found["sha256"]["adapter_model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert found["recipe"]["steps"] == 3 and "runs" not in found["recipe"] and str(tmp_path) not in json.dumps(found)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "Without memory, on" in readme and "Elsewhere, on other: " in readme
    refused = pmd("evaluate", "one", "--on", "other.yaml", "--base", cwd=tmp_path, check=2)
    assert "leave --base and --with-memory out" in " ".join(refused.stderr.replace("│", " ").split())


def test_sdpo_keeps_no_memory(tmp_path: Path) -> None:
    pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "sdpo", "method=sdpo", *SMALL, "steps=2", cwd=tmp_path)
    assert all(not entries for entries in memory_dump(tmp_path / "runs/sdpo").values())
    rows = lines(tmp_path / "runs/sdpo/metrics.jsonl")
    # A sibling's solution is all that can teach: at most the share of rollouts in groups with a success.
    assert all(row["context_fraction"] <= row["solved_groups"] for row in rows)


def test_grpo_has_the_same_rollouts_and_no_teacher(tmp_path: Path) -> None:
    pmd("run", str(RECIPES / "quickstart.yaml"), "--name", "grpo", "method=grpo", *SMALL, "steps=2", cwd=tmp_path)
    assert all(not entries for entries in memory_dump(tmp_path / "runs/grpo").values())
    rows = lines(tmp_path / "runs/grpo/metrics.jsonl")
    assert [row["rollouts"] for row in rows] == [4 * 4, 4 * 4]
    assert all(row["reinforced"] == 1 and "teacher_gain" not in row and row["tokens"] > 0 for row in rows)
    assert (tmp_path / "runs/grpo/adapter/adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nowhere.yaml"], "no recipe"),
        (["run", "QUICK", "distil.lr=1"], "distill"),
        (["run", "QUICK", "rollout.samples=0"], "rollout.samples"),
        (["run", "QUICK", "policy.model=./nowhere"], "nowhere"),
        (["run", "QUICK", "policy.model=ENCODER"], "causal"),
        (["run", "QUICK", "problems.type=file", "problems.path=nowhere.jsonl"], "nowhere.jsonl"),
        (["run", "QUICK", "problems.type=file", "problems.path=BAD"], "answer"),
        (["run", "QUICK", "pipeline.reflector=nowhere:Nothing"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["run", "QUICK", "--name", "never", "--resume"], "never"),
    ],
)
def test_bad_input_gets_one_clear_error(arguments: list[str], says: str, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(
        BertConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).save_pretrained(tmp_path / "encoder")
    (tmp_path / "encoder" / "tokenizer.json").write_bytes((box() / "tokenizer.json").read_bytes())
    (tmp_path / "encoder" / "tokenizer_config.json").write_bytes((box() / "tokenizer_config.json").read_bytes())
    for template in box().glob("*.jinja"):
        (tmp_path / "encoder" / template.name).write_bytes(template.read_bytes())
    (tmp_path / "bad.jsonl").write_text('{"prompt": "1+1?", "answer": "2"}\n{"prompt": "1+2?"}\n')
    names = {"QUICK": str(RECIPES / "quickstart.yaml"), "BAD": "bad.jsonl"}
    filled = [
        names.get(a, a).replace("ENCODER", str(tmp_path / "encoder")).replace("=BAD", "=bad.jsonl") for a in arguments
    ]
    done = pmd(*filled, cwd=tmp_path, check=2)
    assert says in done.stderr and "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "runs").exists(), "something half-made was left"


def box() -> Path:
    from pmd_agent.models import box_path

    return box_path()


def test_real_chemistry_rows(tmp_path: Path) -> None:
    data = os.environ.get("PMD_TEST_DATA")
    if not data:
        pytest.skip("PMD_TEST_DATA is not set: no real rows here")
    pmd(
        "run", str(RECIPES / "sciknoweval.yaml"), "--name", "chemistry", "policy.type=local", "policy.model=box",
        f"problems.path={data}/sciknoweval/chemistry", "steps=3", "rollout.problems=8", "rollout.samples=4", "rollout.max_tokens=64",
        "pipeline.every=2", "pipeline.max_tokens=128", "evaluate.samples=1", "evaluate.max_problems=40", "evaluate.every=0",
        cwd=tmp_path,
    )  # fmt: skip
    run = tmp_path / "runs/chemistry"
    log = (run / "log.txt").read_text()
    assert "1795 training, 95 validation and 40 test problems" in log, log
    dump = memory_dump(run)
    assert len(dump["experience"]) == 3 * 8 * 4 and dump["insight"] and dump["behavior"]
    assert (run / "adapter/adapter_model.safetensors").is_file()
    answers = [row["answer"] for path in (run / "rollouts").iterdir() for row in lines(path)]
    assert sum(a is not None for a in answers) / len(answers) >= 0.8

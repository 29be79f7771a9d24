"""The README of what is exported: a model card, with the front matter that hubs read, and code that answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd_agent.evaluation.certificate import sentences
from pmd_agent.models import BOX
from pmd_agent.recipe import Recipe, ScriptedPolicySection
from pmd_agent.recipe.yaml import write_yaml

TAGS = ("pmd", "procedural-memory-distillation", "self-distillation")
ADAPTER = """{front}
# {name}

A LoRA adapter made by pmd (method {method}, {steps} steps) for `{model}`. It answers without memory in its prompt.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

{folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
base = AutoModelForCausalLM.from_pretrained({base}, dtype="{dtype}")
model = PeftModel.from_pretrained(base, folder)
```

{asking}

{note}

{measured}
"""
MERGED = """{front}
# {name}

`{model}` with what pmd taught it (method {method}, {steps} steps) merged into its weights, {dtype}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

{folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
```

{asking}

The licence of `{model}` applies to its weights.

{measured}
"""
ASKING = """```python
question = [{"role": "user", "content": "What is 12 * 12?"}]  # as the run asked: `recipe` in certificate.json
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=256)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
```"""
MEASURED = """## What was measured

{lines}

By the run itself, before the export; in brackets, a 95 % interval over such problems. How far another run would come is not
in it. `certificate.json` has the figures, the recipe, and hashes of the weights."""


def adapter_card(recipe: Recipe, steps: int, *, found: Mapping[str, Any], folder: str, base: str, dtype: str) -> str:
    """Of an adapter. `found` is its certificate, `base` what the adapter's own configuration names, `folder` how it is loaded."""
    model = _model(recipe)
    if model == BOX:
        argument, note = 'f"{folder}/base"', "The base model is in `base/`, since it is on no hub."
    else:
        argument, note = (
            repr(base),
            f"The licence of `{model}` applies to the base model, which is not included.",
        )
    return ADAPTER.format(
        **_facts(recipe, steps, found, "peft", folder), base=argument, note=note, dtype=dtype, asking=ASKING
    )


def merged_card(recipe: Recipe, steps: int, *, found: Mapping[str, Any], folder: str, dtype: str) -> str:
    """Of whole weights."""
    return MERGED.format(**_facts(recipe, steps, found, "transformers", folder), dtype=dtype, asking=ASKING)


def _facts(recipe: Recipe, steps: int, found: Mapping[str, Any], library: str, folder: str) -> dict[str, str]:
    return {
        "name": recipe.name,
        "folder": _folder(recipe, folder, library),
        "method": recipe.method,
        "model": _model(recipe),
        "steps": str(steps),
        "measured": MEASURED.format(lines="\n".join(f"- {line}" for line in sentences(found))),
        "front": f"---\n{write_yaml(front_matter(recipe, found, library))}---\n",
    }


def _folder(recipe: Recipe, folder: str, library: str) -> str:
    """The line that says where it is: here, or on the hub, where a base that came along has to be fetched as files."""
    if "/" not in folder:
        return f'folder = "{folder}"  # where this README is'
    if library == "peft" and _model(recipe) == BOX:
        return f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{folder}")'
    return f'folder = "{folder}"  # on the hub'


def _model(recipe: Recipe) -> str:
    assert not isinstance(recipe.policy, ScriptedPolicySection), "it has no weights to export"
    return recipe.policy.model


def front_matter(recipe: Recipe, found: Mapping[str, Any], library: str) -> dict[str, Any]:
    """What hubs read. `base_model` where the base has a name on a hub; accuracy where it was measured."""
    model = _model(recipe)
    on_hub = model != BOX and not Path(model).exists()
    front: dict[str, Any] = {"library_name": library, "pipeline_tag": "text-generation"}
    front["tags"] = [*TAGS, *(["lora"] if library == "peft" else [])]
    if on_hub:
        front |= {"base_model": model, "base_model_relation": "adapter" if library == "peft" else "finetune"}
    accuracy = found["memory_free"]["after"]
    if accuracy is None:
        return front
    problems = recipe.problems
    metrics = [{"type": "accuracy", "name": "accuracy without memory", "value": round(float(accuracy), 4)}]
    if left_out := found["memory_free"].get("unchecked", {}).get("after"):  # earlier certificates do not tell
        metrics.append({"type": "unchecked", "name": "answers that could not be checked, left out", "value": left_out})
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"type": getattr(problems, "hub", None) or problems.type, "name": problems.type},
        "metrics": metrics,
    }
    return front | {"model-index": [{"name": recipe.name, "results": [result]}]}

"""The README of what is exported: a model card, with the front matter that hubs read, and code that answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmd_agent.evaluation.certificate import sentences
from pmd_agent.models import BOX
from pmd_agent.recipe import LocalPolicySection, VllmPolicySection
from pmd_agent.recipe.yaml import write_yaml
from pmd_agent.runs.folder import RunDir

Section = LocalPolicySection | VllmPolicySection
TAGS = ("pmd", "procedural-memory-distillation", "self-distillation")
ADAPTER = """{front}
# {name}

A LoRA adapter made by pmd (method {method}, {steps} steps) for `{model}`. It answers without memory in its prompt.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{folder}"  # where this README is
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

folder = "{folder}"  # where this README is
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


def adapter_card(run: RunDir, section: Section, found: Mapping[str, Any], *, folder: str, base: str, dtype: str) -> str:
    """Of an adapter. `found` is its certificate, `base` what the adapter's own configuration names."""
    if section.model == BOX:
        argument, note = 'f"{folder}/base"', "The base model is in `base/`, since it is on no hub."
    else:
        argument, note = (
            repr(base),
            f"The licence of `{section.model}` applies to the base model, which is not included.",
        )
    return ADAPTER.format(
        **_facts(run, section, found, "peft"), folder=folder, base=argument, note=note, dtype=dtype, asking=ASKING
    )


def merged_card(run: RunDir, section: Section, found: Mapping[str, Any], *, folder: str, dtype: str) -> str:
    """Of whole weights."""
    return MERGED.format(**_facts(run, section, found, "transformers"), folder=folder, dtype=dtype, asking=ASKING)


def _facts(run: RunDir, section: Section, found: Mapping[str, Any], library: str) -> dict[str, str]:
    return {
        "name": run.recipe.name,
        "method": run.recipe.method,
        "model": section.model,
        "steps": str(run.next_step),
        "measured": MEASURED.format(lines="\n".join(f"- {line}" for line in sentences(found))),
        "front": f"---\n{write_yaml(front_matter(run, section, found, library))}---\n",
    }


def front_matter(run: RunDir, section: Section, found: Mapping[str, Any], library: str) -> dict[str, Any]:
    """What hubs read. `base_model` where the base has a name on a hub; accuracy where it was measured."""
    on_hub = section.model != BOX and not Path(section.model).exists()
    front: dict[str, Any] = {"library_name": library, "pipeline_tag": "text-generation"}
    front["tags"] = [*TAGS, *(["lora"] if library == "peft" else [])]
    if on_hub:
        front |= {"base_model": section.model, "base_model_relation": "adapter" if library == "peft" else "finetune"}
    accuracy = found["memory_free"]["after"]
    if accuracy is None:
        return front
    problems = run.recipe.problems
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"type": getattr(problems, "hub", None) or problems.type, "name": problems.type},
        "metrics": [{"type": "accuracy", "name": "accuracy without memory", "value": round(float(accuracy), 4)}],
    }
    return front | {"model-index": [{"name": run.recipe.name, "results": [result]}]}

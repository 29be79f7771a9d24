"""What wrote a memory, in one line."""

from __future__ import annotations

import hashlib
import json

import dspy

from pmd_agent.pipelines.state import plain


def program_of(module: dspy.Module, model: str) -> str:
    """`package.module:Class#1a2b3c4d by MODEL`: the hash is of the instructions, fields and examples that it sends.

    Two programs of one line put the same questions; with an entry's sources, that is the prompt it was written from.
    """
    parts = []
    for name, predictor in sorted(module.named_predictors(), key=lambda pair: str(pair[0])):
        fields = {key: str(field.json_schema_extra) for key, field in predictor.signature.fields.items()}
        parts.append(f"{name}\n{predictor.signature.instructions}\n{sorted(fields.items())}")
        if predictor.demos:
            parts.append(json.dumps(plain(predictor.demos), sort_keys=True))
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:8]
    return f"{type(module).__module__}:{type(module).__qualname__}#{digest} by {model}"

"""Language models and encoders: loading them, adapters, whose weights answer. torch is imported by the modules in here."""

from pathlib import Path

BOX = "box"
"""The name of the policy that ships with pmd, as in policy.model=box."""


def box_path() -> Path:
    """The folder of that policy: config, weights and tokenizer, for plain transformers too."""
    return Path(__file__).parent / BOX

"""pmd schema"""

from __future__ import annotations

import json


def schema() -> None:
    """Print a recipe's JSON schema: every key, its default, its bounds and what it does."""
    from pmd_agent.console import Console
    from pmd_agent.recipe import Recipe

    Console().info(json.dumps(Recipe.model_json_schema(), indent=2))

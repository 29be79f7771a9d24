"""What mkdocs calls while it builds the site (mkdocs.yml, `hooks`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from docs.generate import notebooks, source_pages
from docs.generate.commands import commands_page
from docs.generate.metrics import metrics_page
from docs.generate.python_api import python_page
from docs.generate.recipe_keys import recipe_page

MADE: dict[str, Callable[[], str]] = {
    "recipe": recipe_page,
    "commands": commands_page,
    "metrics": metrics_page,
    "python": python_page,
}
MARK = re.compile(r"<!-- made: (\w+) -->.*?<!-- end -->", re.DOTALL)


def on_files(files: Any, *, config: Any) -> Any:
    """Notebooks become pages, and so does each file outside of docs/ that a page names."""
    for file in notebooks.as_pages(files, config):
        files.append(file)
    for file in source_pages.named_in(files, config):
        files.append(file)
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """References are filled in, and links that leave docs/ lead to the page of what they name."""
    markdown = MARK.sub(lambda found: MADE[found[1]](), markdown)
    return source_pages.with_links(markdown, page.file.src_uri)


def on_post_page(output: str, **_: Any) -> str:
    """The theme's search is a dialog without a name, which screen readers want."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )

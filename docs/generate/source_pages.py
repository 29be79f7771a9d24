"""Pages name files of the project: each of them becomes a page too, so that every link leads somewhere, also offline."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+?)/?(#[^)\s]*)?(\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".md": "markdown", ".toml": "toml", ".json": "json", ".js": "javascript"}


def named_in(files: Any, config: Any) -> list[Any]:
    """A page for each file or folder outside of docs/ that a page of docs/ links to."""
    from mkdocs.structure.files import File

    wanted = {
        target
        for file in files.documentation_pages()
        if (text := _text(file))
        for found in LINK.finditer(text)
        if (target := _outside(found[2], file.src_uri))
    }
    return [File.generated(config, _page_of(target), content=_content(target)) for target in sorted(wanted)]


def with_links(markdown: str, page: str) -> str:
    """The links of `page` that leave docs/ lead to the pages made for what they name."""

    def there(found: re.Match[str]) -> str:
        target = _outside(found[2], page)
        if target is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(_page_of(target), posixpath.dirname(page) or '.')}{found[4]}"

    return LINK.sub(there, markdown)


def _outside(link: str, page: str) -> str | None:
    """The path from the root of the project; None for what lies in docs/, and for what is not there (mkdocs then warns)."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return path if not path.startswith(("docs/", "..")) and (ROOT / path).exists() else None


def _page_of(target: str) -> str:
    return f"source/{target}.md"


def _content(target: str) -> str:
    path = ROOT / target
    lines = list(_folder(path)) if path.is_dir() else list(_file(path))
    return "\n".join(["---", "search: {exclude: true}", "---", f"# `{target}`", "", *lines, ""])


def _file(path: Path) -> Iterator[str]:
    yield f"````{LANGUAGES.get(path.suffix, 'text')}"
    yield path.read_text("utf-8").rstrip()
    yield "````"


def _folder(path: Path) -> Iterator[str]:
    for each in sorted(path.iterdir()):
        if each.name.startswith(("__", ".")):
            continue
        head = re.match(r'"""(.+?)(?:"""|\n)', each.read_text("utf-8")) if each.suffix == ".py" else None
        yield f"- `{each.name}`{': ' + head[1] if head else ''}"


def _text(file: Any) -> str:
    return str(file.content_string) if file.src_uri.endswith(".md") else ""

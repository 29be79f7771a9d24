"""Notebooks: as pages of the site, and with fresh outputs.

python -m docs.generate.notebooks      # runs docs/notebooks/*.ipynb and keeps what they print; a few minutes
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def as_pages(files: Any, config: Any) -> list[Any]:
    """A page for each notebook; the notebook itself stays there, to be downloaded."""
    from mkdocs.structure.files import File

    pages = []
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            text = "\n".join(_page(json.loads(Path(file.abs_src_path).read_text("utf-8")), file.name))
            pages.append(File.generated(config, posixpath.splitext(file.src_uri)[0] + ".md", content=text))
    return pages


def _page(notebook: dict[str, Any], name: str) -> Iterator[str]:
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield from [source, ""]
        else:
            yield from ["````python", source, "````", ""]
            if said := "".join(_said(cell)).rstrip():
                yield from ["````text", said, "````", ""]
        if number == 0:
            yield from [f"[Download this notebook]({name}.ipynb)", ""]


def _said(cell: dict[str, Any]) -> Iterator[str]:
    for output in cell["outputs"]:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        yield COLOURS.sub("", "".join(text)) + ("" if "text" in output else "\n")


def execute(path: Path, folder: Path) -> Any:
    """The notebook as it is after a run in `folder`, which gets recipes/. Raises where a cell does."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, 4)
    if not (folder / "recipes").exists():
        (folder / "recipes").symlink_to(ROOT / "recipes")
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return book


def without_traces(book: Any) -> Any:
    """What is kept: what cells print. Not when, nor by which interpreter, nor what went to standard error."""
    from nbformat.v4 import new_output

    book.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            said = [o for o in cell.outputs if o.get("name") != "stderr"]
            printed = "".join(
                o.text for o in said if o.output_type == "stream"
            )  # it comes in pieces, as it was flushed
            cell.outputs = [o for o in said if o.output_type != "stream"]
            if printed:
                cell.outputs.insert(0, new_output("stream", name="stdout", text=printed))
    return book


def main() -> None:
    """Run those that are named, or all."""
    import nbformat

    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(without_traces(execute(path, Path(folder))), path)


if __name__ == "__main__":
    main()

"""The tutorial: docs/tutorial.md has its text and its Python; the notebook and all outputs are made of it.

`inv tutorial` runs the part for this machine, and writes the notebook, the page's outputs, and the plot's picture.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from plotly.offline import get_plotlyjs

from tests.browsing import ARGUMENTS, CHROMIUM

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
PICTURE = ROOT / "docs" / "images" / "tutorial.png"
FIGURE = "application/vnd.plotly.v1+json"
DEADLINE_S = 600
PROJECT = '[project]\nname = "own"\nversion = "1"\ndependencies = ["sweepfleet"]\n'
CODE = re.compile(
    r"^```python\n(?P<code>.*?)\n```\n(?:\n```text\n(?P<said>.*?)\n```\n|\n!\[[^\]]*\]\(images/tutorial\.png\)\n)?",
    re.MULTILINE | re.DOTALL,
)
STEPS = re.compile(
    r"^(?:[\d,]+ of [\d,]+ · |Waiting |Looking |Fetching |Fetched |Asking |Connecting |The head ).*(?:\n|\Z)",
    re.MULTILINE,
)
ON_A_CLUSTER = "\n## On a cluster"  # from there on, cells need one that is up
DRAW = "figure => Plotly.toImage(figure, {format: 'png', width: 800, height: 420, scale: 1.5})"


def notebook(page: str) -> Any:
    """The page as a notebook without outputs: its text, and a cell for each block of Python."""
    cells, at = [], 0
    for found in CODE.finditer(page):
        cells += [_text(page[at : found.start()]), nbformat.v4.new_code_cell(found["code"])]
        if ON_A_CLUSTER in page[: found.start()]:
            cells[-1]["metadata"]["tags"] = ["cluster"]
        at = found.end()
    cells.append(_text(page[at:]))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # by default a random one
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _text(page: str) -> Any:
    """A cell of text, whose links lead to where the page's do."""
    linked = re.sub(r"(?<=\]\()(?!\w+:|#)([^)]+)", lambda found: _from_examples(found[1]), page.strip())
    return nbformat.v4.new_markdown_cell(linked)


def _from_examples(link: str) -> str:
    return link.removeprefix("../examples/") if link.startswith("../examples/") else f"../docs/{link}"


def is_for_a_cluster(cell: Any) -> bool:
    """Whether a cell needs a cluster that is up."""
    return "cluster" in cell["metadata"].get("tags", [])


def project(folder: Path) -> Path:
    """The folder, as a project that has nothing yet."""
    (folder / "pyproject.toml").write_text(PROJECT)
    return folder


def execute(cells: list[Any], folder: Path) -> list[Any]:
    """Run cells in this folder; they have their outputs then. Raises CellExecutionError: one failed."""
    made = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(made, timeout=DEADLINE_S, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in made["cells"]:
        cell["metadata"].pop("execution", None)  # when it ran
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = output["text"].replace(f"{folder}/", "").replace(f"{ROOT}/", "")
    return list(made["cells"])


def said(cell: Any) -> str:
    """What a cell prints, and the text of its value; without progress and steps on the way."""
    texts = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            texts.append(output["text"])
        elif output["output_type"] == "execute_result":
            texts.append(output["data"]["text/plain"])
    return STEPS.sub("", "\n".join(text.rstrip("\n") for text in texts)).rstrip("\n")


def with_outputs(page: str, cells: list[Any]) -> str:
    """The page with the outputs of its cells of code."""
    left = iter(cells)

    def written(found: re.Match[str]) -> str:
        cell = next(left)
        code = f"```python\n{found['code']}\n```\n"
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            return f"{code}\n![The plot](images/{PICTURE.name})\n"
        return f"{code}\n```text\n{text}\n```\n" if (text := said(cell)) else code

    return CODE.sub(written, page)


def draw(figure: dict[str, Any]) -> bytes:
    """A figure of plotly's as a picture, drawn by the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())
        picture: str = page.evaluate(DRAW, figure)
        browser.close()
    return base64.b64decode(picture.partition(",")[2])


def write() -> None:
    """Run the part for this machine, and write notebook, outputs and picture. What a cluster's cells said is kept."""
    page = PAGE.read_text()
    made = notebook(page)
    before = {cell["source"]: cell for cell in nbformat.read(NOTEBOOK, 4)["cells"]} if NOTEBOOK.exists() else {}
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    here = [cell for cell in code if not is_for_a_cluster(cell)]
    with tempfile.TemporaryDirectory() as folder:
        execute(here, project(Path(folder)))
    for cell in code:
        if is_for_a_cluster(cell) and cell["source"] in before:
            cell["outputs"] = before[cell["source"]]["outputs"]
        for output in cell["outputs"]:
            if figure := output.get("data", {}).pop(FIGURE, None):
                PICTURE.parent.mkdir(exist_ok=True)
                PICTURE.write_bytes(draw(figure))
                output["data"] = {"image/png": base64.b64encode(PICTURE.read_bytes()).decode()}
    _store(made)


def merge(executed: Any) -> None:
    """Write what a cluster's cells have said in an executed notebook into ours, and into the page."""
    ours = nbformat.read(NOTEBOOK, 4)
    for cell, other in zip(ours["cells"], executed["cells"], strict=True):
        if cell["cell_type"] == "code" and is_for_a_cluster(cell):
            cell["outputs"] = other["outputs"]
    _store(ours)


def _store(made: Any) -> None:
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    NOTEBOOK.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(with_outputs(PAGE.read_text(), code))


def main() -> None:
    """Run the whole notebook in its folder, and write what has come of it into a file."""
    (file,) = sys.argv[1:]
    whole = nbformat.read(NOTEBOOK, 4)
    code = [cell for cell in whole["cells"] if cell["cell_type"] == "code"]
    execute(code, NOTEBOOK.parent)
    Path(file).write_text(json.dumps(whole))


if __name__ == "__main__":  # on the rehearsal's laptop
    main()

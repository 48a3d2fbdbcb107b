"""Runs tutorials and keeps what their cells put out, which the site shows beneath the code.

    python scripts/record_tutorials.py docs/tutorials/lunarlander.ipynb

Notebooks themselves hold no output. Pictures go to docs/images/tutorials/, texts to docs/tutorials/outputs/NAME.json
with a hash of each cell, so that a test sees outputs of code that has changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = ROOT / "docs" / "tutorials" / "outputs"
IMAGES = ROOT / "docs" / "images" / "tutorials"


def digest(source: str) -> str:
    """Returns a short hash of a cell's code."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def kept(outputs: list[dict[str, Any]], name: str) -> list[dict[str, str]]:
    """Returns what the site shows of a cell's outputs: texts, and pictures as files."""
    shown: list[dict[str, str]] = []
    for number, output in enumerate(outputs):
        data = output.get("data", {})
        if "image/png" in data:
            IMAGES.mkdir(parents=True, exist_ok=True)
            path = IMAGES / f"{name}_{number}.png"
            path.write_bytes(base64.b64decode(data["image/png"]))
            shown.append({"image": path.name})
            continue
        text = output.get("text") or data.get("text/plain", "")
        if output.get("name") != "stderr" and text.strip() and not text.startswith("<"):
            shown.append({"text": text.rstrip()})
    return shown


@click.command()
@click.argument("notebooks", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(notebooks: tuple[Path, ...]) -> None:
    """Runs NOTEBOOKS as they are, which takes minutes."""
    import nbformat
    from nbclient import NotebookClient

    for path in notebooks:
        read: Callable[..., Any] = nbformat.read  # Not typed by nbformat.
        notebook = read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}})
            client.execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        record = [
            {"cell": digest(cell.source), "outputs": kept(cell.outputs, f"{path.stem}_{number}")}
            for number, cell in enumerate(cells)
        ]
        OUTPUTS.mkdir(exist_ok=True)
        (OUTPUTS / f"{path.stem}.json").write_text(json.dumps(record, indent=1) + "\n")
        click.echo(f"Wrote {OUTPUTS / path.stem}.json")


if __name__ == "__main__":
    main()

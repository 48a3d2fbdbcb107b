"""Runs the code of a notebook in a process of its own, as a kernel does but for the messages."""

from __future__ import annotations

import json
import os
from pathlib import Path


def run(path: Path, folder: Path, environment: dict[str, str]) -> None:
    """Runs the cells in a folder; what they print is written to `printed.txt` there."""
    from IPython.core.interactiveshell import InteractiveShell  # Here: only the child needs it.

    os.environ |= environment
    os.chdir(folder)
    with open("printed.txt", "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    shell = InteractiveShell()
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"])).raise_error()

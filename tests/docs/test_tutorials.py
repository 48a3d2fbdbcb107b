"""The notebooks run from top to bottom, with few updates, and hold no output and no path of a machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import forked
import notebook_cells
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.ipynb"))
IN_A_KERNEL = "pendulum_online"
"""The one that a kernel runs, and not a fork of a process that has imported the library."""
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print("".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", [])))
"""
PROMISED = {
    "hopper": ("score before training", "mean of the last five", "hopper.mp4: "),
    "lunarlander": ("double DQN", "discrete BCQ", "believes"),
    "spreadsheet": ("true value of the staff", "true value of CQL", "Fetched fetched", "one row: median"),
    "text": ("ILQL, beta 16, beam", "token by token", "numpy says first"),
    "pendulum_online": ("go online with:", "recovered at", "IQL on both, offline again:"),
}
FILES = {
    "hopper": ["hopper.mp4", "hopper.okt", "hopper.png"],
    "lunarlander": ["lunarlander.png"],
    "pendulum_online": ["online.png"],
    "text": ["walks.jsonl", "walks.okt", "walks.safetensors"],
    "spreadsheet": ["clinic.yaml", "clinic.safetensors.md", "fetched/clinic.safetensors"],
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path):
    text = path.read_text()
    cells = json.loads(text)["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if "outputs" in cell)
    assert not re.search(r"(?<![\w.~])/(?:home|root|tmp|work|Users)/", text)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, hopper_file, tmp_path, monkeypatch):
    for package in (
        "nbclient",
        "nbformat",
        "ipykernel",
        "mujoco",
        "Box2D",
        "imageio_ffmpeg",
        "pandas",
        "fastapi",
    ):
        pytest.importorskip(package)
    monkeypatch.setenv("TUTORIAL_UPDATES", "40")
    monkeypatch.setenv("TUTORIAL_EPISODES", "1")
    printed = in_a_kernel(path, tmp_path) if path.stem == IN_A_KERNEL else in_a_fork(path, tmp_path)
    assert all(words in printed for words in PROMISED[path.stem]), printed
    assert [name for name in FILES[path.stem] if not (tmp_path / name).is_file()] == []


def in_a_kernel(path, folder):
    # A process of its own, since the kernel's client opens sockets and loops that pytest would warn about.
    ran = subprocess.run([sys.executable, "-c", RUN, path], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def in_a_fork(path, folder):
    child = forked.start(notebook_cells.run, path, folder, {**os.environ, "MPLBACKEND": "agg"})
    child.join(300)
    printed = (folder / "printed.txt").read_text()
    assert child.exitcode == 0, printed
    return printed

"""`offlinekit export`: a run becomes a file that acts as the run's policy does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from pages import blocks, commands

import offlinekit
from offlinekit.cli.commands.export import SUFFIXES
from offlinekit.cli.main import main
from offlinekit.core.export import FORMATS
from offlinekit.deploy import NumpyPolicy

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


def test_formats_are_those_of_the_package():
    assert {name: form.suffix for name, form in FORMATS.items()} == SUFFIXES


def test_a_run_as_numpy(call, trained, tmp_path):
    run, _ = trained
    target = tmp_path / "robot" / "policy.safetensors"
    result = call("export", run, "--format", "numpy", "--out", target)
    assert result.exit_code == 0, result.output
    assert re.search(r"Wrote .*policy\.safetensors: DiscreteBC, 60 updates, [\d,]+ bytes", result.output)
    seen = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    wanted = offlinekit.load(run / "policy.okt").predict(seen)
    np.testing.assert_array_equal(NumpyPolicy.load(target).predict(seen), wanted)


def test_the_file_lies_beside_the_policy(call, trained, tmp_path):
    policy = tmp_path / "policy.okt"
    policy.write_bytes((trained[0] / "policy.okt").read_bytes())
    assert call("export", policy, "--format", "torchscript").exit_code == 0
    assert call("export", policy, "--out", tmp_path / "other.safetensors").exit_code == 0
    names = {"policy.okt", "policy.pt", "policy.pt.md", "other.safetensors", "other.safetensors.md"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_wrong_usage(call, trained, tmp_path):
    result = call("export", trained[0], "--out", tmp_path / "policy.bin")
    assert result.exit_code == 2
    assert "names no format; choose one of" in result.output
    assert call("export", trained[0], "--format", "pickle").exit_code == 2
    assert call("export", tmp_path / "none").exit_code == 2


def test_what_the_page_says_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.body, block.where, "exec"), names)
            continue
        for command in commands(block.body) if block.language == "console" else ():
            told = CliRunner().invoke(main, shlex.split(command)[1:]).output.splitlines()
            assert told
            assert all(said.split(" updates, ")[0] in block.body for said in told), told

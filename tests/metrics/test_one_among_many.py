"""One bad run, table, policy or path among many takes none of the others, at every door that takes several."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from run_folders import write_run

from offlinekit.algos import BC
from offlinekit.cli.main import main
from offlinekit.metrics import plot_learning_curves
from offlinekit.metrics.reporting.page import write_report
from offlinekit.metrics.reporting.results import read_runs
from offlinekit.testing import small_dataset

BAD: dict[str, Callable[[Path], Any]] = {
    "no table yet": lambda run: (run / "metrics.csv").unlink(),
    "an empty table": lambda run: (run / "metrics.csv").write_text(""),
    "no row yet": lambda run: (run / "metrics.csv").write_text("step,time,eval/return_mean\n"),
    "a table of words": lambda run: (run / "metrics.csv").write_text("step,time,eval/return_mean\nx,y,z\n"),
    "a cut row": lambda run: (run / "metrics.csv").write_text("step,time,eval/return_mean\n100,1.0,0x\n"),
    "a table of bytes": lambda run: (run / "metrics.csv").write_bytes(b"\xff\xfe\0"),
    "a folder as table": lambda run: ((run / "metrics.csv").unlink(), (run / "metrics.csv").mkdir()),
    "a pipe as table": lambda run: ((run / "metrics.csv").unlink(), os.mkfifo(run / "metrics.csv")),
    "a link out": lambda run: (
        (run / "metrics.csv").unlink(),
        (run / "metrics.csv").symlink_to("/etc/passwd"),
    ),
    "a cut config": lambda run: (run / "config.json").write_text('{"algo": "IQL", "datas'),
    "an empty config": lambda run: (run / "config.json").write_text(""),
    "a config of nothing": lambda run: (run / "config.json").write_text("{}"),
    "a config of a list": lambda run: (run / "config.json").write_text("[]"),
}
"""What may be wrong with one of several runs."""


def command(*words: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return str(result.output)


def plotted(folders: list[Path], out: Path) -> str:
    with pytest.warns(UserWarning, match="is left out: ") as caught:
        plot_learning_curves(folders, out / "x.svg")
    return "\n".join(str(one.message) for one in caught)


def plotted_by_label(folders: list[Path], out: Path) -> str:
    with pytest.warns(UserWarning, match="is left out: ") as caught:
        plot_learning_curves({"all": folders, "bad alone": folders[1:-1]}, out / "x.svg")
    return "\n".join(str(one.message) for one in caught)


def reported(folders: list[Path], out: Path) -> str:
    write_report(folders, out)
    assert "2 training runs" in (out / "report.md").read_text()
    return (out / "report.html").read_text()


DOORS: dict[str, Callable[[list[Path], Path], str]] = {
    "read_runs": lambda folders, out: "\n".join(read_runs(folders)[1]),
    "write_report": reported,
    "plot_learning_curves": plotted,
    "plot_learning_curves of labels": plotted_by_label,
    "report": lambda folders, out: command("report", *folders, "--out", out),
    "report of the folder above": lambda folders, out: command("report", folders[0].parent, "--out", out),
    "plot": lambda folders, out: command("plot", *folders, "--out", out / "x.svg"),
    "plot over time": lambda folders, out: command("plot", *folders, "--x", "time", "--out", out / "x.svg"),
    "compare": lambda folders, out: command("compare", folders[0].parent, folders[0].parent),
    "compare by a pattern": lambda folders, out: command("compare", f"{folders[0].parent}/*", folders[0]),
}


@pytest.mark.parametrize("door", DOORS)
def test_bad_runs_take_no_other(door: str, tmp_path: Path) -> None:
    a, *bad, c = (
        write_run(tmp_path / "runs" / name.replace(" ", "-"), [[1.0], [2.0]], seed=seed)
        for seed, name in enumerate(("a", *BAD, "c"))
    )
    for spoil, folder in zip(BAD.values(), bad, strict=True):
        spoil(folder)
    said = DOORS[door]([a, *bad, c], tmp_path)
    assert [folder.name for folder in bad if f"{folder.name} is left out: " not in said] == []
    assert "a is left out" not in said
    assert "c is left out" not in said


@pytest.mark.parametrize("door", ["report", "plot", "compare by a pattern"])
def test_a_path_that_is_no_run(door: str, tmp_path: Path) -> None:
    """As a pattern runs/* brings them."""
    folders = [write_run(tmp_path / "runs" / name, [[1.0], [2.0]]) for name in ("a", "c")]
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("which runs are which\n")
    said = DOORS[door](
        [folders[0], tmp_path / "runs" / "bad", tmp_path / "runs" / "notes.txt", folders[1]], tmp_path
    )
    assert "bad is left out: " in said
    assert "notes.txt is left out: " in said


@pytest.mark.parametrize("bad", BAD)
def test_bad_runs_alone_are_refused_by_name(bad: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "bad", [[1.0]])
    BAD[bad](folder)
    for words in (["report", folder, "--out", tmp_path / "o"], ["plot", folder, "--out", tmp_path / "x.svg"]):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code != 0
        assert isinstance(result.exception, SystemExit)
        assert "bad" in result.output
    assert not (tmp_path / "x.svg").exists()


def test_plots_take_a_folder_of_runs(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / "runs" / f"s{seed}", [[1.0], [2.0]], seed=seed)
    assert "left out" not in command("plot", tmp_path / "runs", "--out", tmp_path / "x.svg")


def test_one_bad_policy_of_a_selection(tmp_path: Path) -> None:
    data = small_dataset("continuous")
    path = data.save(tmp_path / "data.h5")
    small = {"batch_size": 4, "encoder": {"type": "mlp", "hidden_sizes": [4]}}
    policies = [
        BC(seed=seed, **small).fit(data, 1, out=None, progress=False).save(tmp_path / f"{seed}.okt")
        for seed in range(2)
    ]
    cut = Path(shutil.copy(policies[0], tmp_path / "cut.okt"))
    cut.write_bytes(cut.read_bytes()[:-20])
    words = ("--dataset", path, "--steps", "2", "--resamples", "2")
    said = command("select", policies[0], cut, policies[1], *words)
    assert "cut.okt is left out: " in said
    assert "1.okt" in said
    alone = CliRunner().invoke(main, ["select", str(cut), *map(str, words)])
    assert alone.exit_code != 0
    assert "cut.okt" in alone.output

"""`report` and `compare`, and the options of `plot` and `train` beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offlinekit.metrics.reporting import plots
from offlinekit.metrics.reporting.results import read_run


def test_report_of_a_trained_run(call: Any, trained: Any, tmp_path: Path) -> None:
    run, printed = trained
    result = call("report", run, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "| tiny | DiscreteBC | 1 |" in result.output
    assert "Budget: 1 policy, 60 updates, 2 evaluations, 6 episodes." in result.output
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.md",
        "report.tex",
        "results.csv",
        "runs.csv",
        "report.html",
    }
    assert read_run(run).dataset_hash.startswith("data2:")
    assert "Budget: 1 policy, 60 updates, 2 evaluations, 6 episodes" in printed.output
    refused = call("report", run, "--tuning-seed", 5, "--out", tmp_path / "no")
    assert refused.exit_code == 2
    assert "chosen on seeds [5]" in refused.output


def test_compare_takes_folders_and_patterns(call: Any, trained: Any) -> None:
    run, _ = trained
    result = call("compare", f"{run.parent}/Disc*", run)
    assert result.exit_code == 0, result.output
    assert "final return on tiny" in result.output
    assert "P(A > B)  0.5000" in result.output
    assert "train at least 2 seeds each" in result.output
    assert "Budget: 2 policies, 120 updates" in result.output
    missing = call("compare", run, "nowhere/*")
    assert missing.exit_code == 2
    assert "Invalid value for 'B'" in missing.output


@pytest.mark.parametrize("theme", ["paper", "grey"])
def test_plot_over_wall_time_in_a_theme(call: Any, trained: Any, theme: str, tmp_path: Path) -> None:
    run, _ = trained
    result = call(
        "plot", run, "--x", "time", "--band", "interval", "--theme", theme, "--out", tmp_path / "c.svg"
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "c.svg").read_text().startswith("<?xml")
    assert plots.get_theme(theme).size[0] < 3.5


def test_logger_names_are_checked(call: Any, data_file: Path) -> None:
    result = call("train", "--algo", "discrete-bc", "--dataset", data_file, "--logger", "wandbb")
    assert result.exit_code == 2
    assert "'tensorboard', 'wandb', 'mlflow'" in result.output

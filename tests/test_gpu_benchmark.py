"""The script for GPUs, in its small form on a CPU: every part runs and writes its rows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner


def test_every_part_runs_and_writes_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import gpu

    found = CliRunner().invoke(gpu.main, ["--small", "--csv", str(tmp_path / "gpu.csv")])
    assert found.exit_code == 0, found.output
    rows = list(csv.DictReader((tmp_path / "gpu.csv").read_text().splitlines()))
    assert [(row["algo"], row["engine"]) for row in rows[:8]] == [
        (a, e) for a in gpu.COMPARED for e in gpu.ENGINES
    ]
    assert [(row["part"], int(row["members"]), int(row["updates"])) for row in rows[8:]] == [
        ("population", 1, 3),
        ("population", 2, 6),
        ("cal-ql, 10 critics", 1, 3),
        ("1M updates", 1, 3),
    ]
    assert all(float(row["rate"]) > 0 for row in rows)

"""What a run lacks is found before it makes its folder; a folder without a checkpoint says what became of its run."""

from __future__ import annotations

import sys

import pytest

import offlinekit
from offlinekit.algos import BC
from offlinekit.errors import MissingExtraError
from offlinekit.testing import check_algo, small_dataset


def test_a_missing_logger_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb"):
        BC(seed=0, encoder=[8]).fit(
            small_dataset("continuous"), 1, out=tmp_path, loggers=["wandb"], progress=False
        )
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_run_that_failed_says_so(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="its run failed or was stopped before the first one"):
        offlinekit.load(tmp_path / "run")


def test_check_algo_says_what_it_checked():
    passed = check_algo(BC)
    assert {"determinism", "save_load", "engines"} <= set(passed)

"""Loggers of other tools: chosen by name or factory, offline, and resumed."""

from __future__ import annotations

import csv
import json
import time

import pytest

from offlinekit.algos import BC
from offlinekit.testing import small_dataset
from offlinekit.training import trackers

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}


class Kept:
    """A logger that keeps what it is told."""

    made: list[Kept] = []

    def __init__(self, folder, config):
        self.folder, self.config, self.rows, self.closed = folder, config, [], False
        self.made.append(self)

    def log(self, row):
        self.rows.append(dict(row))

    def close(self):
        self.closed = True


def fit(n_steps, **settings):
    algo = BC(**TINY)
    return algo.fit(small_dataset("continuous"), n_steps, progress=False, log_interval=2, **settings)


def test_a_factory_makes_a_logger_of_each_run(tmp_path):
    Kept.made.clear()
    algo = fit(4, out=tmp_path, loggers=[Kept, Kept])
    (logger,) = Kept.made
    assert logger.folder == algo.run_dir
    assert logger.config["algo"] == "BC"
    assert logger.rows == algo.history
    assert [row["step"] for row in logger.rows] == [2, 4]
    assert logger.closed
    assert json.loads((algo.run_dir / "config.json").read_text())["loggers"] == []


def test_names_are_noted_in_the_config(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "wandb", Kept)
    algo = fit(2, out=tmp_path, loggers=["wandb"])
    assert json.loads((algo.run_dir / "config.json").read_text())["loggers"] == ["wandb"]


def test_tensorboard_true_is_the_logger_of_that_name():
    assert trackers.find_factories(["tensorboard", "tensorboard"]) == [trackers.TensorBoardLogger]


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    algo = fit(4, out=tmp_path, loggers=["wandb"])
    (log,) = (algo.run_dir / "wandb").glob("offline-run-*/*.wandb")
    assert algo.run_dir.name in log.name
    wanted = (b"actor_loss", b"hyperparameters")
    until = time.monotonic() + 30.0  # wandb's own process writes the file, a moment later where it is busy.
    while not all(text in log.read_bytes() for text in wanted) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(text in log.read_bytes() for text in wanted)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_in_files_and_resumed(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    algo = fit(4, out=tmp_path, loggers=["mlflow"])
    BC(**TINY).fit(
        small_dataset("continuous"),
        6,
        progress=False,
        log_interval=2,
        resume=algo.run_dir,
        loggers=["mlflow"],
        out=tmp_path,
    )
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("offlinekit").experiment_id])
    assert run.info.run_name == algo.run_dir.name
    assert run.info.status == "FINISHED"
    assert run.data.params["algo"] == "BC"
    assert run.data.params["batch_size"] == "8"
    rows = list(csv.DictReader((algo.run_dir / "metrics.csv").read_text().splitlines()))
    logged = client.get_metric_history(run.info.run_id, "actor_loss")
    assert [(m.step, pytest.approx(m.value)) for m in logged] == [
        (int(row["step"]), float(row["actor_loss"])) for row in rows
    ]
    assert [m.step for m in logged] == [2, 4, 6]


@pytest.mark.parametrize(
    ("loggers", "error", "message"),
    [
        (["wandbb"], ValueError, "unknown logger 'wandbb'; did you mean 'wandb'"),
        (["x"], ValueError, "known: tensorboard, wandb, mlflow"),
        ([3], TypeError, r"a name or a factory \(run folder, config\) -> Logger, such as its class, got 3"),
        ("wandb", TypeError, r"loggers must be a list, such as \['wandb'\]"),
    ],
)
def test_wrong_loggers_are_named(loggers, error, message, tmp_path):
    with pytest.raises(error, match=message):
        fit(2, out=tmp_path, loggers=loggers)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="loggers belong to a run folder; give out='runs' as well"):
        fit(2, out=None, loggers=["tensorboard"])

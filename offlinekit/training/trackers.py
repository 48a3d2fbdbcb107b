"""Loggers of other tools, by name: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from offlinekit.errors import did_you_mean, require
from offlinekit.training.loggers import Logger

PROJECT = "offlinekit"
LoggerFactory: TypeAlias = Callable[[Path, Mapping[str, Any]], Logger]
"""Makes a logger of a run folder and the run's config; a class with that signature is one."""


class TensorBoardLogger:
    """Scalars for TensorBoard, by update, in `tensorboard/` of the run folder.

    Args:
        folder: Of the run.
        config: Of the run; not used.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        require("tensorboard", "tensorboard")
        writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self.writer = writer(str(folder / "tensorboard"))

    def log(self, row: dict[str, Any]) -> None:
        """Writes each metric of a row."""
        for name, value in _metrics(row).items():
            self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flushes and closes the event file."""
        self.writer.close()


class WandbLogger:
    """A run of Weights & Biases, named after the run folder; a resumed run goes on in the same one.

    wandb's own settings hold: `WANDB_MODE=offline` writes below the run folder without a network, `WANDB_PROJECT`
    names another project.

    Args:
        folder: Of the run.
        config: Of the run, shown beside it.
        settings: Further arguments of `wandb.init`, such as project, entity, group or mode.

    Raises:
        MissingExtraError: If wandb is not installed.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], **settings: Any) -> None:
        wandb = require("wandb", "wandb")
        given = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "name": folder.name,
            "id": folder.name,
            "dir": str(folder),
            "config": dict(config),
            "tags": list(config.get("tags", ())),
            "resume": "allow",
            "reinit": "create_new",
            **settings,
        }
        self.run = wandb.init(**given)

    def log(self, row: dict[str, Any]) -> None:
        """Writes the metrics of a row, by update."""
        self.run.log({**_metrics(row), "time": row["time"]}, step=row["step"])

    def close(self) -> None:
        """Ends the run of wandb, whose own process writes or sends what is left."""
        self.run.finish()


class MLflowLogger:
    """A run of MLflow, named after the run folder; a resumed run goes on in the same one.

    `MLFLOW_TRACKING_URI` names a server or a database; without it, runs go to `mlflow.db` beside the run folders.

    Args:
        folder: Of the run.
        config: Of the run; its plain values and hyperparameters become parameters.
        experiment: Name of MLflow's experiment.

    Raises:
        MissingExtraError: If mlflow is not installed.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], experiment: str = PROJECT) -> None:
        mlflow = require("mlflow", "mlflow")
        self.entity = mlflow.entities.Metric
        beside = f"sqlite:///{(folder.parent / 'mlflow.db').resolve()}"
        self.client = mlflow.MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or beside)
        known = self.client.get_experiment_by_name(experiment)
        group = known.experiment_id if known else self.client.create_experiment(experiment)
        matches = self.client.search_runs([group], f"attributes.run_name = '{folder.name}'")
        self.id = matches[0].info.run_id if matches else self._create(group, folder.name, config)
        self.client.update_run(self.id, status="RUNNING")

    def _create(self, group: str, name: str, config: Mapping[str, Any]) -> str:
        run_id: str = self.client.create_run(group, run_name=name).info.run_id
        plain = {key: value for key, value in config.items() if isinstance(value, (int, float, str))}
        for key, value in {**config.get("hyperparameters", {}), **plain}.items():
            self.client.log_param(run_id, key, value)
        for tag in config.get("tags", ()):
            self.client.set_tag(run_id, tag, "true")
        return run_id

    def log(self, row: dict[str, Any]) -> None:
        """Writes the metrics of a row, by update."""
        metric = partial(self.entity, timestamp=int(time.time() * 1000), step=row["step"])
        self.client.log_batch(self.id, [metric(key=key, value=value) for key, value in _metrics(row).items()])

    def close(self) -> None:
        """Marks the run as ended."""
        self.client.set_terminated(self.id)


TRACKERS: dict[str, LoggerFactory] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MLflowLogger,
}


def check_installed(loggers: Sequence[str | LoggerFactory]) -> None:
    """Raises MissingExtraError for the name of a logger whose package is not installed."""
    for logger in loggers:
        if isinstance(logger, str) and logger in TRACKERS:
            require(logger, logger)


def find_factories(loggers: Sequence[str | LoggerFactory]) -> list[LoggerFactory]:
    """Returns what makes the loggers of a run, each once.

    Args:
        loggers: Names of `TRACKERS`, or factories (run folder, config) -> Logger.

    Raises:
        ValueError: For an unknown name.
        TypeError: For what is neither.
    """
    if isinstance(loggers, str):
        raise TypeError(f"loggers must be a list, such as [{loggers!r}], got the text {loggers!r}")
    factories: list[LoggerFactory] = []
    for logger in loggers:
        if isinstance(logger, str) and logger not in TRACKERS:
            hint = did_you_mean(logger, TRACKERS) or f"; known: {', '.join(TRACKERS)}"
            raise ValueError(f"unknown logger {logger!r}{hint}")
        factory = TRACKERS[logger] if isinstance(logger, str) else logger
        if not callable(factory):
            raise TypeError(
                f"a logger is a name or a factory (run folder, config) -> Logger, such as its class, got {logger!r}"
            )
        if factory not in factories:
            factories.append(factory)
    return factories


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row without step and time."""
    return {name: value for name, value in row.items() if name not in ("step", "time")}

"""The phase of a run in which its model learns: a run of its own, made once for equal data, settings and seed."""

from __future__ import annotations

import fcntl
import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, Protocol

from gymnasium import spaces
from torch import Tensor

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.interfaces import Trainable
from offlinekit.training.setup.description import describe_data, describe_run
from offlinekit.training.setup.resuming import find_run
from offlinekit.training.setup.settings import complete

FOLDER = "dynamics"
"""Folder of the runs of models, beside those of policies."""
MOST_UPDATES = 100_000_000
"""Updates of a model, beyond what its rule lets it take."""
SHARED = ("engine", "precision", "deterministic", "progress", "preemptible")
"""Settings of a run that its model's has too."""
MOST_KEPT = 4
PAUSE = 0.1
"""Seconds between looks at whether another process has trained a model."""

_RECENT: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
"""The last few models that this process trained or read, by data, settings and seed."""


class Model(Trainable, Protocol):
    """An algorithm that learns a model."""

    def make_impl(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Makes the networks anew."""

    def fit(self, dataset: MDPDataset, n_steps: int, **settings: Any) -> Model:
        """Learns from a dataset."""

    @classmethod
    def load(cls, path: Path, *, device: str) -> Model:
        """Reads a file."""


def trained_model(
    model: Model,
    learner: Trainable,
    dataset: MDPDataset,
    settings: Mapping[str, Any],
    place: Path | None,
    deadline: float = math.inf,
) -> dict[str, Tensor] | None:
    """Returns the networks of a model of a dataset, trained here unless that was done before; None if out of time.

    Members of a population, and runs of a sweep that write to one folder, share it; what was interrupted goes on.

    Args:
        model: Without networks.
        learner: What learns in the model, with its networks; its scalers may be those of data of before.
        dataset: What it learns from.
        settings: Of the run that needs it.
        place: Folder of that run's folder, or None to keep no file.
        deadline: Of that run, by the clock of `monotonic`. A model that is not ready by then has a checkpoint.
    """
    info = _take_scalers(model, learner, dataset)
    how = {name: settings[name] for name in SHARED}
    plain = {name: value for name, value in how.items() if name not in ("progress", "preemptible")}
    device = vars(model)["device"]
    scaling = model.scaling.to_json()
    key = json.dumps(
        [fingerprint(dataset), type(model).__name__, model.config, plain, device, scaling], sort_keys=True
    )
    if key not in _RECENT:
        folder = None if place is None else place / FOLDER
        networks = _networks(model, dataset, {**how, "info": info}, folder, device, deadline)
        if networks is None:
            return None
        _RECENT[key] = networks
        while len(_RECENT) > MOST_KEPT:
            _RECENT.popitem(last=False)
    _RECENT.move_to_end(key)
    return _RECENT[key]


def _take_scalers(model: Model, learner: Trainable, dataset: MDPDataset) -> dict[str, Any]:
    """Makes the networks of a model with the scalers of its learner.

    Returns:
        Entries of its run's config: the scalers, unless a new front would fit the same ones to the dataset.
    """
    model.build(dataset)
    scaling = learner.scaling.to_json()
    if model.scaling.to_json() == scaling:
        return {}
    model.scaling = learner.scaling
    model.make_impl(learner.impl.observation_space, learner.impl.action_space)
    return {"scaling": scaling}


def _networks(
    model: Model,
    dataset: MDPDataset,
    how: dict[str, Any],
    folder: Path | None,
    device: str,
    deadline: float,
) -> dict[str, Tensor] | None:
    with nullcontext() if folder is None else _awaited(folder, deadline):
        seconds = deadline - monotonic()
        if seconds <= 0:
            return None
        done = None
        if folder is not None:
            wanted = describe_run(model, MOST_UPDATES, complete(how), describe_data(dataset, how["info"]))
            done = find_run(model, folder, wanted, finished=True)
        if done is not None:
            model = type(model).load(done, device=device)
        else:
            resume = None if folder is None else "auto"
            limit = seconds if seconds < math.inf else None
            model.fit(dataset, MOST_UPDATES, out=folder, resume=resume, max_seconds=limit, **how)
            if monotonic() >= deadline:
                return None
    return {name: value.clone() for name, value in model.impl.state_dict().items()}


@contextmanager
def _awaited(folder: Path, deadline: float) -> Iterator[None]:
    """Waits while another process trains a model in the folder, which may be the same, up to the deadline."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        while not _locks(file) and monotonic() < deadline:
            sleep(PAUSE)
        yield


def _locks(file: IO[str]) -> bool:
    """Returns whether a file could be locked at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

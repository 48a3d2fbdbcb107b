"""offlinekit as a process of `updates.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from worker import OPTIONS, random_data, serve

from offlinekit.algos import MLPEncoder, get_algo
from offlinekit.datasets import MDPDataset

SETTINGS = dict(pair.split("=") for pair in sys.argv[1:])
"""Keywords of `fit`, such as engine=eager."""
DEVICE = SETTINGS.pop("device", "cpu")


def make(name: str, n: int = 0) -> Iterator[int]:
    """Takes the updates of an ordinary run that writes nothing; yields each n, a log interval."""
    n = n or (400 if DEVICE != "cpu" else 10 if name == "cql" else 50)
    encoder = MLPEncoder((256, 256))
    algo = get_algo(name)(encoder=encoder, seed=0, device=DEVICE, **OPTIONS.get(name, {}))
    intervals = {"eval_interval": 10**9, "log_interval": n}
    for _ in algo.fitter(
        MDPDataset(**random_data(name)), 10**9, out=None, progress=False, **intervals, **SETTINGS
    ):
        yield n


if __name__ == "__main__":
    serve(make, torch.set_num_threads)

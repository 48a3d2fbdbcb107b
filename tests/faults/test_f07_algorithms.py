"""F7: a policy of every algorithm with every number of its config changed to one that nobody can pay."""

from __future__ import annotations

import json
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalogue_variants import SMALL
from fault_suite import FULL, Children, Tally, limit_time

import offlinekit
from offlinekit.algos import catalogue
from offlinekit.errors import OfflineKitError
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file

NUMBERS: list[Any] = [10**9, 50_000, 0, -1, 10**30, 1e300]
SECONDS = 30


def forged(place: Path, header: dict[str, Any], tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    facts = {k: v for k, v in header.items() if k not in ("format", "sha256")}
    policy_file.write(place, {**facts, "config": {**header["config"], **config}}, tensors)
    return place


def changes(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what is changed: each number in turn, and encoders of many or of large layers."""
    found = [
        {name: number}
        for name, value in config.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        for number in (NUMBERS if FULL else NUMBERS[:1])
    ]
    encoders = [name for name in config if name.endswith("encoder")]
    found += [{name: {"type": "mlp", "hidden_sizes": [10**5] * 2}} for name in encoders]
    deep = {"type": "mlp", "hidden_sizes": [1] * 50_000}  # Refused after some seconds.
    found += [{name: deep} for name in (encoders if FULL else encoders[:1])]
    return found


def load_all(told: Path, name: str) -> None:
    """Loads policies and acts once by each; writes what came, with the slowest."""
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
    torch.set_num_threads(1)
    front = catalogue()[name]
    small = {key: value for key, value in SMALL.items() if key in front.hyperparameters()}
    data = small_dataset(front.action_kind)
    place = told.with_name("x.okt")
    front(seed=0, batch_size=4, **small).build(data).save(place)
    header, tensors = policy_file.read(place, torch.device("cpu"))
    found: dict[str, Any] = {"refused": 0, "taken": 0, "foreign": [], "slowest": [0.0, ""]}
    for change in changes(header["config"]):
        began = time.process_time()
        limit_time(SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                algo = offlinekit.load(forged(place, header, tensors, **change))
                actor = algo.as_stateful() if algo.is_stateful else algo
                actor.predict(
                    np.zeros((1, 4), np.float32) if not algo.is_stateful else np.zeros(4, np.float32)
                )
            found["taken"] += 1
        except OfflineKitError:
            found["refused"] += 1
        except Exception as error:
            found["foreign"].append(f"{change!r:.80}: {type(error).__name__}: {str(error)[:200]}")
        found["slowest"] = max(found["slowest"], [time.process_time() - began, f"{change!r:.80}"])
    told.write_text(json.dumps(found))


@pytest.mark.parametrize("name", list(catalogue()))
def test_numbers_of_a_config(name: str, children: Children, tmp_path: Path, tally: Tally) -> None:
    if not FULL and name not in ("td3", "idql"):
        pytest.skip("part of make faults")
    found = children.told(load_all, tmp_path / "told", name, seconds=900)
    print(name, found)
    assert found["foreign"] == []
    tally(found["refused"] + found["taken"])

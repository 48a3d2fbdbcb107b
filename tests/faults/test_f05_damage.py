"""F5: flipped bits, truncations and zeroed pages in every file we write are an error of ours, never silent."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_children
import numpy as np
import pytest
import torch
from fault_suite import Children, Tally, count

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.families.d3rlpy_export import export_d3rlpy
from offlinekit.datasets.families.minari_export import export_minari
from offlinekit.errors import DatasetWarning, OfflineKitError
from offlinekit.metrics.reporting.curves import read_column
from offlinekit.testing import small_dataset
from offlinekit.training import manifest, policy_file, run_folder

SHARES = {
    "policy.okt": 0.3,
    "dataset.h5": 0.3,
    "plain.h5": 0.2,
    "config.json": 0.05,
    "metrics.csv": 0.05,
    "manifest.json": 0.1,
    "d3rlpy.h5": 0.1,
    "minari-v0/data/main_data.hdf5": 0.1,
}
"""Of the damages, by file."""


def of_policy(path: Path) -> Any:
    header, tensors = policy_file.read(path, torch.device("cpu"))
    return header, {name: value.numpy().tobytes() for name, value in tensors.items()}


def of_dataset(path: Path) -> Any:
    return of_data(MDPDataset.load(path))


def of_d3rlpy(path: Path) -> Any:
    return of_data(get_dataset(str(path))[0])


def of_minari(path: Path) -> Any:
    return of_data(get_dataset(str(path.parents[1]))[0])


def of_data(data: MDPDataset) -> Any:
    columns = [data.observations, data.actions, data.rewards, data.terminals, data.timeouts]
    columns += [data.final_observations, data.final_known]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns))
    return digest.hexdigest(), data.name, data.metadata, data.action_space, data.observation_space


def of_run(path: Path) -> Any:
    columns = [column.tolist() for column in read_column(path.parent, "step", "actor_loss")]
    return run_folder.read_config(path.parent), columns, manifest.read_text(path.parent / "system.json")


READ: dict[str, Callable[[Path], Any]] = {
    "policy.okt": of_policy,
    "dataset.h5": of_dataset,
    "plain.h5": of_dataset,
    "config.json": of_run,
    "metrics.csv": of_run,
    "manifest.json": of_run,
    "d3rlpy.h5": of_d3rlpy,
    "minari-v0/data/main_data.hdf5": of_minari,
}


@pytest.fixture(scope="module")
def files(children: Children, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    assert children.call(fault_children.train_and_exit, "td3_plus_bc", folder, 60) == 0
    (run,) = folder.iterdir()
    data = small_dataset("continuous", 3, 40)
    data.save(run / "dataset.h5")
    data.save(run / "plain.h5", compress=False)
    with pytest.warns(DatasetWarning, match="cannot hold"):
        export_d3rlpy(data, run / "d3rlpy.h5")
    export_minari(data, run / "minari-v0")
    return run


def flips(content: bytes, n: int, draw: random.Random) -> Iterator[bytes]:
    for _ in range(n):
        changed, bit = bytearray(content), draw.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def truncations(content: bytes, n: int, draw: random.Random) -> Iterator[bytes]:
    for _ in range(n):
        yield content[: draw.randrange(len(content))]


def zeroed_pages(content: bytes, n: int, draw: random.Random) -> Iterator[bytes]:
    for _ in range(n):
        size = min(4096, max(len(content) // 4, 1))
        start = draw.randrange(0, len(content), size)
        yield content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


KINDS = {
    "flips": (flips, 100, 2000),
    "truncations": (truncations, 30, 500),
    "zeroed": (zeroed_pages, 10, 200),
}


def look_at(told: Path, run: Path, name: str, kind: str, n: int) -> None:
    """Damages a file again and again and tells what reading it gives; notes the seed first, lest it crash."""
    import json

    make, content = KINDS[kind][0], (run / name).read_bytes()
    expected, found = READ[name](run / name), {"refused": 0, "without effect": 0, "silent": [], "foreign": []}
    for i, damaged in enumerate(make(content, n, random.Random(f"{name} {kind}"))):
        (run / name).write_bytes(damaged)
        told.write_text(json.dumps({"crashed at": i}))
        try:
            same = READ[name](run / name) == expected
        except (OfflineKitError, FileNotFoundError):
            found["refused"] += 1
        except Exception as error:
            found["foreign"].append(f"{i}: {error!r}")
        else:
            if same:
                found["without effect"] += 1
            else:
                found["silent"].append(i)
    told.write_text(json.dumps(found))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("name", list(SHARES))
def test_damage(name: str, kind: str, files: Path, children: Children, tmp_path: Path, tally: Tally) -> None:
    run = Path(shutil.copytree(files, tmp_path / "run"))
    n = max(round(count(*KINDS[kind][1:]) * SHARES[name]), 1)
    found = children.told(look_at, tmp_path / "told", run, name, kind, n, seconds=600)
    print(name, kind, found)
    assert (found["silent"], found["foreign"]) == ([], [])
    assert found["refused"] + found["without effect"] == n
    tally(n)

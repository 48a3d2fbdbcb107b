"""F7: files of the right form with the wrong contents, sealed with right hashes, within 2 GB and 10 seconds each."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fault_children
import h5py
import numpy as np
import pytest
from fault_suite import Children, Tally, count
from safetensors import safe_open
from safetensors.torch import save_file

import offlinekit
from offlinekit.cli import job
from offlinekit.datasets import MDPDataset
from offlinekit.errors import OfflineKitError
from offlinekit.metrics.reporting.curves import read_curves
from offlinekit.testing import small_dataset
from offlinekit.training import manifest, policy_file, run_folder

JUNK: list[Any] = [None, True, -1, 0, 2, 10**9, 2**70, 1.5, float("nan"), float("inf"), "", "x", "os.system"]
JUNK += [
    [],
    {},
    [[]],
    [1] * 9,
    {"type": "mlp", "hidden_sizes": [10**6] * 3},
    "../../x",
    "é\x00",
    [10**6, 10**6],
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the path of each part of a JSON value."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path] + [place for key, part in items for place in places(part, (*path, key))]


def mutated(tree: Any, draw: random.Random) -> Any:
    """Returns a JSON value with one to three parts replaced, taken away or put in twice."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(places(tree)[1:] or [()])
        if not path:
            return draw.choice(JUNK)
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        how = draw.random()
        if how < 0.7:
            parent[path[-1]] = draw.choice(JUNK)
        elif how < 0.9 or isinstance(parent, dict):
            del parent[path[-1]]
        else:
            parent.append(parent[path[-1]])
    return tree


def fuzz_policy(folder: Path, draw: random.Random) -> None:
    with safe_open(str(folder / "policy.okt"), framework="pt") as file:
        header = json.loads(file.metadata()["offlinekit"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # No mapping.
    if draw.random() < 0.3:
        name = draw.choice(sorted(tensors))
        tensors[name] = draw.choice(
            [tensors[name].double(), tensors[name].reshape(-1)[:1], tensors[name].half()]
        )
        tensors = {key: value.clone().contiguous() for key, value in tensors.items()}
        header["sha256"] = policy_file.digest_of(tensors)
    if draw.random() < 0.8:
        header = mutated(header, draw)
    text = json.dumps(header)
    sealed = {"offlinekit": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    save_file(tensors, str(folder / "x.okt"), metadata=sealed)
    offlinekit.load(folder / "x.okt").predict(np.zeros((1, 4), np.float32))


def fuzz_dataset(folder: Path, draw: random.Random) -> None:
    path = Path(shutil.copy(folder / "dataset.h5", folder / "x.h5"))
    with h5py.File(path, "r+") as file:
        for _ in range(draw.randint(1, 2)):
            with suppress(Exception):  # Of a change that the one before it leaves no room for.
                change_member(file, draw)
    MDPDataset.load(path)


def change_member(file: h5py.File, draw: random.Random) -> None:
    key = draw.choice([*file, "masks", "extras", "next_observations", "behavior_log_probs"])
    what = draw.randrange(9)
    if what < 3:
        text = json.dumps(mutated(json.loads(file.attrs["header"]), draw))
        file.attrs["header"] = text
        file.attrs["header_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        return
    if what == 3:
        file.attrs[draw.choice(list(file.attrs))] = draw.choice([1, 2.5, "x", np.arange(9), b"\xff"])
        return
    old = np.asarray(file[key]) if isinstance(file.get(key), h5py.Dataset) else np.zeros(3)
    if key in file:
        del file[key]
    if what == 4:
        file.create_group(key).attrs["kind"] = draw.choice(["dict", "tuple", "list"])
    elif what == 5:
        file[key] = h5py.SoftLink(draw.choice(["/rewards", "/none", f"/{key}"]))
    elif what == 6:
        file.create_dataset(key, (10**9, 3), "f4", chunks=(64, 3), compression="gzip")
    else:
        change: list[Callable[[Any], Any]] = [
            lambda a: a[:1],
            lambda a: a[None],
            lambda a: a.astype("f8") * np.nan,
            lambda a: a.astype("i8") - 2**62,
            lambda a: a.astype("S4"),
            lambda a: a.reshape(-1)[0],
            lambda a: np.concatenate([a, a]),
            lambda a: a.astype("f2"),
            lambda a: a.astype("c8"),
        ]
        file[key] = draw.choice(change)(old)


def fuzz_run(folder: Path, draw: random.Random) -> None:
    run = folder / "run"
    names = ("config.json", "manifest.json")
    before = {name: (run / name).read_bytes() for name in (*names, "metrics.csv")}
    try:
        if draw.random() < 0.6:
            (run / "config.json").write_text(json.dumps(mutated(json.loads(before["config.json"]), draw)))
            manifest.write(run)
        elif draw.random() < 0.5:
            (run / "manifest.json").write_text(json.dumps(mutated(json.loads(before["manifest.json"]), draw)))
        else:
            lines = before["metrics.csv"].decode().splitlines()
            lines[draw.randrange(len(lines))] = draw.choice(["", ",,,,", "a,b", "\x00", "1" * 200_000, '"'])
            (run / "metrics.csv").write_text("\n".join(lines))
            manifest.write(run)
        config = run_folder.read_config(run)
        run_folder.find(folder, config, (), finished=False, taken=())
        job._of_run(run)
        read_curves([run], y="actor_loss")
    finally:
        for name, content in before.items():
            (run / name).write_bytes(content)


FUZZERS = {
    "policy": (fuzz_policy, 200, 2000),
    "dataset": (fuzz_dataset, 200, 2000),
    "run": (fuzz_run, 100, 1000),
}
OURS = (OfflineKitError, FileNotFoundError)


def fuzz(told: Path, folder: Path, name: str, n: int) -> None:
    """Tells what came of n files; a hang ends the process by SIGALRM, too much memory is a MemoryError."""
    import click

    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
    found: dict[str, Any] = {"refused": 0, "taken": 0, "foreign": [], "slowest": 0.0}
    foreign: list[str] = found["foreign"]
    for i in range(n):
        began = time.monotonic()
        signal.alarm(10)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                FUZZERS[name][0](folder, random.Random(f"{name} {i}"))
            found["taken"] += 1
        except (*OURS, click.ClickException):
            found["refused"] += 1
        except Exception as error:
            if "no action that is a number comes out" in str(error):  # Of a network that holds NaN.
                found["refused"] += 1
            else:
                foreign.append(f"{i}: {type(error).__name__}: {str(error)[:300]}")
        signal.alarm(0)
        found["slowest"] = max(found["slowest"], time.monotonic() - began)
    told.write_text(json.dumps(found))


@pytest.mark.parametrize("name", list(FUZZERS))
def test_fuzz(name: str, children: Children, tmp_path: Path, tally: Tally) -> None:
    assert children.call(fault_children.train_and_exit, "iql", tmp_path, 30) == 0
    (run,) = tmp_path.iterdir()
    run.rename(tmp_path / "run")
    shutil.copy(tmp_path / "run" / "policy.okt", tmp_path / "policy.okt")
    small_dataset("continuous").save(tmp_path / "dataset.h5")
    n = count(*FUZZERS[name][1:])
    found = children.told(fuzz, tmp_path / "told", tmp_path, name, n, seconds=1200)
    print(name, found)
    assert found["foreign"] == []
    tally(n)

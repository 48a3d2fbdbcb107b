"""F10: many processes at once make runs of their own and fetch one file once; a lock ends with its process."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

import fault_children
import pytest
from fault_suite import Children, Tally, count
from http_server import CONTENT, Server

from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.errors import TrainingError
from offlinekit.testing import small_dataset
from offlinekit.training import run_folder


def test_runs_of_one_second(children: Children, tmp_path: Path, tally: Tally) -> None:
    each, moment = count(5, 20), time.time() + 1.0
    told = [tmp_path / f"told{i}" for i in range(8)]
    started = [children.start(fault_children.make_runs, t, tmp_path / "runs", each, moment) for t in told]
    for process in started:
        process.join()
    names = [name for t in told for name in json.loads(t.read_text())]
    assert len(set(names)) == len(names) == 8 * each
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(names)
    tally(8 * each)


def test_readers_of_an_empty_cache(children: Children, server: Server, tmp_path: Path, tally: Tally) -> None:
    path, told = tmp_path / "cache" / "x", [tmp_path / f"told{i}" for i in range(8)]
    for process in [children.start(fault_children.fetch, t, server.url, path) for t in told]:
        process.join()
    assert [json.loads(t.read_text())["error"] for t in told] == [None] * 8
    assert path.read_bytes() == CONTENT
    assert server.requests == [None]
    with (path.parent / ".x.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    tally(8)


def test_readers_of_a_dataset_that_is_written_anew(children: Children, tmp_path: Path, tally: Tally) -> None:
    """Each reads the old file or the new one, whole."""
    each, path, told = count(6, 40), tmp_path / "data.h5", [tmp_path / f"told{i}" for i in range(8)]
    versions = [small_dataset("continuous", n_episodes=n) for n in (3, 6)]
    versions[0].save(path)
    started = [children.start(fault_children.read_again_and_again, t, path, each) for t in told]
    saves = 0
    while any(process.is_alive() for process in started):
        saves += 1
        versions[saves % 2].save(path)
    found = [digest for t in told for digest in json.loads(t.read_text())]
    assert len(found) == 8 * each
    assert set(found) <= {fingerprint(version) for version in versions}
    assert saves > 1
    tally(8)


def test_the_lock_of_a_killed_process(children: Children, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    process = children.start(fault_children.train_and_exit, "iql", out, 100_000)
    while not list(out.glob("*/metrics.csv")):
        time.sleep(0.005)
    (run,) = out.iterdir()
    with pytest.raises(TrainingError, match="another process trains in"), run_folder.locked(run):
        pass
    process.kill()
    process.join()
    with run_folder.locked(run):
        pass

"""F7: small files that claim, or become, much: refused by name within 2 GB and 30 seconds, by each kind of reader."""

from __future__ import annotations

import json
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import costly_files
import pytest
from fault_suite import FULL, Children, Tally, limit_time

from offlinekit.datasets import get_dataset
from offlinekit.datasets.source import all_sources
from offlinekit.errors import OfflineKitError

SLOW = (
    "LZMA",
    "bz2",
    "zstd",
    "zip of",
    "chunk",
    "zeros",
    "control",
    "records without",
    "DQN",
    "small",
    "value",
)
"""Words of files that take seconds to make; they are made by `make faults`."""


def read(told: Path, path: str, options: dict[str, Any]) -> None:
    """Writes what came of reading a file: the error, seconds and megabytes."""
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
    limit_time(30)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            said = f"read {get_dataset(path, **options)[0]}"
        except OfflineKitError as error:
            said = f"{type(error).__name__}: {error}"
        except BaseException as error:
            said = f"foreign {type(error).__name__}: {error}"
    status = Path("/proc/self/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) >> 10
    told.write_text(json.dumps({"said": said, "seconds": time.process_time() - began, "megabytes": peak}))


@pytest.mark.parametrize("name", list(costly_files.FILES))
def test_refused_by_name(name: str, children: Children, tmp_path: Path, tally: Tally) -> None:
    if not FULL and any(word in name for word in SLOW):
        pytest.skip("takes long to make; part of make faults")
    for package in ("lz4.frame", "pyarrow", "pandas", "PIL"):
        pytest.importorskip(package)
    make, options = (*costly_files.FILES[name], {})[:2]
    path = make(tmp_path)
    size = sum(part.stat().st_size for part in tmp_path.rglob("*") if part.is_file())
    found = children.told(read, tmp_path / "told", str(path), options)
    said = found["said"].replace(str(tmp_path), "")
    print(f"| {name} | {size:,} | {said[:150]} | {found['seconds']:.1f} s, {found['megabytes']:,} MB |")
    assert said.startswith("FileFormatError"), said
    tally(1)


def test_every_reader_of_files_is_attacked() -> None:
    """By the name of its kind, or because it reads as another one does: by the same functions of formats."""
    attacked = {name.partition(":")[0].lower().replace(" ", "_") for name in costly_files.FILES}
    alike = {
        "d3rlpy": "hdf5", "d4rl": "hdf5", "native": "hdf5", "tianshou": "hdf5", "embedded": "hdf5",
        "gymnasium": "npz", "rlds": "npz", "neorl": "npz", "ogbench": "npz",
        "rl_unplugged": "tfrecord", "rl_unplugged_control": "tfrecord", "rl_unplugged_rwrl": "tfrecord",
        "waymo": "tfrecord", "dialogues": "rllib", "tfds": "tfrecord", "tables": "csv",
        "robomimic": "hdf5", "dsrl": "hdf5", "buffers": "npz", "v_d4rl": "npz",
        "bandits": "npz", "bcq_buffers": "npz", "bcq_frames": "npz", "imitation": "npz", "stable_baselines": "npz",
    }  # fmt: skip
    for name, source in all_sources().items():
        if source.read is not None:
            assert alike.get(name, name) in attacked, f"no costly file for the reader {name}"

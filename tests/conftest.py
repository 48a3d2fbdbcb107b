from __future__ import annotations

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Threads of small networks wait for one another on busy cores.

import jaxtyping
from jaxtyping import install_import_hook

install_import_hook("offlinekit.nn.losses", "beartype.beartype")

from pathlib import Path  # noqa: E402  # The hook must come before anything that imports offlinekit.

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

pytest.register_assert_rewrite(
    "loss_checks", "populations"
)  # Their asserts show values, as those of tests do.
from http_server import server  # noqa: E402, F401  # The fixture, for all tests.


def pytest_collection_finish(session):
    """Keeps modules and tests, which live to the end, out of the searches for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(request, monkeypatch):
    """Leaves out `fsync`, but for tests of faults: folders of tests are not read after a power cut."""
    if "faults" not in request.path.parts:
        monkeypatch.setattr(os, "fsync", lambda handle: None)


SHAPES_CHECKED = ("nn", "algos", "test_conformance.py")
"""Tests that see losses with every kind of arguments."""


@pytest.fixture(autouse=True)
def _annotated_shapes(request):
    """Checks shapes of losses where they vary; a run of many updates has the same ones each time, and takes long."""
    varied = any(part in SHAPES_CHECKED for part in request.path.parts)
    is_checked = varied and request.node.get_closest_marker("slow") is None
    jaxtyping.config.update("jaxtyping_disable", not is_checked)


@pytest.fixture(autouse=True)
def _classes_of_one_test_stay_in_it():
    """Takes algorithms, impls and evaluators that a test defines out of their registries again."""
    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl
    from offlinekit.metrics.evaluators import REGISTERED

    known = [(registry, dict(registry)) for registry in (Algo.known, Impl.known, REGISTERED)]
    yield
    for registry, before in known:
        imported = {n: cls for n, cls in registry.items() if cls.__module__.startswith("offlinekit.")}
        registry.clear()
        registry.update({**imported, **before})


@pytest.fixture
def hopper_file(tmp_path_factory, monkeypatch):
    """D4RL's hopper-medium-v2, found by its name: its recorded beginning, a link, or a stand-in of that layout."""
    path = tmp_path_factory.mktemp("d4rl") / "hopper_medium-v2.hdf5"
    recorded = Path(__file__).resolve().parents[2] / "shared" / "data" / "d4rl" / path.name
    monkeypatch.setenv("OFFLINEKIT_DATA", str(path.parent))
    if recorded.exists():
        path.symlink_to(recorded)
    else:
        _write_stand_in(path)
    return path


def _write_stand_in(path):
    rng = np.random.default_rng(0)
    columns = {
        "observations": rng.normal(size=(600, 11)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (600, 3)).astype(np.float32),
        "rewards": rng.uniform(0, 3, 600).astype(np.float32),
        "terminals": np.arange(600) % 150 == 149,
        "timeouts": np.zeros(600, bool),
    }
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values

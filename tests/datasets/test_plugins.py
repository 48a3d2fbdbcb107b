"""Datasets of other packages, by entry points of packages that lie on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from offlinekit.datasets import get_dataset, known_datasets, registry
from offlinekit.datasets import source as sources
from offlinekit.datasets.plugins import PluginWarning, load_plugins

MODULE = '''
import numpy as np
from offlinekit.datasets import MDPDataset, register_dataset
from offlinekit.datasets.source import Source

def rows(n):
    return MDPDataset(np.zeros((n, 2)), np.zeros(n, int), np.ones(n), np.arange(n) == n - 1)

def ward(split):
    """Rounds of a ward."""
    return rows(len(split))

def read(path):
    return rows(int(path.read_text()))

SOURCE = Source(summary="A number of rows.", suffixes=(".count",), read=read)
NUMBER = 3
'''
REGISTERS = """
from acme_data import rows
from offlinekit.datasets import register_dataset

@register_dataset("acme-{size}")
def acme(size):
    return rows(int(size))
"""


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    known = dict(sources.all_sources())
    load_plugins.cache_clear()
    yield
    load_plugins.cache_clear()
    sources.all_sources().clear()
    sources.all_sources().update(known)
    for name in ("acme_data", "acme_registers"):
        sys.modules.pop(name, None)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *points: str) -> None:
    (folder / "acme_data.py").write_text(MODULE)
    (folder / "acme_registers.py").write_text(REGISTERS)
    info = folder / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[offlinekit.datasets]", *points]))
    monkeypatch.syspath_prepend(str(folder))


def test_functions_sources_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = ("ward-{split} = acme_data:ward", "count = acme_data:SOURCE", "all = acme_registers")
    install(tmp_path, monkeypatch, *points)
    assert "acme_data" not in sys.modules
    assert len(get_dataset("ward-train")[0]) == 5
    assert len(get_dataset("acme-7")[0]) == 7
    (tmp_path / "x.count").write_text("4")
    assert len(get_dataset(tmp_path / "x.count")[0]) == 4
    assert len(get_dataset(tmp_path / "x.count", format="count")[0]) == 4
    known = known_datasets()
    assert known["ward-{split}"] == "Rounds of a ward."
    assert known["*.count"] == "A number of rows."


def test_names_are_known_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "ward-{split} = acme_data:ward")
    assert "ward-{split}" in known_datasets()


def test_a_broken_plugin_warns_and_the_others_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ("a = acme_missing:x", "b = acme_data:nothing", "c = acme_data:NUMBER", "npz = acme_data:SOURCE")
    install(tmp_path, monkeypatch, *broken, "ward-{split} = acme_data:ward")
    with pytest.warns(PluginWarning) as warned:
        assert len(get_dataset("ward-ab")[0]) == 2
    messages = [str(warning.message) for warning in warned]
    assert len(messages) == 4
    assert "the plug-in a = 'acme_missing:x' of acme cannot be loaded (ModuleNotFoundError" in messages[0]
    assert "AttributeError" in messages[1]
    assert "expected a Source, a function or a module that registers datasets, got int" in messages[2]
    assert "the reader 'npz' is there already" in messages[3]
    get_dataset("ward-ab")  # Warns no more.

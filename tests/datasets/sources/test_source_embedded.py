from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.sources import embedded
from offlinekit.errors import FileFormatError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation that has cartpole-mixed only."""
    path = MDPDataset(np.zeros((2, 4)), [0, 1], [1, 1], [0, 1]).save(tmp_path / "cartpole-mixed.h5")
    facts = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "env_id": "CartPole-v1"}
    (tmp_path / "manifest.json").write_text(json.dumps({"cartpole-mixed": facts}))
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    embedded.manifest.cache_clear()
    yield tmp_path
    embedded.manifest.cache_clear()


def test_dataset_and_environment(folder: Path) -> None:
    dataset, env = get_dataset("cartpole-mixed")
    assert (dataset.name, len(dataset)) == ("cartpole-mixed", 2)
    assert env is not None
    assert env.spec is not None
    assert env.spec.id == "CartPole-v1"


def test_a_changed_file_is_refused(folder: Path) -> None:
    MDPDataset(np.ones((2, 4)), [0, 1], [1, 1], [0, 1]).save(folder / "cartpole-mixed.h5")
    with pytest.raises(FileFormatError, match=r"has SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}; install"):
        get_dataset("cartpole-mixed")


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"pendulum-mixed.h5 is missing from this installation"):
        get_dataset("pendulum-mixed")


@pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
def test_what_comes_with_offlinekit_is_what_its_manifest_says() -> None:
    manifest = embedded.manifest()
    if not manifest:
        pytest.skip("no dataset is recorded in this checkout")
    assert manifest.keys() == embedded.names().keys()
    for name, facts in manifest.items():
        dataset, _ = get_dataset(name)
        assert (len(dataset), dataset.n_episodes) == (facts["rows"], facts["episodes"])
        mean = dataset.episode_returns().mean()
        assert mean == pytest.approx(facts["behaviour_return_mean"], abs=1e-3)
    assert sum(path.stat().st_size for path in embedded.FOLDER.iterdir()) < 2_000_000

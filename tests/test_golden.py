"""Files of every earlier version stay readable: what they said then they say now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import offlinekit
from offlinekit.algos import BC
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.reporting.curves import read_column
from offlinekit.testing import small_dataset
from offlinekit.training import run_folder

VERSIONS = sorted((Path(__file__).parent / "golden").iterdir())
KINDS = ["continuous", "discrete", "sequence", "member"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_policy(folder: Path, kind: str) -> None:
    expected = json.loads((folder / "expected.json").read_text())[kind]
    algo = offlinekit.load(folder / f"{kind}.okt", device="cpu")
    assert type(algo).__name__ == expected["algo"]
    assert expected["config"].items() <= json.loads(json.dumps(algo.config)).items()
    assert algo.grad_step == expected["grad_step"]
    actor = algo.as_stateful()
    actor.reset()
    seen = small_dataset(algo.action_kind).observations[:3]
    acts = [actor.predict(observation, 0.0) for observation in seen]
    np.testing.assert_allclose(acts, expected["acts"], rtol=1e-5)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_dataset(folder: Path) -> None:
    read, made = MDPDataset.load(folder / "dataset.h5"), small_dataset("continuous", n_episodes=2, length=4)
    for name in ("observations", "actions", "rewards", "terminals", "final_observations"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert read.action_space == made.action_space


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore:.*goes on under other conditions")
def test_run(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    assert run_folder.read_config(run)["n_steps"] == 6
    assert read_column(run, "step", "actor_loss")[0].tolist() == [2, 4, 6]
    (run / "policy.okt").unlink()
    algo = BC(encoder={"type": "mlp", "hidden_sizes": [4]}, batch_size=4, seed=0)
    data = MDPDataset.load(folder / "dataset.h5")
    algo.fit(data, 6, resume=run, log_interval=2, checkpoint_interval=4, eval_interval=10, progress=False)
    then = offlinekit.load(folder / "run" / "policy.okt").predict(data.observations)
    np.testing.assert_allclose(algo.predict(data.observations), then, rtol=1e-4)

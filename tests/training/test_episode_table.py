"""returns.csv: each evaluated episode, also of a run that was interrupted and resumed."""

from __future__ import annotations

import csv

import gymnasium
import numpy as np
import pytest

from offlinekit.algos import DiscreteBC, DoubleDQN
from offlinekit.datasets import MDPDataset
from offlinekit.datasets import fingerprint as module
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.training import run_folder
from offlinekit.training.episode_table import EpisodeTable

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}
FIT = {"progress": False, "eval_interval": 2, "eval_episodes": 3}


def cartpole_data(n=40, shift=0.0):
    random = np.random.default_rng(0)
    ends = np.arange(n) % 10 == 9
    return MDPDataset(random.normal(size=(n, 4)) + shift, random.integers(2, size=n), np.ones(n), ends)


def rows_of(folder):
    with (folder / "returns.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_episode_of_each_evaluation_is_kept(tmp_path):
    algo = DoubleDQN(**TINY).fit(
        cartpole_data(), 5, eval_env=gymnasium.make("CartPole-v1"), out=tmp_path, **FIT
    )
    rows = rows_of(algo.run_dir)
    assert [(row["step"], row["episode"], row["seed"]) for row in rows] == [
        (step, str(i), str(3 + i)) for step in "245" for i in range(3)
    ]
    for row in algo.history:
        mine = [float(each["return"]) for each in rows if each["step"] == str(row["step"])]
        values = [float(each["value_start"]) for each in rows if each["step"] == str(row["step"])]
        assert np.mean(mine) == pytest.approx(row["eval/return_mean"])
        assert np.mean(values) == pytest.approx(row["eval/value_start"])
        assert "episodes" not in row
    assert all(row["length"] == str(int(float(row["return"]))) for row in rows)


def test_a_policy_without_values_leaves_them_blank_and_no_environment_writes_nothing(tmp_path):
    env = gymnasium.make("CartPole-v1")
    algo = DiscreteBC(**TINY).fit(cartpole_data(), 2, eval_env=env, out=tmp_path, **FIT)
    assert {row["value_start"] for row in rows_of(algo.run_dir)} == {""}
    offline = DiscreteBC(**TINY).fit(cartpole_data(), 2, out=tmp_path, **FIT)
    assert not (offline.run_dir / "returns.csv").exists()


def test_a_resumed_run_drops_what_lies_beyond_its_checkpoint(tmp_path):
    env = gymnasium.make("CartPole-v1")
    algo = DiscreteBC(**TINY).fit(cartpole_data(), 6, eval_env=env, out=tmp_path, **FIT)
    whole = (algo.run_dir / "returns.csv").read_text()
    run_folder.checkpoints(algo.run_dir)[-1].unlink()
    DiscreteBC(**TINY).fit(cartpole_data(), 6, eval_env=env, out=tmp_path, resume=algo.run_dir, **FIT)
    assert (algo.run_dir / "returns.csv").read_text() == whole
    table = EpisodeTable(algo.run_dir / "returns.csv", reached=2)
    assert {row[0] for row in table.rows} == {"2"}


def test_the_config_names_what_the_data_hold(tmp_path):
    data = cartpole_data()
    algo = DiscreteBC(**TINY).fit(data, 2, out=tmp_path, progress=False)
    assert run_folder.read_config(algo.run_dir)["dataset"]["hash"] == fingerprint(data)
    data.save(tmp_path / "data.h5")
    assert (
        fingerprint(MDPDataset.load(tmp_path / "data.h5"))
        == fingerprint(data)
        == fingerprint(cartpole_data())
    )
    assert fingerprint(data).startswith("data2:")
    assert fingerprint(cartpole_data(shift=1e-3)) != fingerprint(data)


def test_large_columns_are_read_at_some_rows_and_the_name_says_so(monkeypatch):
    # 40 rows of 16 bytes are 640; a limit of 300 reads every third row, so row 1 is unseen and row 3 is seen.
    monkeypatch.setattr(module, "FULL_BYTES", 300)
    data, first, third = (cartpole_data() for _ in range(3))
    first.observations[1] += 1
    third.observations[3] += 1
    assert fingerprint(data).startswith("data2-sampled:")
    assert "/sha256-sampled:" in fingerprint(data)
    assert fingerprint(first) == fingerprint(data)
    assert fingerprint(third) != fingerprint(data)

"""Loss weights of recorded rows in an online run, beside new rows of weight 1."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from walk_env import Walk, recorded_walk

from offlinekit.algos import PRDC, QC, SAC, TD3, MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sampling.priorities import Priorities

QUICK = {"eval_episodes": 1, "progress": False, "log_interval": 50, "eval_interval": 50, "out": None}
WEIGHTS = np.arange(24) % 3
"""Of 24 rows: 0, 1, 2 and so on; the mean of those above 0 is 3/2, so they become 2/3 and 4/3."""


def small(front=TD3, **options):
    return front(**{"seed": 1, "batch_size": 12, "device": "cpu", "encoder": MLPEncoder((8,)), **options})


def drawn(front=TD3, n=100, options=None, **settings):
    """Returns observations [n, 12, 2] and weights [n, 12] of minibatches after 12 steps online."""
    algo, seen = small(front, **(options or {})), []

    def look(algo, row):
        if row["step"] > 6:
            seen.extend(algo.sampler.sample() for _ in range(n))
        return row["step"] <= 6

    given = {"dataset": recorded_walk(), "weights": WEIGHTS, **settings}
    algo.fit_online(Walk(), 30, **{**QUICK, "log_interval": 7}, callbacks=[look], **given)
    return torch.stack([batch.observations for batch in seen]), torch.stack([batch.weights for batch in seen])


def assert_weighted(observations, weights):
    """Checks recorded rows for their weights, those of weight 0 for their absence, and all others for 1."""
    data, n_recorded = recorded_walk(), 0
    for seen, weight in zip(observations.flatten(0, 1), weights.flatten(), strict=True):
        (row,) = np.flatnonzero((data.observations == seen.numpy()).all(1)).tolist() or [None]
        n_recorded += row is not None
        assert float(weight) == pytest.approx(1.0 if row is None else WEIGHTS[row] / 1.5)
        assert weight > 0
    return n_recorded / weights.numel()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mixing": "balanced", "first_share": 0.3},
        {"priorities": Priorities("critic", alpha=0.0)},  # All alike, so each correction is 1.
    ],
)
def test_recorded_rows_have_their_weights_among_new_ones_of_weight_1(settings):
    share = assert_weighted(*drawn(**settings))
    assert 0.05 < share < 0.95


def test_a_share_of_recorded_rows_has_their_weights():
    observations, weights = drawn(mixing=0.25)
    assert assert_weighted(observations[:, :3], weights[:, :3]) == 1.0
    assert (weights[:, 3:] == 1.0).all()


def test_chunks_of_recorded_rows_have_weights_too():
    _, weights = drawn(QC, 20, {"n_step": 2})
    found = set(np.round(weights.flatten().numpy(), 4).tolist())
    assert {1.0} < found
    assert len(found) > 2


def test_new_rows_weigh_as_a_recorded_one_that_is_drawn_does():
    walk = recorded_walk()
    n = len(walk)
    cut = MDPDataset(
        walk.observations + 50.0, walk.actions, walk.rewards, np.zeros(n), timeouts=np.arange(n) % 4 == 3,
        action_space=walk.action_space,
    )  # fmt: skip
    observations, weights = drawn(
        PRDC, 20, {"observation_scaler": None}, dataset=cut, weights=np.where(cut.timeouts, 500.0, 1.0)
    )
    is_recorded = observations[..., 0].flatten() > 25.0
    old, new = weights.flatten()[is_recorded], weights.flatten()[~is_recorded]
    assert len(old) > 20
    assert len(new) > 20
    torch.testing.assert_close(old, torch.ones_like(old))
    torch.testing.assert_close(new, torch.ones_like(new))


def test_rows_of_weight_0_change_nothing():
    def run(poison):
        data = recorded_walk()
        rewards, ends = np.where(np.arange(24) < 8, poison, data.rewards), np.arange(24) % 4 == 3
        poisoned = MDPDataset(
            data.observations, data.actions, rewards, data.terminals, ends, action_space=data.action_space
        )  # fmt: skip
        weights = np.where(np.arange(24) < 8, 0.0, 3.0)
        algo = small(SAC, reward_scaler="standard")
        return algo.fit_online(Walk(), 20, dataset=poisoned, weights=lambda _: weights, **QUICK)

    one, other = run(0.0).impl.state_tensors(), run(1e6).impl.state_tensors()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_notes_its_weights_and_goes_on_with_them(tmp_path):
    given = {**QUICK, "out": tmp_path, "log_interval": 20, "dataset": recorded_walk(), "weights": WEIGHTS}
    whole, broken = small().fit_online(Walk(), 40, **given), small()
    for step, _ in broken.fitter_online(Walk(), 40, checkpoint_interval=15, **given):
        if step > 15:
            break
    again = small().fit_online(Walk(), 40, resume=broken.run_dir, **given)
    assert all(torch.equal(v, again.impl.state_tensors()[k]) for k, v in whole.impl.state_tensors().items())
    assert "hash" in json.loads((again.run_dir / "config.json").read_text())["loss_weights"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dataset": None}, ValueError, "weights are those of recorded rows; give dataset= as well"),
        ({"mixing": "none"}, ValueError, "mixing='none' draws none; give mixing='append' or a share such as 0.5"),
        ({"weights": "trust"}, DatasetError, "weights='trust' names no extra of this dataset"),
        ({"weights": np.ones(3)}, DatasetError, "3"),
    ],
)  # fmt: skip
def test_weights_of_no_recorded_rows_are_refused(settings, error, message):
    given = {"dataset": recorded_walk(), "weights": WEIGHTS, **settings}
    with pytest.raises(error, match=message):
        small().fit_online(Walk(), 10, **given, **QUICK)

"""Kinds of observations and algorithms that go online, and those that are refused before anything is written."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from walk_env import Walk, recorded_walk

from offlinekit.algos import (
    AWR,
    FQE,
    PRDC,
    QC,
    QRDQN,
    SAC,
    TD3,
    CNNEncoder,
    DiscreteCQL,
    DoubleDQN,
    Dynamics,
    MLPEncoder,
)
from offlinekit.errors import UnsupportedError
from offlinekit.nn.neighbours import nearest_rows
from offlinekit.training.online.experience import load_experience

QUICK = {"eval_episodes": 1, "progress": False, "log_interval": 20, "eval_interval": 40}
CNN = CNNEncoder(filters=((4, 4, 2), (8, 3, 1)), hidden_sizes=(8,))


class ImageWalk(Walk):
    """The walk as an image of 16 x 16 pixels, a column of which is white."""

    def __init__(self, discrete=True):
        super().__init__(discrete)
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, 16, 16), np.uint8)

    def _seen(self):
        image = np.zeros((1, 16, 16), np.uint8)
        image[0, :, int(np.clip(3 * self.x + 8, 0, 15))] = 255
        return image


class DictWalk(Walk):
    """The walk as a dict, whose keys the space has in another order than the observations."""

    def __init__(self, discrete=False, image=False):
        super().__init__(discrete)
        self.image = ImageWalk() if image else None
        place = (
            gymnasium.spaces.Box(-10, 10, (1,), np.float32)
            if self.image is None
            else self.image.observation_space
        )
        self.observation_space = gymnasium.spaces.Dict(
            {"x": place, "at": gymnasium.spaces.Box(-10, 10, (2,), np.float32)}
        )

    def _seen(self):
        place = np.array([self.x], np.float32)
        if self.image is not None:
            self.image.x = self.x
            place = self.image._seen()
        return {"at": np.array([self.t, 0.5], np.float32), "x": place}


def small(front=SAC, **options):
    return front(**{"seed": 1, "batch_size": 8, "device": "cpu", "encoder": MLPEncoder((8,)), **options})


KINDS = {
    "image": (lambda: small(DoubleDQN, encoder=CNN), ImageWalk),
    "image, quantiles": (lambda: small(QRDQN, encoder=CNN), ImageWalk),
    "image, continuous": (lambda: small(SAC, encoder=CNN), lambda: ImageWalk(False)),
    "dict": (lambda: small(SAC, encoder="auto"), DictWalk),
    "dict, discrete": (lambda: small(DoubleDQN, encoder="auto"), lambda: DictWalk(True)),
    "dict with an image": (lambda: small(DoubleDQN, encoder=CNN), lambda: DictWalk(True, True)),
    "quantiles": (lambda: small(QRDQN), lambda: Walk(True)),
    "conservative": (lambda: small(DiscreteCQL), lambda: Walk(True)),
    "chunks": (lambda: small(QC, n_step=3), Walk),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_learns_online_and_a_killed_run_equals_the_unbroken_one(kind, tmp_path):
    make, env = KINDS[kind]
    settings = {**QUICK, "checkpoint_interval": 12, "epsilon": 0.2}
    whole = make().fit_online(env(), 36, out=tmp_path / "whole", **settings)
    assert whole.history[-1]["updates"] > 20
    broken = make()
    for step, _ in broken.fitter_online(env(), 36, out=tmp_path / "broken", **settings):
        if step > 12:
            break
    again = make().fit_online(env(), 36, resume=broken.run_dir, **settings)
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, again.impl.state_tensors()[name]), name
    played = load_experience(again.run_dir)
    assert played.observation_space == env().observation_space
    make().fit(played, 3, out=None, progress=False, value_alarm="off")


@pytest.mark.parametrize("front", [PRDC, AWR])
def test_losses_that_look_at_all_rows_see_those_that_are_new(front):
    algo = small(front)
    algo.fit_online(Walk(), 40, dataset=recorded_walk(), out=None, **QUICK)
    assert algo.history[-1]["updates"] == 40
    if front is PRDC:
        neighbours = algo.impl.neighbours
        # 24 recorded rows but for the 6 that were cut without a following observation, and 40 new ones.
        assert len(neighbours.rows) == 18 + 40
        query = torch.tensor([[2.0 * 0.3, 2.0 * 1.0, 0.1]])
        assert neighbours.search(query).tolist() == nearest_rows(query, neighbours.rows).tolist()
    with pytest.raises(UnsupportedError, match="learns from all rows at once, of which there are no shares"):
        small(front).fit_online(Walk(), 40, dataset=recorded_walk(), mixing=0.5, out=None, **QUICK)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: small(FQE, policy=lambda seen: np.zeros((len(seen), 1))),
            "FQE evaluates a policy and does not act",
        ),
        (lambda: small(Dynamics), "Dynamics models what follows an action and does not act"),
        (
            lambda: small(DoubleDQN, encoder=CNN, frame_stack=2),
            "fit_online sees images as the environment shows them",
        ),
    ],
)
def test_what_does_not_act_is_refused_before_anything_is_written(make, message, tmp_path):
    algo = make()
    env, data = (Walk(), recorded_walk()) if algo.frame_stack == 1 else (ImageWalk(), None)
    with pytest.raises(UnsupportedError, match=message):
        algo.fit_online(env, 20, dataset=data, out=tmp_path, **QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixing": 0.5}, "mixing draws a share 0.5 of recorded rows; give a dataset"),
        ({"mixing": "symmetric"}, "mixing draws a share 0.5 of recorded rows; give a dataset"),
        ({"guide": TD3(seed=0)}, "guide acts in the first guide_steps steps"),
    ],
)
def test_settings_without_effect_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        small().fit_online(Walk(), 20, out=tmp_path, **QUICK, **settings)
    assert not list(tmp_path.iterdir())

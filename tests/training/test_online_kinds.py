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
from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import FrameMemory, stacked_observations
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
    "images stacked": (lambda: small(DoubleDQN, encoder=CNN, frame_stack=3), ImageWalk),
    "images stacked, repeated": (
        lambda: small(DoubleDQN, encoder=CNN, frame_stack=2, frame_pad="repeat"),
        ImageWalk,
    ),
    "dict": (lambda: small(SAC, encoder="auto"), DictWalk),
    "dict, discrete": (lambda: small(DoubleDQN, encoder="auto"), lambda: DictWalk(True)),
    "dict with an image": (lambda: small(DoubleDQN, encoder=CNN), lambda: DictWalk(True, True)),
    "quantiles": (lambda: small(QRDQN), lambda: Walk(True)),
    "conservative": (lambda: small(DiscreteCQL), lambda: Walk(True)),
    "chunks": (lambda: small(QC, n_step=2), Walk),
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
    ],
)
def test_what_does_not_act_is_refused_before_anything_is_written(make, message, tmp_path):
    algo = make()
    with pytest.raises(UnsupportedError, match=message):
        algo.fit_online(Walk(), 20, dataset=recorded_walk(), out=tmp_path, **QUICK)
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


@pytest.mark.parametrize("pad", ["zero", "repeat"])
def test_stacks_in_acting_are_those_of_minibatches(pad):
    images = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2) + 1
    data = MDPDataset(images, np.zeros(5, int), np.zeros(5), [0, 0, 1, 0, 1])
    seen = []
    memory = FrameMemory(lambda stacks: (seen.append(stacks), np.zeros(len(stacks), int))[1], 3, pad)
    for i in range(3):  # Episodes of three rows and of two, side by side.
        running = [i, 3 + i][: 2 if i < 2 else 1]
        memory.act(images[running], [0.0] * len(running), [7, 9][: len(running)])
    memory.forget(7)
    memory.act(images[:1], [0.0], [7])
    for i, found in enumerate([*seen[:2], seen[2]]):
        running = np.array([i, 3 + i][: len(found)])
        np.testing.assert_array_equal(found, stacked_observations(data, running, 3, pad))
    np.testing.assert_array_equal(seen[3], stacked_observations(data, np.array([0]), 3, pad))


def test_an_environment_that_stacks_itself_is_refused():
    env = gymnasium.wrappers.ReshapeObservation(
        gymnasium.wrappers.FrameStackObservation(ImageWalk(), 2), (2, 16, 16)
    )
    trained = small(DoubleDQN, encoder=CNN, frame_stack=2).fit_online(ImageWalk(), 8, out=None, **QUICK)
    with pytest.raises(
        UnsupportedError, match="stacks 2 images itself; give an environment that shows single ones"
    ):
        trained.fit_online(env, 20, dataset=trained.experience, out=None, **QUICK)

"""Images that are shifted at random in training, as DrQ does, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offlinekit.algos import DecisionTransformer, DiscreteCQL, Population
from offlinekit.core.populations.stacked_sampling import SharedColumns
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics import td_error
from offlinekit.nn.encoders import CNNEncoder, GRUEncoder
from offlinekit.sampling.frames import random_shift
from offlinekit.sampling.priorities import Priorities

QUICK = {"out": None, "progress": False}
SHIFTING = CNNEncoder((8,), filters=((2, 3, 2),), random_shift=2)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 255, (20, 1, 8, 8), np.uint8)
    return MDPDataset(images, np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)


def shifts(image, most):
    """Returns all images that pads by repeated borders and crops give, by numpy."""
    height, width = image.shape[-2:]
    padded = np.pad(image, ((0, 0), (most, most), (most, most)), mode="edge")
    moves = range(2 * most + 1)
    return [padded[:, i : i + height, j : j + width].tolist() for i in moves for j in moves]


def test_each_shift_is_a_crop_of_the_padded_image():
    images = torch.arange(2 * 2 * 3 * 4, dtype=torch.uint8).view(2, 2, 3, 4)
    expected = [shifts(image.numpy(), 1) for image in images]
    generator, drawn = torch.Generator().manual_seed(0), [set(), set()]
    for _ in range(60):
        shifted = random_shift(images, 1, generator)
        assert shifted.dtype == torch.uint8
        for i in range(2):
            drawn[i].add(expected[i].index(shifted[i].tolist()))
    assert len(drawn[0]) == len(drawn[1]) == 9  # All nine occur.


def test_channels_last_and_histories_move_together():
    images = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    last = images.movedim(1, -1).repeat(1, 1, 1, 2)
    shifted = random_shift(last, 1, torch.Generator().manual_seed(1), channels_last=True)
    assert (shifted[..., 0] == shifted[..., 1]).all()
    history = random_shift(images[:, None].repeat(1, 3, 1, 1, 1), 1, torch.Generator().manual_seed(1))
    assert (history[:, 0] == history[:, 2]).all()
    assert (history[0, 0, 0] == shifted[0, :, :, 0]).all()


def test_batches_are_shifted_and_what_is_measured_is_not(data):
    algo = DiscreteCQL(encoder=SHIFTING, batch_size=8, seed=0).fit(data, 2, **QUICK)
    plain = DiscreteCQL(encoder=CNNEncoder((8,), filters=((2, 3, 2),)), batch_size=8, seed=0).build(data)
    shifted, drawn = algo.make_sampler(data).sample(), plain.make_sampler(data).sample()
    assert (shifted.actions == drawn.actions).all()
    for ours, theirs in (
        (shifted.observations, drawn.observations),
        (shifted.next_observations, drawn.next_observations),
    ):
        assert (ours != theirs).any()
        for image, whole in zip(ours, theirs, strict=True):
            assert image.tolist() in shifts(whole.numpy(), 2)
    assert td_error(algo, data) == td_error(algo, data)
    prioritised = algo.make_sampler(data, priorities=Priorities()).sample()
    assert not any(
        (prioritised.observations[0] == torch.from_numpy(image)).all() for image in data.observations
    )


def test_resumed_bit_for_bit(data, tmp_path):
    settings = {"progress": False, "checkpoint_interval": 2, "log_interval": 2}
    straight = DiscreteCQL(encoder=SHIFTING, batch_size=8, seed=0).fit(data, 4, **QUICK)
    begun = DiscreteCQL(encoder=SHIFTING, batch_size=8, seed=0)
    next(begun.fitter(data, 4, out=tmp_path, **settings))
    resumed = DiscreteCQL(encoder=SHIFTING, batch_size=8, seed=0).fit(
        data, 4, resume=begun.run_dir, **settings
    )
    for name, value in straight.impl.state_dict().items():
        assert (resumed.impl.state_dict()[name] == value).all(), name


def test_where_it_would_do_nothing_it_is_refused(data):
    vectors = MDPDataset(np.zeros((4, 2)), np.arange(4) % 2, np.ones(4), [0, 0, 0, 1])
    with pytest.raises(UnsupportedError, match="convolves images, uint8 of three axes"):
        DiscreteCQL(encoder=SHIFTING, batch_size=2).fit(vectors, 1, **QUICK)
    recurrent = GRUEncoder((8,), random_shift=2)
    with pytest.raises(DatasetError, match="random_shift=2 moves uint8 images"):
        DiscreteCQL(encoder=recurrent, history_length=2, batch_size=2).fit(vectors, 1, **QUICK)
    members = [DiscreteCQL(encoder=SHIFTING, batch_size=2, seed=seed) for seed in (0, 1)]
    with pytest.raises(UnsupportedError, match="random_shift=0, or train them one by one"):
        Population(members).fit(data, 1, **QUICK)
    continuous = MDPDataset(data.observations, np.zeros((20, 1)), np.ones(20), np.arange(20) % 5 == 4)
    with pytest.raises(UnsupportedError, match="windows of images are not shifted"):
        DecisionTransformer(encoder=SHIFTING, batch_size=2, context=2).fit(continuous, 1, **QUICK)


@pytest.mark.parametrize("shifting", [(True, False), (False, True)])
def test_a_population_refuses_shifts_of_whichever_member(data, shifting):
    still = CNNEncoder((8,), filters=((2, 3, 2),))
    encoders = [SHIFTING if shifts else still for shifts in shifting]
    members = [DiscreteCQL(encoder=each, batch_size=2, seed=seed) for seed, each in enumerate(encoders)]
    with pytest.raises(UnsupportedError, match="random_shift=0, or train them one by one"):
        Population(members).fit(data, 1, **QUICK)


def test_samplers_of_members_online_shift_as_their_own_encoders_say(data):
    still = CNNEncoder((8,), filters=((2, 3, 2),))
    make = SharedColumns(together=False)
    samplers = []
    for seed, encoder in enumerate((still, SHIFTING, SHIFTING, still)):
        algo = DiscreteCQL(encoder=encoder, batch_size=2, seed=seed).build(data)
        samplers.append(make(algo, data))
    assert [sampler.image_shift for sampler in samplers] == [0, 2, 2, 0]

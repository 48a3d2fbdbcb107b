"""Where images have their channels is known from the single frame, and not guessed again from a stack of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

import offlinekit
from offlinekit.algos import DiscreteCQL
from offlinekit.datasets import MDPDataset
from offlinekit.envs.past.layouts import as_seen, has_channels_last, looks_channels_last
from offlinekit.envs.past.sight import Image
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.nn.encoders import CNNEncoder, GRUEncoder, ImpalaEncoder

FILTERS = ((2, 3, 2),)
CNN = CNNEncoder((8,), filters=FILTERS)
ENCODERS = (CNN, ImpalaEncoder((8,), channels=(2,), n_blocks=1))


def frames(shape, n=20):
    images = np.random.default_rng(0).integers(0, 255, (n, *shape), np.uint8)
    return MDPDataset(images, np.arange(n) % 2, np.ones(n), np.arange(n) % 5 == 4)


def channels(algo):
    """Returns the channels that the first convolutions take."""
    state = algo.impl.state_dict().items()
    return {
        w.shape[-3] for name, w in state if w.ndim > 3 and name.replace("__", ".").endswith("layers.0.weight")
    }


@pytest.mark.parametrize(
    ("shape", "is_last"),
    [
        ((3, 7, 7), False),
        ((12, 7, 7), False),
        ((7, 7, 3), True),
        ((7, 7, 12), True),
        ((4, 84, 84), False),
        ((84, 84, 4), True),
        ((3, 210, 160), False),
        ((210, 160, 3), True),
        ((3, 3, 3), False),
        ((1, 1, 2), False),
    ],
)
def test_equal_axes_are_the_sides(shape, is_last):
    assert looks_channels_last(shape) == is_last


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("shape", [(3, 7, 7), (7, 10, 10), (3, 7, 9)])
def test_convolutions_of_stacks_of_small_frames_go_over_their_sides(encoder, shape, tmp_path):
    data = frames(shape)
    algo = DiscreteCQL(frame_stack=4, encoder=encoder, batch_size=4, seed=0)
    algo.fit(data, 1, out=None, progress=False)
    assert channels(algo) == {4 * shape[0]}
    seen = np.random.default_rng(1).integers(0, 255, (3, 4 * shape[0], *shape[1:]), np.uint8)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    assert (loaded.predict_value(seen) == algo.predict_value(seen)).all()


def test_random_shifts_of_stacks_of_small_frames_move_no_channel():
    rows = np.arange(1, 61, dtype=np.uint8).reshape(20, 3, 1, 1)
    data = MDPDataset(
        np.broadcast_to(rows, (20, 3, 7, 9)).copy(), np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4
    )
    encoder = CNNEncoder((8,), filters=FILTERS, random_shift=3)
    algo = DiscreteCQL(frame_stack=4, frame_pad="repeat", encoder=encoder, batch_size=32, seed=0).build(data)
    images = algo.make_sampler(data).sample().observations
    assert images.shape == (32, 12, 7, 9)
    assert (images == images[:, :, :1, :1]).all()  # Constant in each channel, as the frames are.
    assert (images.diff(dim=1)[:, :2, 0, 0] == 1).all()


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_keeps_the_layout_of_its_weights(history, nested, tmp_path):
    """Files of earlier versions took a stack [12, 7, 7] for an image of 7 channels."""
    data = frames((12, 7, 7))
    if nested:
        data = MDPDataset(
            {"image": data.observations, "speed": np.ones((20, 1))},
            data.actions,
            data.rewards,
            data.terminals,
        )
    encoder = CNN if history == 1 else GRUEncoder((8,), filters=FILTERS)
    algo = DiscreteCQL(history_length=history, encoder=encoder, batch_size=4, seed=0).build(data)
    space = algo.impl.observation_space
    for leaf in space.spaces.values() if nested else [space]:
        if leaf.shape[-1] == 7:
            leaf.channels_last = True
    algo.make_impl(space, data.action_space)
    assert channels(algo) == {7}
    path = algo.save(tmp_path / "policy.okt")
    loaded = offlinekit.load(path)
    assert channels(loaded) == {7}
    seen = algo.make_sampler(data).sample().observations
    assert torch.equal(loaded.impl.predict_value(seen, None), algo.impl.predict_value(seen, None))
    assert channels(offlinekit.load(loaded.save(path))) == {7}


def test_spaces_that_know_their_layout_keep_it():
    box = spaces.Box(0, 255, (12, 7, 9), np.uint8)
    assert has_channels_last(box)
    assert has_channels_last(as_seen(box, 1, 1))
    assert not has_channels_last(as_seen(box, 4, 1))
    known = Image(box.low, box.high, channels_last=True)
    assert has_channels_last(as_seen(known, 4, 1))
    assert known == box


IMAGE_ENCODERS = ("cnn", "impala", CNN, ImpalaEncoder((8,)), {"type": "cnn", "hidden_sizes": [8]})


@pytest.mark.parametrize("encoder", IMAGE_ENCODERS)
@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((3, 16, 16), np.float32, r"float32 \[3, 16, 16\]; make bytes of them: np.round\(x \* 255\)"),
        ((16, 16), np.uint8, r"uint8 \[16, 16\]; frames .* x\[:, None\]; or give encoder='mlp'"),
        ((4, 3, 16, 16), np.uint8, r"join axes into one of channels, e.g. x.reshape\(len\(x\), -1, 16, 16\)"),
        ((5,), np.float32, r"float32 \[5\]; give encoder='mlp', which flattens"),
    ],
)
def test_an_encoder_of_images_without_any_is_refused(encoder, shape, dtype, words):
    data = MDPDataset(np.zeros((20, *shape), dtype), np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)
    with pytest.raises(UnsupportedError, match=words):
        DiscreteCQL(encoder=encoder, batch_size=4).fit(data, 1, out=None, progress=False)
    with pytest.raises(UnsupportedError, match="convolves images"):
        DiscreteCQL(encoder=GRUEncoder((8,), filters=FILTERS), history_length=2).build(data)


def test_float_images_are_flattened_with_one_warning():
    images = np.random.default_rng(0).random((20, 3, 16, 16), np.float32)
    data = MDPDataset(images, np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)
    with pytest.warns(
        DatasetWarning, match=r"float32 \[3, 16, 16\] are flattened.*np.round\(x \* 255\)"
    ) as caught:
        DiscreteCQL(batch_size=4).fit(data, 1, out=None, progress=False)
    assert len(caught) == 1
    DiscreteCQL(encoder="mlp", batch_size=4).fit(data, 1, out=None, progress=False)


def test_files_of_encoders_that_convolve_nothing_load(tmp_path):
    """Earlier versions flattened float images that an encoder of images was given."""
    data = MDPDataset(np.ones((20, 5), np.float32), np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)
    algo = DiscreteCQL(encoder="cnn", seed=0)
    algo.make_impl(data.observation_space, data.action_space)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    assert (loaded.predict_value(data.observations) == algo.predict_value(data.observations)).all()

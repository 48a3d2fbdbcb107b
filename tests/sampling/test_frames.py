"""Frame stacks by hand, and whole samplers against a loop that follows the definition row by row."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.envs.past.sight import stacked_space
from offlinekit.errors import DatasetError
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Affine, Scaling
from offlinekit.sampling.windows import TrajectorySampler

GAMMA = 0.5


def frames_of(*values):
    """Returns images [N, 1, 1, 2] whose pixels all have the given value."""
    return np.repeat(np.array(values, np.uint8), 2).reshape(-1, 1, 1, 2)


def two_episodes(**options):
    """Frames 10, 20, 30 end in a terminal, 40, 50 in a timeout after which 60 was seen."""
    return MDPDataset(
        frames_of(10, 20, 30, 40, 50),
        np.array([0, 1, 2, 3, 4]),
        np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        np.array([0, 0, 1, 0, 0]),
        timeouts=np.array([0, 0, 0, 0, 1]),
        final_observations=frames_of(0, 60),
        final_known=np.array([False, True]),
        **options,
    )


NEEDS = ("next_observations", "returns", "masks")


def sampler_of(dataset, **options):
    settings = {"batch_size": 4, "gamma": GAMMA, "n_step": 1, "seed": 0, "scaling": Scaling(), "needs": NEEDS}
    return TransitionSampler(dataset, device=torch.device("cpu"), **{**settings, **options})


def pixels(images):
    """Returns the value of each frame of a stack, whose two pixels must be equal."""
    assert torch.equal(images[..., 0], images[..., 1])
    return images[..., 0, 0].tolist()


@pytest.mark.parametrize(("pad", "before"), [("zero", [[0, 0], [0, 40]]), ("repeat", [[10, 10], [40, 40]])])
def test_stacks_begin_with_their_episode(pad, before):
    batch = sampler_of(two_episodes(), frame_stack=3, frame_pad=pad).gather(torch.tensor([0, 2, 3, 4]))
    assert batch.observations.shape == (4, 3, 1, 2)
    assert batch.observations.dtype == torch.uint8
    first, second = before
    assert pixels(batch.observations) == [
        [*first, 10],
        [10, 20, 30],
        [*([0, 0] if pad == "zero" else [40, 40]), 40],
        [second[0], 40, 50],
    ]


def test_next_stacks_end_with_what_was_seen_next():
    batch = sampler_of(two_episodes(), frame_stack=3).gather(torch.tensor([0, 1, 2, 3, 4]))
    # After the terminal nothing was seen: its frame is blank.  After the last row 60 was.
    assert pixels(batch.next_observations) == [
        [0, 10, 20],
        [10, 20, 30],
        [20, 30, 0],
        [0, 40, 50],
        [40, 50, 60],
    ]
    assert batch.discounts.tolist() == [0.5, 0.5, 0.0, 0.5, 0.5]


def test_next_stacks_of_several_steps():
    batch = sampler_of(two_episodes(), frame_stack=3, n_step=2).gather(torch.tensor([0, 1, 3, 4]))
    # From row 0 to row 2, from 1 over the terminal, from 3 and 4 to the last frame.
    assert pixels(batch.next_observations) == [[10, 20, 30], [20, 30, 0], [40, 50, 60], [40, 50, 60]]
    assert pixels(batch.observations) == [[0, 0, 10], [0, 10, 20], [0, 0, 40], [0, 40, 50]]


def test_several_channels_stay_together():
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 1, 2)
    data = MDPDataset(images, np.zeros(3, np.int64), np.zeros(3), np.array([0, 0, 1]))
    stacks = sampler_of(data, frame_stack=2).gather(torch.tensor([1, 2])).observations
    assert stacks.shape == (2, 4, 1, 2)
    np.testing.assert_array_equal(stacks, [images[0:2].reshape(4, 1, 2), images[1:3].reshape(4, 1, 2)])


def test_frames_stay_in_the_memory_of_the_dataset():
    data = two_episodes()
    assert np.shares_memory(sampler_of(data, frame_stack=3).columns.frames[0].rows, data.observations)


@pytest.mark.parametrize(("n_step", "stack", "pad"), [(1, 1, "zero"), (1, 3, "zero"), (2, 3, "repeat")])
def test_frames_on_another_device_lie_in_one_table(n_step, stack, pad):
    sampler = sampler_of(two_episodes(), n_step=n_step, frame_stack=stack, frame_pad=pad)
    rows = torch.arange(5)
    expected = sampler.gather(rows)
    frames = sampler.columns.frames[0]
    frames.table = torch.from_numpy(np.concatenate([frames.rows, frames.extras]))  # As it is there.
    found = sampler.gather(rows)
    assert torch.equal(found.observations, expected.observations)
    assert torch.equal(found.next_observations, expected.next_observations)


def test_read_only_frames_raise_no_warning():
    images = frames_of(1, 2, 3)
    images.flags.writeable = False
    data = MDPDataset(images, np.zeros(3, np.int64), np.zeros(3), np.array([0, 0, 1]))
    assert pixels(sampler_of(data).gather(torch.tensor([2])).observations) == [[3]]


def test_other_leaves_are_not_stacked():
    tree = {
        "camera": frames_of(1, 2, 3),
        "code": np.arange(100, 103, dtype=np.uint8)[:, None],
        "speed": np.ones((3, 2)),
    }
    data = MDPDataset(tree, np.zeros(3, np.int64), np.zeros(3), np.array([0, 0, 1]))
    batch = sampler_of(data, frame_stack=2).gather(torch.tensor([1]))
    shapes = {key: tuple(leaf.shape) for key, leaf in batch.observations.items()}
    assert shapes == {"camera": (1, 2, 1, 2), "code": (1, 1), "speed": (1, 2)}
    assert {key: tuple(leaf.shape) for key, leaf in batch.next_observations.items()} == shapes
    assert stacked_space(data.observation_space, 2)["camera"].shape == (2, 1, 2)
    assert stacked_space(data.observation_space, 2)["speed"] == data.observation_space["speed"]


def test_stacked_space_has_the_bounds_of_the_frames():
    frame = spaces.Box(np.zeros((2, 1, 1), np.uint8), np.array([[[9]], [[7]]], np.uint8), dtype=np.uint8)
    stack = stacked_space(spaces.Tuple([frame]), 2)[0]
    assert stack.dtype == np.uint8
    np.testing.assert_array_equal(stack.high, [[[9]], [[7]], [[9]], [[7]]])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((3, 2)), {"frame_stack": 2}, "needs uint8 images"),
        (np.zeros((3, 8, 8), np.uint8), {"frame_stack": 2}, "need an axis of channels"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"frame_stack": 2}, "move the channels first"),
        (frames_of(1, 2, 3), {"frame_pad": "mirror"}, "frame_pad must be one of"),
    ],
)
def test_what_cannot_be_stacked(data, options, message):
    dataset = MDPDataset(data, np.zeros(3, np.int64), np.zeros(3), np.array([0, 0, 1]))
    with pytest.raises(ValueError, match=message):
        sampler_of(dataset, **options)


def test_unordered_frames_are_not_stacked_but_sampled():
    images = frames_of(1, 5, 9)
    data = MDPDataset(
        images, np.zeros(3, np.int64), np.zeros(3), np.array([0, 1, 0]), next_observations=images + 1
    )
    batch = sampler_of(data).gather(torch.tensor([2, 0]))
    assert pixels(batch.observations) == [[9], [1]]
    assert pixels(batch.next_observations) == [[10], [2]]
    with pytest.raises(DatasetError, match="frame_stack=2 needs rows in temporal order"):
        sampler_of(data, frame_stack=2)


# Against the definition.


def random_dataset(seed):
    rng = np.random.default_rng(seed)
    n = 60
    terminals, timeouts = rng.random(n) < 0.1, rng.random(n) < 0.1
    n_episodes = int((terminals | timeouts)[:-1].sum()) + 1
    tree = {
        "camera": rng.integers(0, 255, (n, 2, 3, 3), dtype=np.uint8),
        "speed": (rng.normal(size=(n, 2)), rng.normal(size=(n, 2, 2))),
    }
    final = {
        "camera": rng.integers(0, 255, (n_episodes, 2, 3, 3), dtype=np.uint8),
        "speed": (rng.normal(size=(n_episodes, 2)), rng.normal(size=(n_episodes, 2, 2))),
    }
    return MDPDataset(
        tree,
        rng.integers(0, 4, n) if seed % 2 else rng.normal(size=(n, 3)),
        rng.normal(size=n),
        terminals,
        timeouts=timeouts,
        final_observations=final,
        final_known=rng.random(n_episodes) < 0.5,
        create_mask=True,
        mask_size=2,
    )


def expected(data, row, n_step, stack, pad):
    """Returns the fields of one transition as the definition has them; None where it may not be drawn."""
    episode = int(np.searchsorted(data.episode_ends, row, side="right"))
    start, end = int(data.episode_starts[episode]), int(data.episode_ends[episode])
    terminal, known = bool(data.terminals[end - 1]), bool(data.final_known[episode])
    steps = min(n_step, (end if terminal or known else end - 1) - row)
    if steps == 0:
        return None
    then = row + steps

    def speed(i, at):
        leaf, last = data.observations["speed"][i], data.final_observations["speed"][i]
        return leaf[at] if at < end else last[episode]

    def frame(at):
        if at < start:
            return np.zeros((2, 3, 3)) if pad == "zero" else data.observations["camera"][start]
        return data.observations["camera"][at] if at < end else data.final_observations["camera"][episode]

    def seen(at):
        camera = np.concatenate([frame(k) for k in range(at - stack + 1, at + 1)])
        return {"camera": camera, "speed": (speed(0, at), speed(1, at))}

    return {
        "observations": seen(row),
        "next_observations": seen(then),
        "actions": data.actions[row],
        "next_actions": data.actions[then] if then < end else np.zeros_like(data.actions[row]),
        "rewards": sum(GAMMA**k * data.rewards[row + k] for k in range(steps)),
        "discounts": 0.0 if terminal and then == end else GAMMA**steps,
        "returns": sum(GAMMA ** (k - row) * data.rewards[k] for k in range(row, end)),
        "masks": data.masks[row],
    }


def compare(found, wanted, path=""):
    if isinstance(wanted, dict):
        for key in wanted:
            compare(found[key], wanted[key], f"{path}.{key}")
    elif isinstance(wanted, tuple):
        for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
            compare(one, other, f"{path}.{i}")
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("n_step", "stack", "pad"), [(1, 1, "zero"), (1, 3, "repeat"), (3, 2, "zero"), (2, 4, "repeat")]
)
def test_every_field_of_every_row(seed, n_step, stack, pad):
    data = random_dataset(seed)
    options = {"n_step": n_step, "frame_stack": stack, "frame_pad": pad}
    sampler = sampler_of(data, **options)
    rows = [row for row in range(len(data)) if expected(data, row, n_step, stack, pad) is not None]
    usable = range(len(data)) if sampler.usable is None else sampler.usable.tolist()
    assert list(usable) == rows
    batch = sampler_of(data, **options, needs=(*NEEDS, "next_actions")).gather(torch.tensor(rows))
    for i, row in enumerate(rows):
        wanted = expected(data, row, n_step, stack, pad)
        compare(batch.masks[:, i], wanted.pop("masks"), "masks")
        for name, value in wanted.items():
            found = getattr(batch, name)
            tree = (
                {k: (v[i] if k == "camera" else tuple(x[i] for x in v)) for k, v in found.items()}
                if isinstance(found, dict)
                else found[i]
            )
            compare(tree, value, name)


@pytest.mark.parametrize("n_step", [1, 2])
def test_more_axes_of_rows(n_step):
    sampler = sampler_of(random_dataset(1), n_step=n_step, frame_stack=2, needs=(*NEEDS, "next_actions"))
    rows = torch.randint(len(random_dataset(1)), (2, 3, 5), generator=torch.Generator().manual_seed(0))
    whole, flat = sampler.gather(rows), sampler.gather(rows.view(-1))
    assert whole.masks.shape == (2, 3, 2, 5)
    assert torch.equal(whole.masks, flat.masks.T.reshape(2, 3, 5, 2).movedim(-1, -2))
    for name in ("actions", "rewards", "next_actions", "discounts", "returns"):
        assert torch.equal(getattr(whole, name).flatten(0, 2), getattr(flat, name)), name
    for mine, theirs in (
        (whole.observations, flat.observations),
        (whole.next_observations, flat.next_observations),
    ):
        assert torch.equal(mine["camera"].flatten(0, 2), theirs["camera"])
        assert torch.equal(mine["speed"][1].flatten(0, 2), theirs["speed"][1])


def test_images_with_a_scaler_become_float_and_are_not_stacked():
    data = two_episodes()
    scaling = Scaling(observation=Affine(np.asarray(10.0), np.asarray(20.0)))
    batch = sampler_of(data, scaling=scaling).gather(torch.tensor([1]))
    assert batch.observations.dtype == torch.float32
    np.testing.assert_array_equal(batch.observations, np.full((1, 1, 1, 2), 0.5))
    np.testing.assert_array_equal(batch.next_observations, np.full((1, 1, 1, 2), 1.0))
    with pytest.raises(DatasetError, match="needs uint8 images"):
        sampler_of(data, scaling=scaling, frame_stack=2)


@pytest.mark.parametrize("n", [2**24, 2**24 + 1, 2**48 + 2, 2**62])
def test_discrete_actions_come_out_exact(n):
    """A float32 counts to 2 ** 24; numbers beyond lie in digits of 24 bits."""
    given = np.array([n - 1, n - 2])
    columns = np.zeros((2, 1)), given, np.zeros(2), np.array([0, 1])
    data = MDPDataset(*columns, action_space=spaces.Discrete(n))
    sampler = sampler_of(data, needs=("next_actions",))
    batch = sampler.gather(torch.tensor([0, 0, 0, 0]))
    assert batch.actions.tolist() == [n - 1] * 4
    assert batch.next_actions.tolist() == [n - 2] * 4
    assert batch.actions.dtype == batch.next_actions.dtype == torch.int64
    batch.actions.zero_()
    assert sampler.refill(batch)
    assert batch.actions.unique().tolist() == [n - 2, n - 1]
    windows = TrajectorySampler(
        data, context=2, batch_size=1, gamma=GAMMA, seed=0, device=torch.device("cpu")
    )
    assert windows.gather(torch.tensor([1])).actions.tolist() == [[n - 1, n - 2]]


@pytest.mark.parametrize("stack", [1, 4])
def test_windows_take_images_from_the_memory_of_the_dataset(stack):
    images = np.random.default_rng(0).integers(0, 255, (4000, 1, 64, 64), np.uint8)  # 16 MB.
    data = MDPDataset(images, np.arange(4000) % 2, np.ones(4000), np.arange(4000) % 50 == 49)
    settings = {"context": 3, "batch_size": 4, "frame_stack": stack, "seed": 0}
    tracemalloc.start()
    batch = TrajectorySampler(data, **settings).gather(torch.tensor([0, 1, 60, 3999]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 4
    seen = batch.observations.numpy()
    assert not seen[0, :2].any()  # Before the first row.
    assert (seen[0, 2, -1] == images[0, 0]).all()
    assert (seen[2, :, -1] == images[58:61, 0]).all()
    assert stack == 1 or not seen[1, 2, :2].any()
    assert stack == 1 or (seen[3, 2] == images[3996:, 0]).all()

"""Blocks read from a file: every transition equals the one drawn from memory, and all are drawn."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from offlinekit.algos import BC
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.sampling import block_reader as block_reader_module
from offlinekit.sampling.block_reader import BlockReader, is_mapped, row_bytes
from offlinekit.sampling.blocks import BlockSampler, sampler_for
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Affine, Scaling
from offlinekit.types import leaves

N_ROWS = 500
SCALING = Scaling(reward=Affine(np.asarray(1.0), np.asarray(2.0)))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(block_reader_module, "LEAST_ROWS", 7)
    monkeypatch.setattr(block_reader_module, "BLOCKS_AT_ONCE", 3)


def dataset(kind="vectors", mean_length=12):
    """Returns rows whose observation is their number, in episodes of every kind of end."""
    rng = np.random.default_rng(0)
    ends = rng.random((2, N_ROWS)) < 0.5 / mean_length
    n_episodes = int((ends.any(0))[:-1].sum()) + 1
    number = np.arange(N_ROWS, dtype=np.float32)[:, None]
    options = {"final_observations": -1.0 - np.arange(n_episodes, dtype=np.float32)[:, None]}
    options["final_known"] = rng.random(n_episodes) < 0.5
    tree = number
    if kind == "frames":
        tree = {"number": number, "camera": rng.integers(0, 255, (N_ROWS, 2, 3, 3), np.uint8)}
        camera = rng.integers(0, 255, (n_episodes, 2, 3, 3), np.uint8)
        options["final_observations"] = {"number": options["final_observations"], "camera": camera}
    if kind == "unordered":
        options = {"next_observations": number + 0.5}
    return MDPDataset(
        tree,
        rng.integers(0, 3, N_ROWS) if kind == "frames" else rng.normal(size=(N_ROWS, 2)),
        rng.normal(size=N_ROWS),
        ends[0],
        timeouts=ends[1],
        create_mask=True,
        mask_size=2,
        **options,
    )


NEEDS = ("next_observations", "returns", "masks", "rows")
SETTINGS = {
    "batch_size": 10,
    "gamma": 0.9,
    "seed": 3,
    "device": torch.device("cpu"),
    "scaling": SCALING,
    "needs": NEEDS,
}


def blocks_of(data, n_step=1, block_rows=7, pool_blocks=9, **options):
    size = row_bytes(data) * block_rows
    sizes = {"block_bytes": size, "pool_bytes": size * pool_blocks}
    return BlockSampler(data, n_step=n_step, **{**SETTINGS, **sizes, **options})


def numbers(batch):
    seen = batch.observations["number"] if isinstance(batch.observations, dict) else batch.observations
    return seen[:, 0].long()


@pytest.mark.parametrize(
    ("kind", "n_step", "stack", "length"),
    [
        ("vectors", 1, 1, 12),
        ("vectors", 3, 1, 12),
        ("vectors", 5, 1, 200),
        ("unordered", 1, 1, 12),
        ("frames", 1, 3, 12),
        ("frames", 2, 4, 40),
    ],
)
def test_transitions_are_those_of_the_whole_dataset(kind, n_step, stack, length):
    data = dataset(kind, length)
    options = {"frame_stack": stack, "frame_pad": "repeat"}
    if kind != "unordered":
        options["needs"] = (*NEEDS, "next_actions")
    memory = TransitionSampler(data, n_step=n_step, **{**SETTINGS, **options})
    sampler = blocks_of(data, n_step, **options)
    drawn = set()
    for i in range(800):
        batch = sampler.sample()
        drawn.update(numbers(batch).tolist())
        if i >= 200:
            continue
        wanted = memory.gather(numbers(batch))
        for name, found, same in zip(batch._fields, batch, wanted, strict=True):
            for one, other in zip(leaves(found), leaves(same), strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6, err_msg=name)
    assert drawn == set(range(N_ROWS) if memory.usable is None else memory.usable.tolist())


def test_an_epoch_draws_each_row_once_on_average():
    data = dataset("unordered")
    sampler = blocks_of(data)
    n_epochs, counts = 40, np.zeros(N_ROWS)
    while sampler.number < n_epochs * sampler.n_pools:
        for row in numbers(sampler.sample()).tolist():
            counts[row] += 1
    # Each count is a sum of 40 Poisson-like draws: mean 40, deviation sqrt(40), so within 6 deviations.
    assert abs(counts.mean() - n_epochs) < 2
    assert (abs(counts - n_epochs) < 6 * np.sqrt(n_epochs)).all()


def test_each_epoch_deals_the_blocks_anew():
    data = dataset()
    sampler = blocks_of(data)
    dealt = []
    for epoch in range(2):
        pools = [
            sampler.reader.read(sampler.blocks_in(number, 3)) for number in range(epoch * 8, epoch * 8 + 8)
        ]
        rows = [pool.dataset.observations[pool.rows, 0].tolist() for pool in pools]
        assert sorted(row for part in rows for row in part) == list(range(N_ROWS))
        dealt.append(rows)
    assert sampler.n_pools == 8
    assert dealt[0][0] != dealt[1][0]


def test_runs_on_files_resume_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr("offlinekit.sampling.blocks.POOL_BYTES", 1_000)
    dataset("unordered").save(tmp_path / "plain.h5", compress=False)
    data = MDPDataset.open(tmp_path / "plain.h5")
    settings = {"out": tmp_path / "runs", "progress": False, "checkpoint_interval": 5, "log_interval": 4}
    options = {"seed": 0, "batch_size": 8, "observation_scaler": "standard"}
    whole = BC(**options).fit(data, 10, **settings)
    assert isinstance(whole.sampler, BlockSampler)
    broken = BC(**options)
    for step, _ in broken.fitter(data, 10, **settings):
        if step == 8:
            break
    resumed = BC(**options).fit(data, 10, resume=broken.run_dir, **settings)
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name


@pytest.mark.parametrize("drawn", [0, 1, 5, 6, 7, 61])
def test_state_goes_on_exactly(drawn):
    data = dataset("frames")
    options = {"frame_stack": 2, "pool_blocks": 8}
    sampler = blocks_of(data, **options)
    for _ in range(drawn):
        sampler.sample()
    state = sampler.state()
    expected = [numbers(sampler.sample()) for _ in range(70)]
    for other in (sampler, blocks_of(data, seed=99, **options)):
        other.set_state(state)
        assert all(torch.equal(numbers(other.sample()), rows) for rows in expected)


def test_the_speed_of_threads_decides_nothing():
    data = dataset()
    runs = []
    for n_readers, slow in ((1, False), (8, True)):
        sampler = blocks_of(data, n_readers=n_readers)
        if slow:
            threading.Event().wait(0.05)
        runs.append([numbers(sampler.sample()) for _ in range(100)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_the_next_pool_is_read_while_this_one_is_in_use():
    sampler = blocks_of(dataset())
    sampler.sample()
    number, ahead = sampler.ahead
    ahead.result(timeout=10)
    assert (sampler.number, number) == (0, 1)


def test_an_error_while_reading_ahead_reaches_the_caller():
    data = MDPDataset(np.zeros((20, 1)), np.zeros(20, np.int64), np.zeros(20), np.zeros(20), np.ones(20))
    with pytest.raises(DatasetError, match="no row has a next observation"):
        blocks_of(data).sample()


def test_a_state_of_the_other_sampler_draws_anew_with_a_warning():
    data = dataset()
    memory, blocks = TransitionSampler(data, n_step=1, **SETTINGS), blocks_of(data)
    for sampler, other in ((memory, blocks), (blocks, memory)):
        before = sampler.state()
        with pytest.warns(UserWarning, match="drawn anew"):
            sampler.set_state(other.state())
        assert torch.equal(sampler.state(), before)


def test_returns_reach_beyond_blocks():
    # One episode of 500 rows with reward 3, scaled (3 - 1) / 2 = 1: the return k rows before its end is
    # (1 - 0.9**k) / 0.1.
    data = MDPDataset(
        np.arange(N_ROWS)[:, None],
        np.zeros(N_ROWS, np.int64),
        np.full(N_ROWS, 3.0),
        np.eye(1, N_ROWS, N_ROWS - 1)[0],
    )
    sizes = {"before": 0, "after": 1, "block_bytes": 70, "n_threads": 1}
    reader = BlockReader(data, columns={}, returns=True, gamma=0.9, scaling=SCALING, **sizes)
    left = N_ROWS - np.arange(0, N_ROWS, reader.block_rows)
    np.testing.assert_allclose(reader.returns_at, (1 - 0.9**left) / 0.1, rtol=1e-12)
    batch = blocks_of(data).sample()
    np.testing.assert_allclose(
        batch.returns, (1 - 0.9 ** (N_ROWS - numbers(batch).double())) / 0.1, rtol=1e-6
    )


def test_what_is_mapped(tmp_path):
    data = dataset("frames")
    data.save(tmp_path / "plain.h5", compress=False)
    opened = MDPDataset.open(tmp_path / "plain.h5")
    assert is_mapped(opened)
    assert is_mapped(opened[3:5])
    assert not is_mapped(opened[[5, 3]])  # Copied.
    assert not is_mapped(data)
    assert not is_mapped(MDPDataset.open(tmp_path / "plain.h5", mmap=False))
    np.save(tmp_path / "x.npy", np.zeros((4, 2), np.float32))
    mine = np.load(tmp_path / "x.npy", mmap_mode="r", allow_pickle=False)
    assert is_mapped(MDPDataset(mine, np.zeros(4, np.int64), np.zeros(4), np.zeros(4)))


def test_small_or_unmapped_datasets_are_drawn_from_memory(tmp_path, monkeypatch):
    data = dataset("frames")
    data.save(tmp_path / "plain.h5", compress=False)
    opened = MDPDataset.open(tmp_path / "plain.h5")
    settings = {**SETTINGS, "n_step": 1}
    assert isinstance(sampler_for(opened, **settings), TransitionSampler)
    monkeypatch.setattr("offlinekit.sampling.blocks.POOL_BYTES", 1_000)
    assert isinstance(sampler_for(opened, **settings), BlockSampler)
    assert isinstance(sampler_for(data, **settings), TransitionSampler)
    batch = sampler_for(opened, frame_stack=2, **settings).sample()
    wanted = TransitionSampler(data, frame_stack=2, **settings).gather(numbers(batch))
    assert torch.equal(batch.next_observations["camera"], wanted.next_observations["camera"])


def test_blocks_are_not_drawn_inside_a_graph(monkeypatch):
    sampler = blocks_of(dataset())
    monkeypatch.setattr(sampler, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(UnsupportedError, match="cannot be drawn inside a CUDA graph"):
        sampler.sample()

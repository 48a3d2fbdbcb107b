"""Order of draws: minibatches one by one, in groups and blocks, and after a state was restored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offlinekit.datasets import MDPDataset
from offlinekit.sampling.sampler import BATCHES_AT_ONCE, TransitionSampler, fits
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import leaves


def dataset(kind, n=200):
    rng = np.random.default_rng(0)
    number = np.arange(n, dtype=np.float32)[:, None]
    trees = {
        "vector": number,
        "tree": {"a": number, "b": (rng.normal(size=(n, 2, 3)),)},
        "frames": {"a": number, "camera": rng.integers(0, 255, (n, 1, 4, 4), np.uint8)},
    }
    ends = rng.random((2, n)) < 0.05
    options = {"timeouts": ends[1], "create_mask": True, "mask_size": 2}
    return MDPDataset(trees[kind], rng.integers(0, 3, n), rng.normal(size=n), ends[0], **options)


def sampler_of(data, seed=0, batch_size=8):
    settings = {"gamma": 0.5, "n_step": 1, "scaling": Scaling(), "device": torch.device("cpu")}
    settings["needs"] = ("next_observations", "returns", "masks")
    return TransitionSampler(data, batch_size=batch_size, seed=seed, **settings)


def numbers(batch):
    seen = batch.observations["a"] if isinstance(batch.observations, dict) else batch.observations
    return seen[:, 0].long()


def same(one, other):
    return all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(leaves(x), leaves(y), strict=True)
    )


@pytest.mark.parametrize(("before", "after"), [(8, 2**15), (2**15, 8), (8, 9)])
def test_a_state_goes_on_with_another_batch_size(before, after):
    given, other = (sampler_of(dataset("vector"), batch_size=size) for size in (before, after))
    for _ in range(60):
        given.sample()
    other.set_state(given.state())
    drawn = [numbers(other.sample()) for _ in range(80)]
    assert all(len(rows) == after for rows in drawn)
    assert not any(torch.equal(drawn[0], rows) for rows in drawn[1:])


@pytest.mark.parametrize("kind", ["vector", "tree", "frames"])
@pytest.mark.parametrize("batch_size", [1, 8, 5_000])
def test_each_minibatch_has_the_transitions_of_its_rows(kind, batch_size):
    sampler = sampler_of(dataset(kind), batch_size=batch_size)
    for _ in range(20):
        batch = sampler.sample()
        assert len(batch.rewards) == batch_size
        assert same(batch, sampler.gather(numbers(batch)))


def test_rows_are_those_of_the_generator_in_order():
    sampler = sampler_of(dataset("vector"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        drawn = torch.randint(sampler.n_usable, (BATCHES_AT_ONCE, 8), generator=generator)
        for rows in sampler.usable[drawn]:
            assert torch.equal(numbers(sampler.sample()), rows)


@pytest.mark.parametrize("kind", ["vector", "frames"])
@pytest.mark.parametrize("drawn", [0, 1, 3, 8, 63, 64, 65, 130])
def test_a_state_brings_back_every_minibatch_after_it(kind, drawn):
    data = dataset(kind)
    sampler = sampler_of(data)
    for _ in range(drawn):
        sampler.sample()
    state = sampler.state()
    expected = [sampler.sample() for _ in range(140)]
    for other in (sampler, sampler_of(data, seed=1)):
        other.set_state(state)
        assert torch.equal(other.state(), state)
        assert all(same(other.sample(), batch) for batch in expected)


def test_a_state_is_bytes_that_later_draws_leave_alone():
    sampler = sampler_of(dataset("vector"))
    sampler.sample()
    state = sampler.state()
    kept = state.clone()
    assert state.dtype == torch.uint8
    assert state.ndim == 1
    for _ in range(200):
        sampler.sample()
    assert torch.equal(state, kept)


def test_draws_of_others_from_the_generator_are_kept_too():
    # A population or a captured graph draws its own rows between two minibatches.
    sampler = sampler_of(dataset("vector"))
    sampler.sample()
    torch.randint(10, (7,), generator=sampler.generator)
    state = sampler.state()
    expected = (
        [numbers(sampler.sample()) for _ in range(100)],
        torch.randint(10, (7,), generator=sampler.generator),
    )
    sampler.set_state(state)
    assert all(torch.equal(numbers(sampler.sample()), rows) for rows in expected[0])
    assert torch.equal(torch.randint(10, (7,), generator=sampler.generator), expected[1])


def test_rows_alone_are_drawn_like_minibatches():
    one, other = sampler_of(dataset("frames")), sampler_of(dataset("frames"))
    for i in range(150):
        drawn = one.next_rows() if i % 3 else numbers(one.sample())
        assert torch.equal(drawn, numbers(other.sample()))
    assert torch.equal(one.state(), other.state())


@pytest.mark.parametrize("n_batches", [0, 1, 63, 64, 65])
def test_skipping_is_drawing(n_batches):
    one, other = sampler_of(dataset("vector")), sampler_of(dataset("vector"))
    for sampler in (one, other):
        sampler.sample()
    for _ in range(n_batches):
        one.sample()
    other.skip(n_batches)
    assert torch.equal(one.state(), other.state())
    assert same(one.sample(), other.sample())


def test_a_state_of_another_device_draws_anew_with_a_warning():
    sampler = sampler_of(dataset("vector"))
    before = sampler.state()
    with pytest.warns(UserWarning, match="drawn anew"):
        sampler.set_state(torch.zeros(16 + 16 + 8, dtype=torch.uint8))
    assert torch.equal(sampler.state(), before)


def test_a_twin_draws_as_a_sampler_of_its_own_seed():
    data = dataset("frames")
    first = sampler_of(data)
    first.sample()
    before = first.state()
    twin, alone = first.twin(batch_size=4, seed=7), sampler_of(data, seed=7, batch_size=4)
    assert twin.columns is first.columns
    for _ in range(100):
        assert same(twin.sample(), alone.sample())
    assert torch.equal(twin.state(), alone.state())
    assert torch.equal(first.state(), before)


def test_batches_share_no_memory_with_the_table():
    sampler = sampler_of(dataset("vector"))
    before = sampler.gather(torch.arange(8)).observations.clone()
    sampler.gather(torch.arange(8)).observations.fill_(-1.0)
    for _ in range(10):
        sampler.sample().observations.fill_(-1.0)
    assert torch.equal(sampler.gather(torch.arange(8)).observations, before)


def test_while_a_graph_is_captured_each_draw_is_new(monkeypatch):
    sampler = sampler_of(dataset("vector"))
    monkeypatch.setattr(sampler, "_on_cuda", True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    generator = torch.Generator().manual_seed(0)
    for draw in (sampler.next_rows, lambda: numbers(sampler.sample())) * 2:
        drawn = torch.randint(sampler.n_usable, (8,), generator=generator)
        assert torch.equal(draw(), sampler.usable[drawn])
    assert int(sampler.state()[-8:].view(torch.int64)) == 0


def test_a_state_of_another_device_is_told_from_other_draws():
    size = len(torch.Generator().get_state())
    for n_generators in (1, 2):
        with pytest.warns(UserWarning, match="stood: the data lay on another device"):
            assert not fits(
                torch.zeros(16 * n_generators + 8, dtype=torch.uint8), size * n_generators + 8, torch.uint8
            )
    with pytest.warns(UserWarning, match="stood: they are drawn in another way now"):
        assert not fits(torch.zeros(3, dtype=torch.int64), 2 * size + 8, torch.uint8)

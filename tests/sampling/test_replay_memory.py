"""Replay memory: the rows that a dataset of the same steps would have, complete at once, never too old."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.replay.growing import GrowingSampler
from offlinekit.sampling.replay.mixture import MixedSampler
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Affine, Scaling

CPU = torch.device("cpu")
SCALING = Scaling(
    Affine(np.array([1.0, -2.0]), np.array([2.0, 0.5])),
    Affine(np.zeros(1), np.full(1, 2.0)),
    Affine(0.5, 4.0),
)
NEEDS = ("next_observations", "masks")


def settings(**changes):
    shared = {"batch_size": 4, "gamma": 0.9, "n_step": 1, "device": CPU, "seed": 0, "scaling": SCALING}
    return {**shared, "needs": NEEDS, **changes}


def recorded(lengths=(5, 1, 7, 3), first=0.0, masks=False):
    """Episodes that end in turn by a terminal and a time-out, with observations that count on."""
    ends = np.cumsum(lengths)
    steps = np.arange(ends[-1] + len(lengths)) + first
    seen = np.stack([steps, -steps], 1)
    last = np.isin(np.arange(ends[-1]) + 1, ends)
    place = np.arange(ends[-1]) + np.repeat(np.arange(len(lengths)), lengths)
    terminals = last & np.isin(np.arange(ends[-1]) + 1, ends[::2])
    return MDPDataset(
        seen[place],
        np.sin(steps[place])[:, None],
        np.cos(steps[place]),
        terminals,
        last,
        final_observations=seen[ends + np.arange(len(lengths))],
        action_space=spaces.Box(-2, 2, (1,)),
        create_mask=masks,
        mask_size=3,
    )


def play(memory, dataset, interleaved=False):
    """Adds the steps of a dataset: an episode after another, or the episodes side by side."""
    where = [(i, t) for i, n in enumerate(dataset.episode_lengths()) for t in range(n)]
    for i, t in sorted(where, key=lambda pair: pair[::-1]) if interleaved else where:
        row, last = dataset.episode_starts[i] + t, t + 1 == dataset.episode_lengths()[i]
        after = dataset.final_observations[i] if last else dataset.observations[row + 1]
        step = (dataset.observations[row], dataset.actions[row], dataset.rewards[row], after)
        memory.add(i, *step, bool(dataset.terminals[row]))
        if last:
            memory.finish(i)


def rows_of(memory):
    """All rows that can be drawn, as numbers, sorted: observations, actions, rewards, next ones, discounts..."""
    places = memory._places[: memory.n_usable]
    return sorted_rows(memory.columns.fetch(memory.columns.locate(places, None, len(places))[0]))


def sorted_rows(batch):
    columns = [c.T if n == "masks" else c for n, c in batch._asdict().items() if c is not None]
    table = np.concatenate([np.asarray(column).reshape(len(batch.rewards), -1) for column in columns], 1)
    return table[np.lexsort(table.T[::-1])]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("more", [(), ("next_actions",), ("returns",), ("returns", "next_actions")])
def test_rows_are_those_of_a_dataset_of_the_same_steps(interleaved, n_step, more):
    dataset = recorded()
    how = settings(n_step=n_step, needs=(*NEEDS, *more))
    whole = TransitionSampler(dataset, **how)
    memory = ReplayMemory(recorded((1,)), capacity=20, keep=False, **how)
    play(memory, dataset, interleaved)
    expected = sorted_rows(whole.gather(whole.usable_rows()))
    np.testing.assert_array_equal(rows_of(memory), expected)


def test_time_outs_bootstrap_and_terminals_do_not():
    memory = ReplayMemory(
        recorded((1,)), capacity=9, keep=False, **settings(n_step=2, gamma=0.5, scaling=Scaling())
    )
    memory.add(0, [1.0, 0.0], [0.0], 8.0, [2.0, 0.0], False)
    assert memory.n_usable == 0  # Two steps are not known yet.
    memory.add(0, [2.0, 0.0], [0.0], 4.0, [3.0, 0.0], False)
    assert memory.n_usable == 1
    memory.finish(0)
    # Row 1: 8 + 4 / 2 = 10, then state 3 at 1 / 4. Row 2, of a time-out: 4, then state 3 at 1 / 2.
    np.testing.assert_array_equal(rows_of(memory), [[1, 0, 0, 10, 3, 0, 0.25], [2, 0, 0, 4, 3, 0, 0.5]])
    memory.add(0, [5.0, 0.0], [0.0], 1.0, [6.0, 0.0], True)
    memory.finish(0)
    np.testing.assert_array_equal(rows_of(memory)[2], [5, 0, 0, 1, 6, 0, 0])


def test_every_member_learns_from_a_new_row():
    dataset = recorded(masks=True)
    memory = ReplayMemory(dataset, capacity=20, keep=False, **settings())
    play(memory, dataset)
    assert memory.sample().masks.shape == (3, 4)
    assert rows_of(memory)[:, -3:].min() == 1.0


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("capacity", [1, 2, 5, 6])
def test_the_newest_rows_stay_and_the_oldest_make_room(capacity, interleaved):
    memory = ReplayMemory(recorded((1,)), capacity=capacity, keep=False, **settings(scaling=Scaling()))
    for first in (0.0, 100.0, 200.0):
        play(memory, recorded((3, 4, 2), first), interleaved)
    assert memory.n_usable == capacity
    newest = recorded((3, 4, 2), 200.0)
    order = np.argsort([t for n in newest.episode_lengths() for t in range(n)], kind="stable")
    kept = newest.observations[order if interleaved else np.arange(9)][-capacity:]
    found = rows_of(memory)
    np.testing.assert_array_equal(found[:, :2], kept[np.lexsort(kept.T[::-1])])
    assert (found[:, 4] - found[:, 0] == 1.0).all()  # What follows each is still its own.


@pytest.mark.parametrize("n_lanes", range(2, 10))
def test_more_environments_than_the_memory_has_rows(n_lanes):
    for capacity in range(1, 10):
        memory = ReplayMemory(recorded((1,)), capacity=capacity, keep=False, **settings(scaling=Scaling()))
        play(memory, recorded((12,) * n_lanes), interleaved=True)
        found = rows_of(memory)
        assert (found[:, 4] - found[:, 0] == 1.0).all(), capacity
        newest = recorded((12,) * n_lanes).observations.reshape(n_lanes, 12, 2).swapaxes(0, 1).reshape(-1, 2)
        np.testing.assert_array_equal(found[:, 0], np.sort(newest[-capacity:, 0]))


def test_rows_of_the_dataset_stay_beside_new_ones():
    dataset = recorded()
    whole = TransitionSampler(dataset, **settings())
    memory = ReplayMemory(dataset, capacity=3, keep=True, **settings())
    play(memory, recorded((2, 2), 50.0))
    assert (memory.n_usable, memory.n_kept) == (19, 16)
    np.testing.assert_array_equal(rows_of(memory)[:16], sorted_rows(whole.gather(whole.usable_rows())))


def test_the_newest_row_is_drawn_at_once():
    memory = ReplayMemory(
        recorded((1,)), capacity=4, keep=False, **settings(scaling=Scaling(), batch_size=64)
    )
    batch = None
    for step in range(6):
        memory.add(0, [step, 0.0], [0.0], 1.0, [step + 1.0, 0.0], False)
        if batch is None:
            batch = memory.sample()
        else:
            assert memory.refill(batch)
        seen = set(batch.observations[:, 0].tolist())
        # Of 64 draws each of at most 4 rows is missed with a probability of at most 0.75 ** 64 = 1e-8.
        assert seen == {float(kept) for kept in range(max(step - 3, 0), step + 1)}


def test_draws_go_on_from_a_state():
    dataset = recorded()
    memories = [ReplayMemory(dataset, capacity=9, keep=True, **settings()) for _ in range(2)]
    for memory in memories:
        play(memory, recorded((4,), 90.0))
    memories[0].sample()
    memories[1].set_state(memories[0].state())
    assert torch.equal(memories[0].sample().observations, memories[1].sample().observations)


def test_what_a_memory_cannot_hold_is_refused():
    dataset = recorded()
    dataset.extras = {"costs": np.ones(16)}
    with pytest.raises(
        UnsupportedError, match="Impl needs a column 'costs', which a replay memory cannot hold"
    ):
        ReplayMemory(dataset, capacity=9, keep=True, **settings(needs=(*NEEDS, "costs"), owner="Impl"))
    with pytest.raises(UnsupportedError, match="needs images or whole numbers"):
        ReplayMemory(dataset, capacity=9, keep=True, **settings(needs=(*NEEDS, "rows")))


def test_shares_are_exact_in_ten_thousand_minibatches():
    how = settings(batch_size=10, scaling=Scaling())
    memory = ReplayMemory(recorded((1,)), capacity=9, keep=False, **how)
    play(memory, recorded((4,), 1000.0))
    for share, expected in ((0.5, 5), (0.25, 2), (0.35, 4), (0.0, 0), (1.0, 10)):
        # Of 10 rows: 5, 2.5 -> 2 and 3.5 -> 4 (halves to the even number), none, all.
        mixed = MixedSampler(TransitionSampler(recorded(), **how), memory, 10, lambda share=share: share)
        for _ in range(2_000):
            batch = mixed.sample()
            is_new = batch.observations[:, 0] >= 1000.0
            assert is_new.tolist() == [False] * expected + [True] * (10 - expected)


def test_a_mixture_goes_on_from_its_state_and_keeps_masks_apart():
    how = settings(batch_size=6)

    def mixture():
        memory = ReplayMemory(recorded(masks=True), capacity=9, keep=False, **how)
        play(memory, recorded((4,), 30.0))
        return MixedSampler(TransitionSampler(recorded(masks=True), **how), memory, 6, lambda: 0.5)

    first, second = mixture(), mixture()
    for _ in range(3):
        first.sample()
    second.set_state(first.state())
    batches = [first.sample(), second.sample()]
    assert batches[0].masks.shape == (3, 6)
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
    assert batches[0].masks[:, 3:].min() == 1.0


def test_samplers_that_grow_by_episodes_keep_the_newest():
    made = []

    def make(dataset):
        made.append(len(dataset))
        return TransitionSampler(dataset, **settings())

    alone, beside = GrowingSampler(make, None, 5), GrowingSampler(make, recorded(), 100)
    assert (alone.n_usable, beside.n_usable) == (0, 16)
    for sampler in (alone, beside):
        sampler.add_episodes(recorded((3,)))
        sampler.add_episodes(recorded((4, 1)))
        assert len(sampler.sample().rewards) == 4
    # 3, then 3 + 4 + 1 = 8 of which the last 5 make the first 3 go; 16, 19, 24.
    assert made == [16, 3, 5, 19, 24]
    state = beside.state()
    expected = beside.sample().observations
    beside.set_state(state)
    assert torch.equal(beside.sample().observations, expected)

"""A replay memory whose rows are drawn by their losses: probabilities, corrections, new rows, resume."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_replay_memory import CPU, recorded, settings
from walk_env import Walk, recorded_walk

from offlinekit.algos import QC, SAC, DoubleDQN, MLPEncoder
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.priorities import LEAST, Priorities
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.replay.tree_replay import PrioritizedReplay

QUIET = {"out": None, "progress": False, "eval_episodes": 1, "eval_interval": 100, "log_interval": 20}


def replay(keep=True, capacity=8, batch_size=4, **priorities):
    how = settings(capacity=capacity, keep=keep, batch_size=batch_size, needs=("next_observations",))
    memory = ReplayMemory(recorded((4,)), **how)
    return PrioritizedReplay(memory, Priorities(**{"alpha": 1.0, "beta": 1.0, **priorities}), 0, CPU)


def play(prioritised, n):
    for _ in range(n):
        seen = np.zeros(2, np.float32)
        prioritised.memory.add(0, seen, np.zeros(1, np.float32), 9.0, seen, False)


def learned(prioritised, places, losses):
    prioritised.draw()  # Admits what is new.
    prioritised.drawn = torch.tensor(places)
    prioritised.update(torch.tensor(losses))


def close(found, expected):
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-8
    )  # fmt: skip


def test_priorities_are_roots_of_losses_and_new_rows_have_the_largest_so_far():
    prioritised = replay()
    play(prioritised, 1)
    learned(prioritised, [0, 1, 4], [9.0, 4.0, 0.25])
    # Four recorded rows of 1 and a new one of 1, of which three were drawn: 3, 2, 1, 1 and 1/2.
    close(prioritised.tree.numbers[:5], [3 + LEAST, 2 + LEAST, 1, 1, 0.5 + LEAST])
    play(prioritised, 2)
    learned(prioritised, [0], [0.0])  # The largest so far stays 3.
    close(prioritised.tree.numbers[:7], [LEAST, 2 + LEAST, 1, 1, 0.5 + LEAST, 3 + LEAST, 3 + LEAST])
    play(prioritised, 1)
    prioritised.draw()
    close(prioritised.tree.numbers[7], 3 + LEAST)


def test_rows_come_as_often_as_their_priorities_say():
    prioritised = replay(batch_size=64)
    play(prioritised, 1)
    learned(prioritised, [0, 1, 2, 3, 4], [16.0, 1.0, 1.0, 4.0, 4.0])
    drawn = torch.cat([prioritised.draw() for _ in range(500)])
    # Priorities 4, 1, 1, 2, 2 of 10.
    for place, share in enumerate([0.4, 0.1, 0.1, 0.2, 0.2]):
        found = (drawn == place).double().mean().item()
        assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / len(drawn))


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.0])
def test_weights_correct_the_draw(beta):
    prioritised = replay(keep=False, batch_size=64, beta=beta)
    play(prioritised, 2)
    learned(prioritised, [0, 1], [9.0, 1.0])
    batch = prioritised.sample()
    # P = 3/4 and 1/4 of N = 2 rows: (2 P)^-beta = 1.5^-beta and 0.5^-beta, over the largest: 3^-beta and 1.
    often = prioritised.drawn == 0
    assert 40 <= int(often.sum()) <= 56
    close(batch.weights[often], [3.0**-beta] * int(often.sum()))
    close(batch.weights[~often], [1.0] * int((~often).sum()))


def test_the_oldest_rows_make_room_with_their_priorities():
    prioritised = replay(keep=False, capacity=2)
    play(prioritised, 2)
    learned(prioritised, [0, 1], [100.0, 4.0])
    play(prioritised, 1)  # In place of the first.
    learned(prioritised, [0], [1.0])
    close(prioritised.tree.numbers, [1 + LEAST, 2 + LEAST])


def test_a_state_gives_the_same_minibatches_again():
    first, second = replay(batch_size=16), replay(batch_size=16)
    for prioritised in (first, second):
        play(prioritised, 3)
    for _ in range(3):
        first.sample()
        first.update(first.drawn.float())
    second.set_state(first.state())
    for prioritised in (first, second):
        play(prioritised, 1)
    for _ in range(3):
        one, other = first.sample(), second.sample()
        assert torch.equal(one.observations, other.observations)
        assert torch.equal(one.weights, other.weights)
    assert torch.equal(first.state(), second.state())


def small(front=SAC, **options):
    return front(seed=1, batch_size=8, device="cpu", encoder=MLPEncoder((8,)), **options)


@pytest.mark.parametrize("front", [SAC, DoubleDQN])
def test_losses_of_a_run_reach_the_priorities(front):
    discrete = front is DoubleDQN
    algo, seen = small(front), []
    priorities = Priorities("critic")
    for _ in algo.fitter_online(Walk(discrete=discrete), 60, priorities=priorities, **QUIET):
        if algo.sampler is not None:
            numbers = algo.sampler.tree.numbers[: algo.sampler.n_usable]
            seen.append(len(numbers.unique()))
    assert max(seen) > 10
    same = small(front).fit_online(Walk(discrete=discrete), 60, priorities="critic", **QUIET)
    assert torch.equal(same.impl.random.state(), algo.impl.random.state())
    for name, value in algo.impl.state_tensors().items():
        assert torch.equal(value, same.impl.state_tensors()[name])


def test_alpha_of_zero_draws_all_rows_alike_with_weights_of_one():
    prioritised = replay(batch_size=8, alpha=0.0)
    play(prioritised, 3)
    learned(prioritised, [0, 5], [100.0, 0.01])
    close(prioritised.sample().weights, [1.0] * 8)


@pytest.mark.parametrize(
    ("front", "settings", "error", "message"),
    [
        (SAC, {"mixing": "symmetric"}, ValueError, r"give mixing='append' or mixing='none'"),
        (SAC, {"mixing": "balanced"}, ValueError, r"give mixing='append' or mixing='none'"),
        (QC, {}, UnsupportedError, "priorities draw rows one by one.*QC learns from .*leave priorities out"),
        (SAC, {"priorities": "critc"}, ValueError, "names no objective of SACImpl.*did you mean 'critic'"),
        (SAC, {"priorities": 0.5}, TypeError, "priorities must be the name of an objective"),
    ],
)  # fmt: skip
def test_what_cannot_be_prioritised_is_refused_before_anything_is_written(
    front, settings, error, message, tmp_path
):
    settings = {**QUIET, "out": tmp_path, "priorities": "critic", **settings}
    with pytest.raises(error, match=message):
        small(front).fit_online(Walk(), 20, dataset=recorded_walk(), **settings)
    assert not list(tmp_path.iterdir())

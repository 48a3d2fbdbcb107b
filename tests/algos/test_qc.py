"""QC: what differs from BFN: chunks of actions in data, losses and acting, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import QC, QCFQL, MLPEncoder
from offlinekit.algos.torch.qc_impl import QCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, DatasetWarning, UnsupportedError
from offlinekit.sampling.chunks import chunked


def episodes(**options: object) -> MDPDataset:
    """Three rows that end by a terminal, then four whose recording stops without what follows."""
    numbers = np.arange(7, dtype=np.float32)
    given = {
        "observations": numbers[:, None],
        "actions": numbers[:, None] / 10,
        "rewards": numbers,
        **options,
    }
    ends = {"terminals": np.arange(7) == 2, "timeouts": np.arange(7) == 6}
    return MDPDataset(**given, **ends)


def build(**options: object) -> QCImpl:
    given = {"n_step": 2, "n_candidates": 2, "flow_steps": 1, **options}
    return QC(encoder=TABLE, seed=0, device="cpu", **given).build(continuous_dataset()).impl


def chunk_batch(steps, **given):
    *valid, whole = torch.tensor(steps).bool()
    columns = {"valid": torch.stack(valid, 1), "whole": whole, **given}
    return make_batch(STATES, [[0.5, 0.1], [-0.4, 0.2]], [1.0, 2.0], discounts=[0.5, 0.9], **columns)


WHOLE = [[1, 1], [1, 1], [1, 1]]
"""Of two chunks of two steps which of these are valid, and which chunk is whole, [H + 1, B]."""


# The data.


def test_chunks_end_with_their_episode():
    joined = chunked(episodes(), 3)
    wanted = [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 4, 5], [4, 5, 6], [5, 6, 6], [6, 6, 6]]
    np.testing.assert_allclose(joined.actions[..., 0], np.array(wanted) / 10, rtol=1e-6)
    # A terminal needs nothing after it; the recording that stops after row 6 does not know what follows a whole chunk.
    valid = ["111", "110", "100", "111", "111", "110", "100"]
    assert joined.extras["valid"].tolist() == [[digit == "1" for digit in row] for row in valid]
    assert joined.extras["whole"].tolist() == [True, False, False, True, False, False, False]


def test_a_recorded_final_observation_makes_the_last_chunk_whole():
    known = chunked(episodes(final_observations=np.zeros((2, 1), np.float32)), 3)
    assert known.extras["whole"].tolist() == [True, False, False, True, True, False, False]
    assert known.extras["valid"].tolist() == chunked(episodes(), 3).extras["valid"].tolist()


def test_a_dataset_stays_as_it_was():
    data = episodes()
    before = data.actions.copy()
    assert chunked(data, 2) is not data
    assert not data.extras
    np.testing.assert_array_equal(data.actions, before)
    close(chunked(data, 1).actions, before[:, None])


def test_what_has_no_chunks_is_refused():
    rng = np.random.default_rng(0)
    loose = MDPDataset(
        rng.normal(size=(4, 1)),
        np.zeros((4, 1)),
        np.zeros(4),
        np.zeros(4, bool),
        next_observations=np.zeros((4, 1)),
    )
    with pytest.raises(DatasetError, match="temporal order"):
        chunked(loose, 2)


@pytest.mark.parametrize("front", [QC, QCFQL])
def test_batches_hold_chunks_and_their_returns(front):
    algo = front(n_step=3, gamma=0.5, batch_size=64, encoder=TABLE, action_scaler=None, seed=0, device="cpu")
    batch = algo.sample_batch(episodes())
    assert batch.actions.shape == (64, 3)
    assert batch.valid.shape == (64, 3)
    assert batch.masks is None
    rows = batch.observations[:, 0].long()
    assert set(rows.tolist()) == {0, 1, 2, 3, 4, 5}  # What follows row 6 is not known.
    # Of row 0: 0 + 0.5 * 1 + 0.25 * 2, then the end; of row 3: 3 + 2 + 1.25, then 0.125 of row 6.
    for row, reward, discount, following in ((0, 1.0, 0.0, None), (3, 6.25, 0.125, 6.0)):
        at = int((rows == row).nonzero()[0])
        close(batch.actions[at], [row / 10, (row + 1) / 10, (row + 2) / 10])
        close(batch.rewards[at], reward)
        close(batch.discounts[at], discount)
        if following is not None:
            close(batch.next_observations[at], [following])
        assert batch.valid[at].tolist() == [True] * 3
        assert batch.whole[at]


def test_action_scalers_see_single_actions():
    algo = QC(n_step=2, batch_size=32, encoder=TABLE, seed=0, device="cpu").build(episodes())
    # Actions 0 to 0.6 become -1 to 1.
    batch = algo.sample_batch(episodes())
    rows = batch.observations[:, 0]
    close(batch.actions[:, 0], (rows / 3 - 1).tolist(), atol=1e-4)


# The losses.


def with_networks(monkeypatch, **options: object) -> QCImpl:
    """The flow adds (0.1, 0.3) to noise; Q1 = (1, 3) + 2 a_1 + a_2 = Q1' / 10, Q2 the same less 1."""
    impl = build(**options)
    set_constant(impl.policy.behaviour, [0.1, 0.3])
    set_table(impl.q, [[[1.0], [3.0], [2.0], [1.0]], [[0.0], [2.0], [2.0], [1.0]]])
    set_table(impl.target_q, [[[10.0], [30.0], [20.0], [10.0]], [[0.0], [20.0], [20.0], [10.0]]])
    noise = torch.tensor([[[0.4, 0.0], [0.0, 0.2]], [[-0.6, 0.6], [0.3, -0.2]]])  # [N, B, H * A]
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise.reshape(shape))
    return impl


def test_networks_see_whole_chunks():
    impl = (
        QC(n_step=4, encoder=MLPEncoder((3,)), seed=0, device="cpu")
        .build(continuous_dataset(action_size=2))
        .impl
    )
    assert (impl.step_size, impl.action_size) == (2, 8)
    assert impl.policy.noise.shape == (32, 1, 8)
    assert impl.q.network.mlp.layers[0].weight.shape == (2, 2 + 8, 3)


def test_target_is_the_value_of_the_best_chunk(monkeypatch):
    impl = with_networks(monkeypatch)
    # Chunks: row 0 (0.5, 0.3) and (-0.5, 0.9): 2 a_1 + a_2 = 1.3 and -0.1; row 1 (0.1, 0.5), (0.4, 0.1): 0.7, 0.9
    # Means of Q' : 5 + 13 = 18, 25 + 9 = 34
    close(impl.compute_target(chunk_batch(WHOLE)), [1.0 + 9.0, 2.0 + 0.9 * 34.0])


def test_critics_learn_from_whole_chunks_alone(monkeypatch):
    impl = with_networks(monkeypatch)
    # Q1 = (1 + 1.1, 3 - 0.6) = (2.1, 2.4), Q2 = (1.1, 1.4); target (2, 2): errors (0.1, 0.4), (-0.9, -0.6)
    targets = torch.tensor([2.0, 2.0])
    close(total(impl.compute_critic_loss(chunk_batch(WHOLE), targets)), (0.01 + 0.16) / 2 + (0.81 + 0.36) / 2)
    partial = [[1, 1], [1, 1], [0, 1]]  # The steps of row 0 are all there, what follows is not known.
    returned = impl.compute_critic_loss(chunk_batch(partial), targets)
    loss = total(returned)
    close(loss, 0.16 + 0.36)
    close(row_losses(returned), [[0.01, 0.16], [0.81, 0.36]])
    # d / d (weights of Q1) = 2 * 0.4 * (0, 1, -0.4, 0.2): nothing of row 0.
    close(head_gradients(loss, impl.q)[0][0, :, 0], [0.0, 0.8, -0.32, 0.16])
    # Bootstrap masks say which of the whole chunks a member learns from: the first from row 1, the second from none.
    masked = chunk_batch(partial, masks=[[1, 1], [1, 0]])
    close(total(impl.compute_critic_loss(masked, targets)), 0.16)


def test_flow_learns_the_steps_inside_the_episode_alone(monkeypatch):
    impl = with_networks(monkeypatch)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: torch.tensor([[0.2, 0.2], [0.0, 0.0]]))
    # a - noise = (0.3, -0.1), (-0.4, 0.2); v = (0.1, 0.3): errors (-0.2, 0.4), (0.5, 0.1)
    close(total(impl.compute_actor_loss(chunk_batch(WHOLE))), (0.04 + 0.16 + 0.25 + 0.01) / 4)
    # Row 0 ends after its first step; that row 1 is not whole does not matter here.
    returned = impl.compute_actor_loss(chunk_batch([[1, 1], [0, 1], [0, 0]]))
    loss = total(returned)
    close(loss, (0.04 + 0.25 + 0.01) / 4)
    close(row_losses(returned), [0.02, 0.13])
    # d / d bias = 2 / 4 * (-0.2 + 0.5, 0.1)
    close(head_gradients(loss, impl.policy.behaviour)[1], [0.15, 0.05])


def test_weights_cover_all_dimensions_of_a_step():
    impl = QC(n_step=2, encoder=TABLE, seed=0, device="cpu").build(continuous_dataset(action_size=2)).impl
    batch = make_batch(STATES, torch.zeros(2, 4), valid=torch.tensor([[True, False], [True, True]]))
    close(impl.cloning_weights(batch), [[1.0, 1.0, 0.0, 0.0], [1.0] * 4])


# Acting.


def fixed(monkeypatch) -> QCImpl:
    impl = with_networks(monkeypatch)
    impl.policy.noise.copy_(torch.tensor([[[0.4, -0.5]], [[-0.6, 0.6]]]))
    return impl


def test_predict_gives_the_first_action_of_the_best_chunk(monkeypatch):
    impl = fixed(monkeypatch)
    # Chunks (0.5, -0.2) and (-0.5, 0.9) in both rows: 2 a_1 + a_2 = 0.8 and -0.1
    close(impl.best_chunk(STATES), [[0.5, -0.2]] * 2)
    close(impl.predict_best_action(STATES), [[0.5]] * 2)
    close(impl.sample_action(STATES), [[0.5], [0.4]])
    # Q = mean of (1.8, 0.8), (3.8, 2.8); begun by 0.1: 2 * 0.1 - 0.2 = 0
    close(impl.predict_value(STATES, None), [1.3, 3.3])
    close(impl.predict_value(STATES, torch.tensor([[0.1], [0.1]])), [0.5, 2.5])


def test_chunks_are_played_out_each_episode_in_its_own_time(monkeypatch):
    impl = fixed(monkeypatch)
    asked = []
    best = impl.best_chunk
    monkeypatch.setattr(impl, "best_chunk", lambda seen: asked.append(seen) or best(seen))
    rewards = torch.zeros(2)
    halfway = torch.tensor([[0.7]])
    actions, memories = impl.take_steps(STATES, rewards, [None, halfway], sample=False)
    close(actions, [[0.5], [0.7]])
    close(asked[0], STATES[:1].tolist())
    close(memories[0], [[-0.2]])
    assert memories[1] is None
    actions, memories = impl.take_steps(STATES, rewards, memories, sample=False)
    close(actions, [[-0.2], [0.5]])
    close(asked[1], STATES[1:].tolist())
    assert memories[0] is None
    impl.take_steps(STATES, rewards, [halfway, halfway], sample=False)
    assert len(asked) == 2
    drawn, memories = impl.take_steps(STATES, rewards, [None, None], sample=True)
    close(drawn, [[0.5], [0.4]])
    close(memories[1], [[0.1]])
    assert len(asked) == 2


def test_a_stateful_actor_plays_open_loop_in_the_units_of_the_data():
    data = continuous_dataset()
    algo = QC(n_step=3, encoder=MLPEncoder((8,)), seed=0, device="cpu").build(data)
    assert algo.is_stateful
    actor, rows = algo.as_stateful(), data.observations
    first = actor.predict(rows[0])
    np.testing.assert_allclose(first, algo.predict(rows[0]), rtol=1e-5)
    second = [actor.predict(rows[1]), actor.predict(rows[2])]
    np.testing.assert_allclose(actor.predict(rows[3]), algo.predict(rows[3]), rtol=1e-5)
    actor.reset()
    np.testing.assert_allclose(actor.predict(rows[0]), first, rtol=1e-5)
    # Whatever is seen in between.
    np.testing.assert_allclose([actor.predict(rows[5]), actor.predict(rows[6])], second, rtol=1e-5)
    with pytest.raises(UnsupportedError, match="takes no return to reach"):
        algo.as_stateful(1.0)


def sequence_dataset(n_episodes: int = 300) -> MDPDataset:
    """Episodes of two steps: the second action must repeat the first, which the second observation does not show."""
    rng = np.random.default_rng(0)
    actions = rng.choice([-0.8, 0.8], (n_episodes, 2))
    actions[: n_episodes // 2, 1] = actions[: n_episodes // 2, 0]
    actions += rng.normal(size=actions.shape) * 0.02
    rewards = np.stack([np.zeros(n_episodes), (actions[:, 0] * actions[:, 1] > 0)], 1)
    steps = np.tile([[[0.0], [1.0]]], (n_episodes, 1, 1))
    ends = np.tile([False, True], n_episodes)
    return MDPDataset(steps.reshape(-1, 1), actions.reshape(-1, 1), rewards.reshape(-1), ends)


@pytest.mark.parametrize("front", [QC, QCFQL])
def test_two_steps_are_chosen_together(front):
    encoder = MLPEncoder((32, 32), "gelu")
    rates = {"actor_learning_rate": 5e-3, "critic_learning_rate": 5e-3, "batch_size": 64}
    given = {"alpha": 0.3} if front is QCFQL else {"n_candidates": 8}
    algo = front(n_step=2, encoder=encoder, flow_steps=4, seed=0, device="cpu", **rates, **given)
    algo.fit(sequence_dataset(), 400, out=None, progress=False)
    actor = algo.as_stateful(sample=True)
    good = 0
    for _ in range(50):
        actor.reset()
        first, second = actor.predict(np.zeros(1, np.float32)), actor.predict(np.ones(1, np.float32))
        good += bool(first * second > 0)
    assert good >= 45  # Of 50; cloning repeats itself in three of four.


# Short episodes.


def short(n_rows: int, ending: str = "terminals") -> MDPDataset:
    """60 rows in episodes of so many."""
    numbers = np.arange(60)
    ends = {"terminals": np.zeros(60), ending: numbers % n_rows == n_rows - 1}
    return MDPDataset(numbers[:, None], np.sin(numbers)[:, None], np.ones(60), **ends)


@pytest.mark.parametrize("front", [QC, QCFQL])
def test_critics_of_chunks_that_are_never_whole_are_refused_and_of_few_warned_of(front):
    algo = front(n_step=4, encoder=TABLE, flow_steps=1, batch_size=4, seed=0)
    quiet = {"n_steps": 1, "out": None, "progress": False}
    with pytest.raises(
        UnsupportedError, match=r"none of the 60 rows.*longest episode has 3 rows; set n_step=2 or"
    ):
        algo.fit(short(3), **quiet)
    # Of six rows the first three begin a chunk of four; cut after a row that has no next one, two do.
    algo.fit(short(6), **quiet)
    with pytest.warns(DatasetWarning, match=r"learn from 20 of the 60 rows .*\(33%\).*set n_step=3 or less"):
        algo.fit(short(6, "timeouts"), **quiet)

"""Cal-QL by hand: CQL's gap with the policy's values held up to the returns of the data."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_table

from offlinekit.algos import CQL, CalQL, MLPEncoder
from offlinekit.sampling.batch import Batch

RANDOM, NOW, LATER = (1.0, -1.0), (0.5, 0.0), (-0.5, 0.75)
DENSITIES = (-math.log(2), -math.log(2), 2.0, 1.0, -1.0, 0.5)
RETURNS = [0.6, -9.0]


def build(algo=CalQL, **options):
    """Two critics Q = a and Q = 2 a, and six sampled actions that do not change."""
    options = {"n_actions": 2, "n_critics": 2, "alpha": 3.0, "encoder": TABLE, **options}
    impl = algo(seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_table(impl.q, [[[0.0], [0.0], [1.0]], [[0.0], [0.0], [2.0]]])
    actions = torch.tensor([*RANDOM, *NOW, *LATER])[:, None, None].expand(6, 2, 1)
    densities = torch.tensor(DENSITIES)[:, None].expand(6, 2)
    impl.sampled_actions = lambda batch: (actions, densities)
    return impl


BATCH = make_batch(STATES, [[0.25], [0.25]], returns=RETURNS)


def soft_maximum(slope, bound):
    """The bound comes before the density is subtracted, and not at the random actions."""
    values = [slope * a for a in RANDOM] + [max(slope * a, bound) for a in (*NOW, *LATER)]
    return math.log(sum(math.exp(v - d) for v, d in zip(values, DENSITIES, strict=True)))


def test_gap_by_hand():
    impl = build()
    data = impl.q.values(BATCH.observations, BATCH.actions)
    gap = impl.conservative_gap(BATCH, data)
    # Row 0 is bounded by 0.6; row 1, of return -9, not at all. Data: Q(0.25) = 0.25 and 0.5.
    means = [sum(soft_maximum(slope, bound) - slope / 4 for bound in RETURNS) / 2 for slope in (1.0, 2.0)]
    close(gap, sum(means))
    returned = impl.compute_critic_loss(BATCH, torch.tensor([0.25, 0.25]))
    loss, metrics = total(returned)
    # Temporal differences (0, 0) and (0.25, 0.25).
    close(metrics["td_loss"], 0.0625)
    close(metrics["conservative_gap"], sum(means))
    close(loss, 0.0625 + 3 * sum(means))
    close(row_losses(returned), [[0.0, 0.0], [0.0625, 0.0625]])


def test_values_at_the_bound_are_not_pushed_further():
    impl = build()
    batch = make_batch(STATES[:1], [[0.25]], returns=[0.6])
    impl.sampled_actions = lambda given, draw=impl.sampled_actions: tuple(x[:, :1] for x in draw(given))
    data = impl.q.values(batch.observations, batch.actions)
    gradient = head_gradients(impl.conservative_gap(batch, data), impl.q)[0]
    # d / d slope = sum of softmax * a over the random actions and those above 0.6, less the data's 0.25.
    # Q = a: 0.75 is above; Q = 2 a: 0.5 (1.0) and 0.75 (1.5) are.
    for member, (slope, above) in enumerate(((1.0, {0.75}), (2.0, {0.5, 0.75}))):
        values = [slope * a for a in RANDOM] + [max(slope * a, 0.6) for a in (*NOW, *LATER)]
        weights = [math.exp(v - d) for v, d in zip(values, DENSITIES, strict=True)]
        moving = [*RANDOM, *(a if a in above else 0.0 for a in (*NOW, *LATER))]
        expected = sum(w * a for w, a in zip(weights, moving, strict=True)) / sum(weights) - 0.25
        close(gradient[member, 2], [expected])


def batch_of(*returns: float) -> Batch:
    rows = torch.zeros(len(returns), 1)
    return make_batch(rows, rows, returns=returns)


def test_random_actions_are_not_bounded():
    impl = build()
    sampled = torch.tensor([[[1.0], [-1.0], [0.5], [0.0], [-0.5], [0.75]]])  # [K=1, 3n=6, B=1]
    found = impl.bounded_values(sampled, batch_of(9.0, 2.0), slice(1, 2))
    close(found[0, :, 0], [1.0, -1.0, 2.0, 2.0, 2.0, 2.0])


def test_each_row_has_its_own_return():
    impl = build()
    sampled = torch.zeros(2, 6, 2)
    found = impl.bounded_values(sampled, batch_of(1.0, -1.0), slice(None))
    close(found[:, 2:, 0], torch.ones(2, 4).tolist())
    close(found[..., 1], torch.zeros(2, 6).tolist())


@pytest.mark.parametrize(
    "options", [{}, {"q_function": "qr", "n_quantiles": 3}, {"temperature": 0.5}], ids=str
)
def test_low_returns_leave_cql(options):
    losses = []
    for algo in (CQL, CalQL):
        front = algo(encoder=MLPEncoder((8,)), n_actions=3, seed=0, device="cpu", **options)
        impl = front.build(continuous_dataset()).impl
        batch = make_batch(STATES, [[0.25], [0.25]], [1.0, 0.0], discounts=[0.9, 0.9], returns=[-1e6, -1e6])
        losses.append(total(impl.critic_loss(batch))[0].item())
    assert losses[0] == losses[1]


def test_returns_are_those_of_the_episode_discounted():
    data = continuous_dataset(4)
    batch = CalQL(encoder=TABLE, seed=0, device="cpu", gamma=0.5, batch_size=64).sample_batch(data)
    wanted = [sum(0.5 ** (j - i) * float(data.rewards[j]) for j in range(i, 4)) for i in range(4)]
    found = sorted({round(float(value), 4) for value in batch.returns})
    assert found == sorted({round(value, 4) for value in wanted})


def test_learned_alpha_sees_the_bounded_gap():
    impl = build(gap_threshold=0.0)
    loss, metrics = total(impl.compute_alpha_loss(BATCH))
    means = [sum(soft_maximum(slope, bound) - slope / 4 for bound in RETURNS) / 2 for slope in (1.0, 2.0)]
    close(loss, -metrics["alpha"] * sum(means), atol=1e-4)


def test_learns_a_bandit_better_than_cloning():
    algo = CalQL(initial_temperature=0.01, alpha=0.1, n_actions=4, **BANDIT)
    assert bandit_error(algo, 400) < 0.12


@pytest.mark.parametrize(
    ("scaler", "factor"), [(None, 1.0), ({"type": "multiply", "multiplier": 10.0}, 10.0)]
)
def test_rows_played_online_bring_the_returns_of_their_trajectory(scaler, factor):
    data = continuous_dataset()
    algo = CalQL(encoder=TABLE, gamma=0.5, batch_size=64, reward_scaler=scaler, seed=0, device="cpu").build(
        data
    )
    memory = algo.make_sampler(data, capacity=10, keep=False)
    zeros = torch.zeros(2).numpy(), torch.zeros(1).numpy()
    for i, reward in enumerate((1.0, 2.0, 4.0)):
        memory.add(0, *zeros, reward, zeros[0], i == 2)
        assert memory.n_usable == 0  # Its return is not known yet.
    memory.finish(0)
    batch = memory.sample()
    found = dict(zip(batch.rewards.tolist(), batch.returns.tolist(), strict=True))
    # 4; 2 + 4 / 2 = 4; 1 + 4 / 2 = 3.
    assert found == {1.0 * factor: 3.0 * factor, 2.0 * factor: 4.0 * factor, 4.0 * factor: 4.0 * factor}


def test_returns_of_rows_played_online_bound_the_gap():
    impl = build()
    impl.enter_phase(online=True)
    data = impl.q.values(BATCH.observations, BATCH.actions)
    bounded = impl.conservative_gap(BATCH, data)
    free = impl.conservative_gap(BATCH.with_columns(returns=torch.tensor([-9.0, -9.0])), data)
    # As in `test_gap_by_hand`: the return 0.6 of row 0 holds two of four values up.
    expected = [sum(soft_maximum(slope, bound) for bound in (0.6, -9.0)) / 2 for slope in (1.0, 2.0)]
    lower = [soft_maximum(slope, -9.0) for slope in (1.0, 2.0)]
    close(bounded - free, sum(expected) - sum(lower))
    assert bounded > free

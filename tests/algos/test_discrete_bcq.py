"""Discrete BCQ by hand, and the golden numbers of an independent implementation."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import head_gradients, row_losses, total
from small_data import chain_dataset, chain_values, discrete_dataset, make_batch, two_steps
from table_networks import TABLE, one_hot, set_constant, set_table
from torch import Tensor

from offlinekit.algos import DiscreteBCQ, DoubleDQN, MLPEncoder
from offlinekit.datasets import MDPDataset

LOG2 = math.log(2.0)
ONLINE = [[[9.0, 0.0, 1.0], [0.0, 2.0, 7.0]]]  # [K=1, S=2, A=3]
TARGET = [[[1.0, 5.0, 2.0], [4.0, 6.0, 3.0]]]
BEHAVIOUR = [[0.0, 0.0, 0.0], [0.0, 0.0, -9.0]]  # In state 1, action 2 is all but never taken.


def make(**options: Any) -> DiscreteBCQ:
    return DiscreteBCQ(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset())


def set_tables(algo: DiscreteBCQ) -> None:
    set_table(algo.impl.q, ONLINE)
    set_table(algo.impl.target_q, TARGET)
    set_table(algo.impl.imitator, BEHAVIOUR)


steps = functools.partial(two_steps, [2, 0])


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-6, atol=1e-6)


class Golden:
    """The networks and draws of the recorded numbers, in their order."""

    def __init__(self, **options: Any) -> None:
        observations = np.zeros((3, 5), np.float32)
        dataset = MDPDataset(observations, np.arange(3), np.zeros(3), np.arange(3) == 2)
        encoder = MLPEncoder(hidden_sizes=(128,))
        options = {"threshold": 0.3, "logits_penalty": 0.0, "td_loss": "mse", **options}
        self.impl = DiscreteBCQ(encoder=encoder, seed=0, device="cpu", **options).build(dataset).impl
        self.rng = np.random.Generator(np.random.PCG64(seed=42))
        for network in (self.impl.q.network, self.impl.imitator):
            for layer in (network.mlp.layers[0], network.mlp.layers[2]):
                self.draw(layer)

    def draw(self, layer: Any) -> None:
        stacked = layer.weight.dim() == 3  # [1, inputs, outputs]; torch.nn.Linear is [outputs, inputs].
        shape = layer.weight[0].T.shape if stacked else layer.weight.shape
        weight = torch.as_tensor(self.rng.normal(self.rng.uniform(-0.5, 0.5), 0.1, shape))
        with torch.no_grad():
            layer.weight.copy_(weight.T[None] if stacked else weight)
            layer.bias.zero_()

    def states(self, n: int) -> Tensor:
        return torch.as_tensor(self.rng.standard_normal((n, 5), dtype=np.float32))

    def actions(self, n: int) -> Tensor:
        return torch.as_tensor(self.rng.choice(3, n))


@torch.no_grad()
def test_golden_numbers() -> None:
    golden = Golden()
    for expected in (
        [[-1.29940438, -0.79732537, -1.28455567], [-1.01962435, -1.08546841, -1.19889891]],
        [[-1.08598757, -1.12744570, -1.08301783], [-1.10690618, -1.07192361, -1.11757934]],
    ):
        close(torch.log_softmax(golden.impl.imitator(golden.states(2)), -1), expected)
    for imitation in (1.097770094871521, 1.147094488143921, 1.0680086612701416):
        batch = make_batch(golden.states(5), golden.actions(5))
        close(total(golden.impl.compute_imitator_loss(batch)), imitation)
    for best in (
        [4.21411991, 0.0, 28.97923660, 38.94561005, 33.75335693],
        [35.10310364, 15.52004814, 1.47012889, 37.41002274, 14.30604076],
    ):
        close(golden.impl.constrained_values(golden.states(5)).amax(-1), best)
    for chosen in ([2, 0, 2, 2, 2], [0, 2, 2, 1, 2]):
        assert golden.impl.predict_best_action(golden.states(5)).tolist() == chosen


def test_whole_loss_is_the_squared_difference_and_the_imitation() -> None:
    golden = Golden()
    impl = golden.impl
    states, following, actions = golden.states(5), golden.states(5), golden.actions(5)
    batch = make_batch(states, actions, torch.ones(5), next_observations=following, discounts=[0.5] * 5)
    chosen = impl.q.values(following)[0].argmax(-1)  # At threshold 0.3 these networks allow every action.
    rows = torch.arange(5)
    targets = 1.0 + 0.5 * impl.target_q.values(following)[0][rows, chosen]
    expected = (impl.q.values(states)[0][rows, actions] - targets).square().mean()
    expected = expected + torch.nn.functional.cross_entropy(impl.imitator(states), actions)
    metrics = impl.update(batch)
    close(metrics["critic_loss"] + metrics["imitator_loss"], expected.item())


def test_imitator_loss_and_gradient() -> None:
    impl = make(logits_penalty=0.1).impl
    log3 = math.log(3.0)
    set_table(impl.imitator, [[0.0, 0.0, log3], [0.0, 0.0, 0.0]])
    returned = impl.compute_imitator_loss(steps())
    loss = total(returned)
    # row 0, action 2: 3/5; row 1, action 0: 1/3; 0.1 * (log 3)^2 over 6 logits
    close(loss, (math.log(5 / 3) + log3) / 2 + 0.1 * log3**2 / 6)
    close(row_losses(returned), [math.log(5 / 3) + 0.1 * log3**2 / 3, log3])
    weight, _ = head_gradients(loss, impl.imitator)
    assert weight is not None
    # row 0: ((1, 1, 3)/5 - (0, 0, 1)) / 2, plus 0.1 * 2 log 3 / 6; row 1: ((1, 1, 1)/3 - (1, 0, 0)) / 2
    third = 0.2 * log3 / 6
    close(weight.T, [[0.1, 0.1, -0.2 + third], [-1 / 3, 1 / 6, 1 / 6]])


def test_default_penalty_is_that_of_the_source() -> None:
    impl = make().impl
    set_constant(impl.imitator, [2.0, 2.0, 2.0])
    # log 3 + 1e-2 * 4
    close(total(impl.compute_imitator_loss(steps())), math.log(3.0) + 0.04)


def test_target_takes_the_best_allowed_action_of_the_online_network() -> None:
    algo = make()
    set_tables(algo)
    # state 1: online (0, 2, 7), but action 2 is unlikely, so action 1, which the target values at 6:
    # 1 + 0.5 * 6 = 4; the end: -1
    close(algo.impl.compute_target(steps()), [4.0, -1.0])
    # n-step discounts: 1 + 0.81 * 6; state 0 allows all and online takes action 0: -1 + 0.1 * 1
    close(algo.impl.compute_target(steps(discounts=torch.tensor([0.81, 0.1]))), [5.86, -0.9])


def test_target_is_double_dqns_at_threshold_zero() -> None:
    algo = make(threshold=0.0)
    set_tables(algo)
    double = DoubleDQN(encoder=TABLE, seed=0, device="cpu").build(discrete_dataset()).impl
    set_table(double.q, ONLINE)
    set_table(double.target_q, TARGET)
    # online takes action 2, which the target values at 3: 1 + 0.5 * 3
    close(algo.impl.compute_target(steps()), [2.5, -1.0])
    assert torch.equal(algo.impl.compute_target(steps()), double.compute_target(steps()))


def test_mask_compares_probabilities_with_the_likeliest() -> None:
    algo = make(threshold=0.3)
    set_constant(algo.impl.q, [[1.0, 2.0, 3.0]])
    # logits 0, -1, -2: ratios 1, 0.368, 0.135; of their sum 1.503: 0.665, 0.245, 0.090
    set_constant(algo.impl.imitator, [0.0, -1.0, -2.0])
    values = algo.impl.constrained_values(one_hot([0], 2))
    # 0.368 of the likeliest passes, although its own probability 0.245 does not
    close(values, [[1.0, 2.0, -math.inf]])
    # The level of the logits does not matter: -9, -10, -11 are the same probabilities.
    set_constant(algo.impl.imitator, [-9.0, -10.0, -11.0])
    close(algo.impl.constrained_values(one_hot([0], 2)), [[1.0, 2.0, -math.inf]])


def test_mask_includes_its_threshold_and_keeps_the_likeliest() -> None:
    algo = make(threshold=1.0)
    set_constant(algo.impl.q, [[1.0, 5.0, 9.0]])
    set_constant(algo.impl.imitator, [2.0, 2.0, 1.0])
    close(algo.impl.constrained_values(one_hot([0], 2)), [[1.0, 5.0, -math.inf]])
    assert algo.predict(np.eye(2, dtype=np.float32)).tolist() == [1, 1]


def test_negative_values_do_not_lose_to_forbidden_actions() -> None:
    algo = make()
    set_constant(algo.impl.q, [[-5.0, -4.0, -1.0]])
    set_constant(algo.impl.imitator, [0.0, 0.0, -9.0])
    # A mask that multiplied by 0 would choose the forbidden action 2.
    assert algo.predict(np.eye(2, dtype=np.float32)).tolist() == [1, 1]
    # Its value is the chosen action's, not the maximum.
    assert algo.predict_value(np.eye(2, dtype=np.float32)).tolist() == [-4.0, -4.0]


def test_ensemble_mean_chooses_and_lowest_values() -> None:
    algo = make(n_critics=2, td_loss="mse")
    impl = algo.impl
    set_table(impl.imitator, BEHAVIOUR)
    set_table(impl.q, [[[0.0] * 3, [5.0, 1.0, 9.0]], [[0.0] * 3, [1.0, 6.0, 9.0]]])
    set_table(impl.target_q, [[[0.0] * 3, [9.0, 4.0, 0.0]], [[0.0] * 3, [9.0, 2.0, 0.0]]])
    # state 1: means (3, 3.5) among the allowed choose action 1: min(4, 2) = 2
    close(impl.compute_target(steps()), [2.0, -1.0])
    # members at (0, 2) and (1, 0): 0 and 5; 0 and 1 against 2 and -1: (4 + 36) / 2 + (4 + 4) / 2
    close(total(impl.critic_loss(steps())), 24.0)
    # masked: member 0 sees row 0 alone, member 1 row 1 alone: 4 + 4
    close(total(impl.critic_loss(steps(masks=torch.eye(2)))), 8.0)


def test_quantiles_of_the_best_allowed_action() -> None:
    algo = make(q_function="qr", n_quantiles=2)
    impl = algo.impl
    set_table(impl.imitator, BEHAVIOUR)
    zeros = [[0.0, 0.0]] * 3
    set_table(impl.q, torch.tensor([[zeros, [[3.0, 3.0], [0.0, 8.0], [9.0, 9.0]]]]).flatten(-2))
    set_table(impl.target_q, torch.tensor([[zeros, [[7.0, 7.0], [-2.0, 4.0], [0.0, 0.0]]]]).flatten(-2))
    # means (3, 4, forbidden): action 1: 1 + 0.5 * (-2, 4); the end: -1
    close(impl.compute_target(steps()), [[0.0, -1.0], [3.0, -1.0]])


@pytest.mark.parametrize(("td_loss", "expected"), [("mse", 5.0), ("huber", 1.5)])
def test_critic_loss_and_gradient(td_loss: str, expected: float) -> None:
    algo = make(td_loss=td_loss)
    set_tables(algo)
    loss = total(algo.impl.critic_loss(steps()))
    # Q(0, 2) = 1 against 4, Q(1, 0) = 0 against -1: (9 + 1) / 2, or (2.5 + 0.5) / 2
    close(loss, expected)
    scale = 1.0 if td_loss == "mse" else 1 / 2
    clipped = -3.0 if td_loss == "mse" else -1.0
    # 2 * error / 2, or the clipped error / 2
    close(head_gradients(loss, algo.impl.q)[0], [[[0.0, 0.0, clipped * scale], [scale, 0.0, 0.0]]])


def test_losses_keep_to_their_own_networks() -> None:
    algo = make()
    critic, imitator = total(algo.impl.critic_loss(steps())), total(algo.impl.compute_imitator_loss(steps()))
    assert head_gradients(critic, algo.impl.imitator) == (None, None)
    assert head_gradients(imitator, algo.impl.q) == (None, None)
    assert not any(parameter.requires_grad for parameter in algo.impl.target_q.parameters())


def test_update_trains_both_and_copies_the_target_every_interval() -> None:
    impl = make(target_update_interval=2, learning_rate=0.1).impl
    for step in range(1, 5):
        before = impl.imitator.mlp.layers[-1].weight.clone()
        metrics = impl.update(steps())
        assert set(metrics) == {"critic_loss", "imitator_loss"}
        assert not torch.equal(before, impl.imitator.mlp.layers[-1].weight)
        target, online = (net.network.mlp.layers[-1].weight for net in (impl.target_q, impl.q))
        assert torch.equal(target, online) == (step % 2 == 0)


def test_never_picks_an_unseen_action_and_learns_the_exact_values() -> None:
    missing = [(1, 0), (3, 0)]
    algo = DiscreteBCQ(
        encoder=TABLE,
        optimizer="sgd",
        learning_rate=0.5,
        td_loss="mse",
        gamma=0.9,
        batch_size=64,
        target_update_interval=10,
        seed=1,
        device="cpu",
    )
    algo.build(chain_dataset(missing))
    set_constant(algo.impl.q, [[50.0, 0.0]])  # Unseen values that plain Q-learning would follow.
    set_constant(algo.impl.target_q, [[50.0, 0.0]])
    algo.fit(chain_dataset(missing), n_steps=1_000, out=None, progress=False)
    assert algo.predict(np.eye(5, dtype=np.float32)).tolist() == [1] * 5
    values, exact = algo.impl.q.values(torch.eye(5)).detach()[0], chain_values(0.9)
    seen = torch.tensor([[(s, a) not in missing for a in range(2)] for s in range(5)])
    torch.testing.assert_close(values[seen], exact[seen], rtol=0, atol=1e-2)
    assert (values[~seen] > exact[~seen] + 1.0).all()  # The high values are still there, and not taken.

"""BFN: targets at the best of N actions of the flow, cloning by the flow, by hand."""

from __future__ import annotations

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import BFN
from offlinekit.algos.torch.bfn_impl import BFNImpl

NOISE = [[[0.4], [0.3]], [[-0.6], [-0.2]]]  # [N, B, A]


def build(**options: object) -> BFNImpl:
    given = {"n_candidates": 2, "flow_steps": 1, **options}
    return BFN(encoder=TABLE, seed=0, device="cpu", **given).build(continuous_dataset()).impl


def with_networks(monkeypatch, **options: object) -> BFNImpl:
    """The flow adds 0.1 to the given noise: actions (0.5, -0.5) in row 0, (0.4, -0.1) in row 1.

    Q1 = (1, 3) + 2 a, Q2 = (2, 3) - 3 a: by their mean the lower action is the better one.
    """
    impl = build(**options)
    set_constant(impl.policy.behaviour, [0.1])
    set_table(impl.q, [[[1.0], [3.0], [2.0]], [[2.0], [3.0], [-3.0]]])
    set_table(impl.target_q, [[[10.0], [20.0], [1.0]], [[30.0], [50.0], [3.0]]])
    noise = torch.tensor(NOISE)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise.reshape(shape))
    return impl


def batch_of_two(discounts=(0.5, 0.9)):
    return make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], discounts=list(discounts))


def test_target_is_the_target_critics_mean_at_the_best_action(monkeypatch):
    impl = with_networks(monkeypatch)
    # Means of Q: row 0 at 0.5: (2 + 0.5) / 2 = 1.25, at -0.5: (0 + 3.5) / 2 = 1.75; row 1: 2.8 and 3.05
    # a* = (-0.5, -0.1), though the min of the critics prefers 0.5 in row 0.
    # Q1' = (9.5, 19.9), Q2' = (28.5, 49.7): means (19, 34.8)
    close(impl.compute_target(batch_of_two()), [1.0 + 9.5, 2.0 + 0.9 * 34.8])
    close(impl.compute_target(batch_of_two((0.0, 0.0))), [1.0, 2.0])


def test_target_with_the_lowest_of_the_critics(monkeypatch):
    impl = with_networks(monkeypatch, target_value="min")
    # Row 0: min(2, 0.5) = 0.5 at 0.5, min(0, 3.5) = 0 at -0.5: a* = 0.5, where the mean prefers -0.5
    # Row 1: min(3.8, 1.8) at 0.4, min(2.8, 3.3) at -0.1: a* = -0.1
    # Q' lowest (10.5, 19.9)
    close(impl.compute_target(batch_of_two()), [1.0 + 0.5 * 10.5, 2.0 + 0.9 * 19.9])


def test_target_draws_at_the_next_observation(monkeypatch):
    impl = with_networks(monkeypatch)
    set_table(impl.policy.behaviour, [[0.1], [0.3], [0.0], [0.0]])
    batch = batch_of_two()._replace(next_observations=STATES.flip(0))
    # Row 0 is in state 1: 0.3 + (0.4, -0.6); row 1 in state 0: 0.1 + (0.3, -0.2): a* = (-0.3, -0.1)
    # Q1' = (19.7, 9.9), Q2' = (49.1, 29.7): means (34.4, 19.8)
    close(impl.compute_target(batch), [1.0 + 0.5 * 34.4, 2.0 + 0.9 * 19.8])


def test_quantile_critics_choose_by_their_means(monkeypatch):
    impl = with_networks(monkeypatch, q_function="qr", n_quantiles=2)
    # Quantiles of both critics at a: (0, -a): the lower action is the better one.
    set_table(impl.q, [[[0.0, 0.0], [0.0, 0.0], [0.0, -1.0]]] * 2)
    set_table(impl.target_q, [[[0.0, 6.0], [0.0, 6.0], [1.0, 1.0]], [[2.0, 10.0], [2.0, 10.0], [1.0, 1.0]]])
    # a* = (-0.5, -0.1); quantiles' means over critics (1, 8) + a*
    close(impl.compute_target(batch_of_two()), [[1.0 + 0.25, 2.0 + 0.9 * 0.9], [1.0 + 3.75, 2.0 + 0.9 * 7.9]])


def test_actor_loss_is_that_of_the_flow_and_reaches_it_alone(monkeypatch):
    impl = with_networks(monkeypatch)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: torch.tensor([[0.4], [-0.2]]))
    # a - noise = (0.5, -0.1): errors 0.1 - (0.5, -0.1) = (-0.4, 0.2), loss (0.16 + 0.04) / 2
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.3]]))
    loss = total(returned)
    close(loss, 0.1)
    close(row_losses(returned), [0.16, 0.04])
    close(head_gradients(loss, impl.policy.behaviour)[1], [-0.2])
    assert head_gradients(loss, impl.q) == (None, None)


def test_critics_loss_sends_no_gradient_to_the_flow(monkeypatch):
    impl = with_networks(monkeypatch)
    loss = total(impl.critic_loss(batch_of_two()))
    assert head_gradients(loss, impl.policy.behaviour) == (None, None)
    assert [objective.name for objective in impl.objectives] == ["critic", "actor"]


def test_acting_takes_the_best_candidate(monkeypatch):
    impl = with_networks(monkeypatch)
    close(impl.sample_action(STATES), [[-0.5], [-0.1]])
    impl.policy.noise.copy_(torch.tensor([[[0.3]], [[-0.2]]]))
    # Fixed noise gives 0.4 and -0.1 in every row; the mean of the critics falls with the action.
    close(impl.predict_best_action(STATES), [[-0.1], [-0.1]])


@pytest.mark.parametrize(("n_candidates", "low", "high"), [(32, 0.0, 0.15), (1, 0.2, 0.9)])
def test_the_best_of_many_is_better_than_cloning(n_candidates, low, high):
    algo = BFN(n_candidates=n_candidates, flow_steps=4, **BANDIT)
    assert low <= bandit_error(algo, 300) < high

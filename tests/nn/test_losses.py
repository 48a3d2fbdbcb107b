"""The arithmetic of losses at hand-computed points: values, gradients, shapes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from offlinekit.nn import losses as fn


def tensor(*values: object) -> Tensor:
    return torch.tensor(values[0] if len(values) == 1 else values, dtype=torch.float32)


def leaf(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def close(actual: Tensor, expected: object, atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=1e-5, atol=atol)


def gradient(total: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(total.sum(), of)[0]


# Expectiles.


@pytest.mark.parametrize(
    ("expectile", "expected"),
    [
        # errors 2, -3, 0: (0.7 * 4, 0.3 * 9, 0)
        (0.7, [2.8, 2.7, 0.0]),
        # (0.9 * 4, 0.1 * 9, 0)
        (0.9, [3.6, 0.9, 0.0]),
        # half the squared error
        (0.5, [2.0, 4.5, 0.0]),
    ],
)
def test_expectile_loss_values(expectile: float, expected: list[float]) -> None:
    close(fn.expectile_loss(tensor(2.0, -3.0, 0.0), expectile), expected)


def test_expectile_loss_gradient() -> None:
    errors = leaf([2.0, -3.0])
    # d/de = 2 * weight * e: 2 * 0.7 * 2 = 2.8 and 2 * 0.3 * -3 = -1.8
    close(gradient(fn.expectile_loss(errors, 0.7), errors), [2.8, -1.8])


def test_expectile_loss_keeps_the_shape_and_takes_a_tensor_expectile() -> None:
    losses = fn.expectile_loss(torch.ones(2, 3), torch.tensor(0.7))
    assert losses.shape == (2, 3)
    close(losses[0], [0.7, 0.7, 0.7])


def test_expectile_minimizer_lies_above_the_mean() -> None:
    # Two samples 0 and 1: d/dv [0.9 (1 - v)^2 + 0.1 v^2] = 0 at v = 0.9.
    prediction = leaf(0.9)
    close(gradient(fn.expectile_loss(tensor(0.0, 1.0) - prediction, 0.9), prediction), 0.0)


# Temporal differences.


def test_temporal_difference_loss_squared() -> None:
    values = leaf([[1.0, 2.0], [4.0, -1.0]])
    losses = fn.temporal_difference_loss(values, tensor(3.0, 1.0))
    # (1 - 3)^2 = 4, (2 - 1)^2 = 1; (4 - 3)^2 = 1, (-1 - 1)^2 = 4
    close(losses, [[4.0, 1.0], [1.0, 4.0]])
    # 2 * (value - target)
    close(gradient(losses, values), [[-4.0, 2.0], [2.0, -4.0]])


def test_temporal_difference_loss_huber() -> None:
    values = leaf([[1.0, 2.5, 5.0, 2.0]])
    losses = fn.temporal_difference_loss(values, tensor(3.0, 2.0, 2.0, 1.0), 1.0)
    # errors -2, 0.5, 3, 1: |e| - 1/2 beyond 1, e^2 / 2 within: 1.5, 0.125, 2.5, 0.5
    close(losses, [[1.5, 0.125, 2.5, 0.5]])
    # the error clipped to [-1, 1]
    close(gradient(losses, values), [[-1.0, 0.5, 1.0, 1.0]])


def test_temporal_difference_loss_of_targets_for_each_member() -> None:
    values = leaf([[1.0, 2.0], [4.0, -1.0]])
    losses = fn.temporal_difference_loss(values, tensor([3.0, 1.0], [4.0, 2.0]))
    # (1 - 3)^2 = 4, (2 - 1)^2 = 1; (4 - 4)^2 = 0, (-1 - 2)^2 = 9
    close(losses, [[4.0, 1.0], [0.0, 9.0]])
    close(gradient(losses, values), [[-4.0, 2.0], [0.0, -6.0]])


@pytest.mark.parametrize("huber_width", [None, 1.0])
@pytest.mark.parametrize("shape", [(3, 1), (1,), (), (3, 3), (2, 1), (1, 3), (3, 2), (1, 2, 3)])
def test_temporal_difference_loss_refuses_to_broadcast(
    shape: tuple[int, ...], huber_width: float | None
) -> None:
    with pytest.raises(ValueError, match=r"targets must have shape \[3\]"):
        fn.temporal_difference_loss(torch.zeros(2, 3), torch.zeros(shape), huber_width)


# Quantiles.


def test_quantile_huber_loss_of_one_row() -> None:
    quantiles = leaf([[[0.0], [2.0]]])  # [K=1, N=2, B=1], at levels 1/4 and 3/4
    losses = fn.quantile_huber_loss(quantiles, tensor([[1.0], [4.0]]))
    # errors target - quantile: from 0: 1, 4; from 2: -1, 2
    # huber (kappa 1): 0.5, 3.5; 0.5, 1.5
    # weights |level - 1[error < 0]|: 1/4, 1/4; |3/4 - 1| = 1/4, 3/4
    # weighted: 0.125, 0.875; 0.125, 1.125; mean over targets 0.5, 0.625; sum over quantiles 1.125
    close(losses, [[1.125]])
    # d/dq = -weight * clip(error), mean over targets:
    # -(0.25 * 1 + 0.25 * 1) / 2 = -0.25; -(0.25 * -1 + 0.75 * 1) / 2 = -0.25
    close(gradient(losses, quantiles), [[[-0.25], [-0.25]]])


def test_quantile_huber_loss_with_another_kappa() -> None:
    losses = fn.quantile_huber_loss(tensor([[[0.0]]]), tensor([[3.0]]), kappa=2.0)
    # error 3, level 1/2: 0.5 * 2 * (3 - 1) / 2 = 1
    close(losses, [[1.0]])
    # error 1, within kappa: 0.5 * (0.5 * 1) / 2 = 0.125
    close(fn.quantile_huber_loss(tensor([[[0.0]]]), tensor([[1.0]]), kappa=2.0), [[0.125]])


def test_quantile_huber_loss_of_an_ensemble_with_other_numbers_of_targets() -> None:
    quantiles = tensor([[[0.0, 1.0]], [[1.0, 1.0]]])  # [K=2, N=1, B=2], level 1/2
    targets = tensor([[0.5, 1.0], [1.0, 1.0], [-0.5, 4.0]])  # [M=3, B=2]
    # member 0, row 0: errors 0.5, 1, -0.5: 0.5 * (0.125 + 0.5 + 0.125) / 3 = 0.125
    # member 0, row 1: errors 0, 0, 3: 0.5 * 2.5 / 3 = 0.4166667
    # member 1, row 0: errors -0.5, 0, -1.5: 0.5 * (0.125 + 0 + 1) / 3 = 0.1875
    close(fn.quantile_huber_loss(quantiles, targets), [[0.125, 5 / 12], [0.1875, 5 / 12]])


def test_quantile_huber_loss_of_targets_for_each_member() -> None:
    quantiles = tensor([[[0.0, 1.0]], [[1.0, 1.0]]])  # [K=2, N=1, B=2], level 1/2
    targets = tensor([[[0.5, 1.0], [1.0, 3.0]], [[1.0, 1.5], [1.0, 0.0]]])  # [K=2, M=2, B=2]
    # member 0: errors 0.5, 1 and 0, 2: 0.5 * (0.125 + 0.5) / 2 = 0.15625 and 0.5 * 1.5 / 2 = 0.375
    # member 1: errors 0, 0 and 0.5, -1: 0 and 0.5 * (0.125 + 0.5) / 2 = 0.15625
    close(fn.quantile_huber_loss(quantiles, targets), [[0.15625, 0.375], [0.0, 0.15625]])


def test_quantile_huber_loss_without_an_ensemble() -> None:
    # One member less an axis: error 1 at level 1/2 costs 0.25.
    close(fn.quantile_huber_loss(tensor([[0.0]]), tensor([[1.0]])), [0.25])


# Ensembles.


def test_lower_confidence_bound() -> None:
    values = leaf([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0], [3.0, 2.0]])
    # Mean 3, squared deviations 4, 0, 4, 0: std sqrt(2) over K = 4; row 1 agrees
    close(fn.lower_confidence_bound(values, 2.0), [3.0 - 2.0 * 2.0**0.5, 2.0])
    # d / dv = 1 / 4 - 2 (v - 3) / (4 sqrt(2)); where all agree the deviation has no gradient
    slope = 1 / 2.0**0.5
    expected = [[0.25 + slope, 0.25], [0.25, 0.25], [0.25 - slope, 0.25], [0.25, 0.25]]
    close(gradient(fn.lower_confidence_bound(values, 2.0), values), expected)


def test_largest_singular_value() -> None:
    matrices = leaf([[[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], [[0.0, 2.0], [2.0, 0.0], [0.0, 1.0]]])
    found = fn.largest_singular_value(matrices)
    # |diag(3, 4)| = 4; W'W = [[4, 0], [0, 5]] in the second, sqrt(5)
    close(found, [4.0, 5.0**0.5])
    # Its gradient is u v': of the second u = (2, 0, 1) / sqrt(5), v = (0, 1)
    expected = [[[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [[0.0, 2 / 5**0.5], [0.0, 0.0], [0.0, 1 / 5**0.5]]]
    close(gradient(fn.largest_singular_value(matrices), matrices), expected)
    close(fn.largest_singular_value(matrices.transpose(1, 2)), [4.0, 5.0**0.5])
    close(fn.largest_singular_value(torch.zeros(2, 2)), 0.0)


@pytest.mark.parametrize("shape", [(2, 40, 40), (1, 6, 50), (3, 50, 1)])
def test_largest_singular_value_of_random_weights(shape: tuple[int, ...]) -> None:
    weights = torch.empty(shape).uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    exact = torch.linalg.matrix_norm(weights, ord=2)
    found = fn.largest_singular_value(weights)
    assert (found <= exact * 1.00001).all()
    close(found / exact, [1.0] * shape[0], atol=2e-3)


def test_select_actions_of_values_and_quantiles() -> None:
    values = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    actions = torch.tensor([2, 0])
    chosen = fn.select_actions(values, actions)
    close(chosen, [3.0, 4.0])
    close(gradient(chosen, values), [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    stacked = torch.arange(24.0).reshape(2, 2, 2, 3)  # [K, N, B, A]
    # rows of 3 start at 0, 3, 6, ...; row 0 takes index 2, row 1 index 0
    close(fn.select_actions(stacked, actions), [[[2.0, 3.0], [8.0, 9.0]], [[14.0, 15.0], [20.0, 21.0]]])


def test_lowest_member_sends_its_gradient_to_the_lowest_alone() -> None:
    values = leaf([[1.0, 5.0], [2.0, 4.0]])
    lowest = fn.lowest_member(values)
    close(lowest, [1.0, 4.0])
    close(gradient(lowest, values), [[1.0, 0.0], [0.0, 1.0]])


def test_lowest_distribution_takes_whole_members_by_their_mean() -> None:
    quantiles = leaf(
        [
            [[0.0, 0.0], [6.0, 1.0]],  # means 3, 0.5
            [[2.0, -1.0], [3.0, 3.0]],  # means 2.5, 1
        ]
    )  # [K, N, B]
    lowest = fn.lowest_distribution(quantiles)
    # row 0: member 1 (2.5 < 3), although member 0 has the lower quantile 0; row 1: member 0 (0.5 < 1)
    close(lowest, [[2.0, 0.0], [3.0, 1.0]])
    close(gradient(lowest, quantiles), [[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])


# Conservative values.


def test_conservative_gap_over_discrete_actions() -> None:
    values = leaf([[[0.0], [math.log(3.0)]]])  # [K=1, M=2, B=1]
    data = leaf([[math.log(3.0)]])
    gap = fn.conservative_gap(values, data)
    # log(1 + 3) - log 3 = log(4/3)
    close(gap, [[math.log(4 / 3)]])
    # softmax of (0, log 3) = (1/4, 3/4); -1 to the data's action
    close(gradient(gap, values), [[[0.25], [0.75]]])
    close(gradient(fn.conservative_gap(values, data), data), [[-1.0]])


def test_conservative_gap_weighs_by_densities() -> None:
    values = leaf([[[1.0], [0.0]]])
    log_densities = tensor([[math.log(0.5)], [math.log(0.25)]])
    gap = fn.conservative_gap(values, tensor([[0.0]]), log_densities)
    # log(e / 0.5 + 1 / 0.25) = log(2e + 4)
    close(gap, [[math.log(2 * math.e + 4)]])
    # 2e / (2e + 4), 4 / (2e + 4)
    share = math.e / (math.e + 2)
    close(gradient(gap, values), [[[share], [1 - share]]])


def test_conservative_gap_with_a_temperature() -> None:
    gap = fn.conservative_gap(tensor([[[0.0], [2.0]]]), tensor([[0.5]]), temperature=2.0)
    # 2 * log(e^0 + e^1) - 0.5
    close(gap, [[2 * math.log(1 + math.e) - 0.5]])


def test_conservative_gap_keeps_members_and_rows_apart() -> None:
    values = torch.zeros(2, 3, 2)  # [K, M, B]: three actions of value 0: log 3
    values[1, :, 1] = 1.0  # member 1, row 1: log(3e) = log 3 + 1
    log3 = math.log(3.0)
    close(fn.conservative_gap(values, torch.zeros(2, 2)), [[log3, log3], [log3, log3 + 1]])


# Behaviour models and weights.


def test_likely_actions_compares_with_the_likeliest() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.08, 0.02]]).log()
    # ratios 1, 0.6, 0.4; 1, 0.089, 0.022
    assert fn.likely_actions(log_probs, 0.5).tolist() == [[True, True, False], [True, False, False]]
    assert fn.likely_actions(log_probs, 0.3).tolist() == [[True, True, True], [True, False, False]]
    assert fn.likely_actions(log_probs, 0.0).all()


def test_likely_actions_includes_the_threshold_itself() -> None:
    log_probs = torch.log_softmax(tensor([[1.0, 1.0, 0.0]]), -1)
    # ratios 1, 1, e^-1: at threshold 1 the two likeliest tie and stay
    assert fn.likely_actions(log_probs, 1.0).tolist() == [[True, True, False]]


def test_exponential_weights_are_capped_and_without_gradient() -> None:
    advantages = leaf([0.0, 1.0, -2.0, 10.0])
    weights = fn.exponential_weights(advantages, 3.0)
    # e^0, e^3, e^-6, min(e^30, 100)
    close(weights, [1.0, math.exp(3), math.exp(-6), 100.0], atol=1e-5)
    assert not weights.requires_grad
    close(fn.exponential_weights(advantages, 3.0, maximum=2.0), [1.0, 2.0, math.exp(-6), 2.0])


def test_exponential_weights_with_beta_zero_are_one() -> None:
    close(fn.exponential_weights(tensor(-5.0, 7.0), 0.0), [1.0, 1.0])


def test_temperature_loss_value_and_gradients() -> None:
    log_temperature, log_probs = leaf(math.log(2.0)), leaf([-1.0, -3.0])
    rows = fn.temperature_loss(log_temperature, log_probs, -1.0)
    # -2 * (-1 - 1), -2 * (-3 - 1) = (4, 8), whose mean is 6
    close(rows, [4.0, 8.0])
    # entropy 2 lies above its target -1: descent lowers log alpha; d/d log alpha = alpha * 3 = 6
    found = torch.autograd.grad(rows.mean(), [log_temperature, log_probs], allow_unused=True)
    close(found[0], 6.0)
    assert found[1] is None


def test_imitation_loss_value_and_gradient() -> None:
    logits = leaf([[0.0, math.log(3.0)], [0.0, 0.0]])
    rows = fn.imitation_loss(logits, torch.tensor([1, 0]))
    # -log 3/4 and -log 1/2
    close(rows, [math.log(4 / 3), math.log(2)])
    # (softmax - one-hot) / 2: (1/4, 3/4 - 1) / 2; (1/2 - 1, 1/2) / 2
    close(gradient(rows.mean(), logits), [[0.125, -0.125], [-0.25, 0.25]])


def test_imitation_loss_penalty_is_the_mean_squared_logit() -> None:
    logits = leaf([[2.0, 0.0], [0.0, 4.0]])
    actions = torch.tensor([0, 1])
    added = fn.imitation_loss(logits, actions, 0.1) - fn.imitation_loss(logits, actions)
    # 0.1 * (4 + 0) / 2 and 0.1 * (0 + 16) / 2
    close(added, [0.2, 0.8])
    # of their mean, 0.1 * 2 * logit / 4
    close(gradient(added.mean(), logits), [[0.1, 0.0], [0.0, 0.2]])


# Densities.


def test_normal_log_prob_sums_dimensions() -> None:
    values = leaf([[1.0, 2.0]])
    log_stds = tensor([[0.0, math.log(2.0)]])
    found = fn.normal_log_prob(values, torch.zeros(1, 2), log_stds)
    # -1/2 * 1 - 0 + -1/2 * (2/2)^2 - log 2 - log(2 pi)
    close(found, [-0.5 - 0.5 - math.log(2.0) - math.log(2 * math.pi)])
    # -(x - mu) / sigma^2: -1, -2/4
    close(gradient(found, values), [[-1.0, -0.5]])


def test_normal_log_prob_with_shared_parameters() -> None:
    values = torch.zeros(3, 2, 1)
    found = fn.normal_log_prob(values, tensor([[0.0], [1.0]]), tensor([0.0]))
    # -1/2 log(2 pi), and 1/2 less one standard deviation away
    base = -0.5 * math.log(2 * math.pi)
    close(found, [[base, base - 0.5]] * 3)


def test_tanh_log_volume_matches_its_definition_and_is_stable() -> None:
    raw = leaf([[0.5, -1.0]])
    found = fn.tanh_log_volume(raw)
    # log(1 - tanh(0.5)^2) + log(1 - tanh(-1)^2)
    close(found, [math.log(1 - math.tanh(0.5) ** 2) + math.log(1 - math.tanh(1.0) ** 2)])
    # d/du log(1 - tanh^2) = -2 tanh u
    close(gradient(found, raw), [[-2 * math.tanh(0.5), 2 * math.tanh(1.0)]])
    # for large |u|: 2 (log 2 - |u|); both signs, and no infinity
    close(fn.tanh_log_volume(tensor([[50.0], [-50.0]])), [2 * (math.log(2.0) - 50.0)] * 2, atol=1e-4)


# Shapes: every function refuses what would broadcast across the batch.

ROWS, COLUMN = torch.zeros(3), torch.zeros(3, 1)
LABELS = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fn.quantile_huber_loss(torch.zeros(2, 4, 3), ROWS),
        lambda: fn.quantile_huber_loss(torch.zeros(2, 4, 3), torch.zeros(4, 1)),
        lambda: fn.select_actions(torch.zeros(3, 2), LABELS[:, None]),
        lambda: fn.select_actions(torch.zeros(3, 2), LABELS[:1]),
        lambda: fn.lowest_member(ROWS),
        lambda: fn.lowest_distribution(torch.zeros(2, 3)),
        lambda: fn.conservative_gap(torch.zeros(2, 4, 3), ROWS),
        lambda: fn.conservative_gap(torch.zeros(2, 4, 3), torch.zeros(2, 1)),
        lambda: fn.conservative_gap(torch.zeros(2, 4, 3), torch.zeros(2, 3), ROWS),
        lambda: fn.likely_actions(ROWS, 0.3),
        lambda: fn.temperature_loss(torch.zeros(()), COLUMN, 1.0),
        lambda: fn.temperature_loss(torch.zeros(1), ROWS, 1.0),
        lambda: fn.imitation_loss(torch.zeros(3, 2), LABELS[:, None]),
        lambda: fn.imitation_loss(torch.zeros(3, 2), torch.zeros(3)),
    ],
)
def test_wrong_shapes_are_refused(call: object) -> None:
    # The annotations are enforced under pytest by the import hook in tests/conftest.py.
    with pytest.raises(Exception, match="Type-check error"):
        call()  # type: ignore[operator]


# Ensembles mixed, samples chosen, divergences.


def test_mixed_members() -> None:
    values = leaf([[[1.0, 4.0]], [[3.0, 2.0]], [[2.0, 3.0]]])  # [K=3, M=1, B=2]
    mixed = fn.mixed_members(values, 0.75)
    # 0.75 * 1 + 0.25 * 3, 0.75 * 2 + 0.25 * 4
    close(mixed, [[1.5, 2.5]])
    close(gradient(mixed, values), [[[0.75, 0.25]], [[0.25, 0.75]], [[0.0, 0.0]]])


def test_select_samples() -> None:
    samples = tensor([[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]])  # [M=2, B=2, A=2]
    close(fn.select_samples(samples, torch.tensor([1, 0])), [[4.0, 5.0], [2.0, 3.0]])


def test_standard_normal_kl() -> None:
    means, log_stds = leaf([0.0, 1.0, 0.0]), leaf([0.0, 0.0, math.log(2.0)])
    divergence = fn.standard_normal_kl(means, log_stds)
    # (m^2 + s^2 - 1) / 2 - log s: 0; 1 / 2; 3 / 2 - log 2
    close(divergence, [0.0, 0.5, 1.5 - math.log(2.0)])
    close(gradient(divergence, means), [0.0, 1.0, 0.0])
    close(gradient(fn.standard_normal_kl(means, log_stds), log_stds), [0.0, 0.0, 3.0])

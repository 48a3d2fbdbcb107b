"""The arithmetic of losses: pure functions of tensors, without networks and without a config.

Shapes: B rows of a batch, K members of an ensemble, N quantiles, M sampled actions, A action dimensions or discrete
actions. The batch axis of values comes last, so that a scalar a row [B] meets [K, B] and [N, B] by broadcasting alone.
"""

from __future__ import annotations

import math
from typing import TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from offlinekit.envs.legal_actions import LEGAL_ACTIONS
from offlinekit.nn.isolation import chosen_by
from offlinekit.sampling.batch import TensorTree

Scalar: TypeAlias = float | Tensor
"""A hyperparameter: a number, or a 0-d tensor if each member of a population has its own."""
N = TypeVar("N", float, Tensor)
FLOOR = -1e9
"""Output for an illegal action: finite, as 0 * infinity is no number, and with a softmax of exactly 0."""


def floored(outputs: Tensor, observations: TensorTree) -> Tensor:
    """Returns outputs [..., B, A] with `FLOOR` for the actions that are illegal at observations [B, ...]."""
    legal = observations.get(LEGAL_ACTIONS) if isinstance(observations, dict) else None
    return outputs if not isinstance(legal, Tensor) else outputs.masked_fill(~(legal >= 1), FLOOR)


def are_legal(outputs: Float[Tensor, "*S"]) -> Bool[Tensor, "*S"]:
    """Returns which outputs, logits or log-probabilities are those of legal actions."""
    return outputs > 0.5 * FLOOR


def expectile_loss(errors: Float[Tensor, "*S"], expectile: Scalar) -> Float[Tensor, "*S"]:
    """Returns |expectile - 1[error < 0]| * error**2, elementwise.

    With errors = target - prediction and expectile > 0.5, predicting too low costs more than predicting
    too high, so the minimizer lies above the mean.
    Source: Kostrikov et al. 2021, arXiv:2110.06169, eq. (5).

    Args:
        errors: Any shape, target - prediction.
        expectile: In (0, 1); 0.5 gives half the squared error.
    """
    weights = torch.where(errors < 0, 1.0 - expectile, expectile).to(errors.dtype)
    return weights * errors.square()


def temporal_difference_loss(values: Tensor, targets: Tensor, huber_width: float | None = None) -> Tensor:
    """Returns (value - target)**2, or its Huber loss of a width d, elementwise.

    Args:
        values: [K, B] predictions of the members.
        targets: [B], the same for all members, or [K, B].
        huber_width: d > 0; errors beyond it cost d (|error| - d / 2), smaller ones half their square.

    Raises:
        ValueError: If a row of values would meet the target of another row by broadcasting.
    """
    if targets.shape not in (values.shape, values.shape[1:]):
        raise ValueError(
            f"targets must have shape {list(values.shape[1:])}, one for each row of values "
            f"{list(values.shape)}, or a row for each member too, got {list(targets.shape)}; "
            "compute_target returns [B] or [K, B]"
        )
    targets = targets.expand_as(values)
    if huber_width is None:
        return F.mse_loss(values, targets, reduction="none")
    return F.huber_loss(values, targets, reduction="none", delta=huber_width)


def quantile_huber_loss(
    quantiles: Float[Tensor, "*K N B"], targets: Float[Tensor, "*T M B"], kappa: float = 1.0
) -> Float[Tensor, "*K B"]:
    """Returns the quantile Huber loss of each row: a sum over N quantiles, a mean over M target samples.

    Source: Dabney et al. 2017, arXiv:1710.10044, eq. (9) and (10), at the midpoints tau = (2i + 1) / (2N).

    Args:
        quantiles: Predicted quantiles of the return, lowest first.
        targets: Samples of the target distribution, [M, B], or [K, M, B] if each member has its own.
        kappa: Half-width of the quadratic region, > 0, in units of return.
    """
    n_quantiles = quantiles.shape[-2]
    steps = torch.arange(n_quantiles, device=quantiles.device, dtype=quantiles.dtype)
    levels = ((2 * steps + 1) / (2 * n_quantiles))[:, None, None]
    errors = targets.unsqueeze(-3) - quantiles.unsqueeze(-2)  # [K, N, M, B]
    near = errors.clamp(-kappa, kappa)
    huber = near * (errors - 0.5 * near) / kappa  # e**2 / 2 within kappa, kappa * (|e| - kappa / 2) beyond.
    return torch.where(errors < 0, 1.0 - levels, levels).mul(huber).mean(-2).sum(-2)


def select_actions(values: Float[Tensor, "*S B A"], actions: Int[Tensor, " B"]) -> Float[Tensor, "*S B"]:
    """Returns the value of the given action in each row: values[..., b, actions[b]]."""
    index = actions[:, None].expand(*values.shape[:-1], 1)
    return values.gather(-1, index).squeeze(-1)


def expectation(log_probs: Float[Tensor, "B A"], values: Float[Tensor, "*S B A"]) -> Float[Tensor, "*S B"]:
    """Returns the mean of values over discrete actions drawn with the given log-probabilities."""
    return (log_probs.exp() * values).sum(-1)


def lowest_member(values: Float[Tensor, "K B"]) -> Float[Tensor, " B"]:
    """Returns the smallest value over the members of an ensemble, row by row."""
    return values.amin(0)


def lowest_distribution(quantiles: Float[Tensor, "K N B"]) -> Float[Tensor, "N B"]:
    """Returns, row by row, all quantiles of the member whose mean is lowest."""
    member = quantiles.mean(1).argmin(0)  # [B]
    index = member.expand(1, quantiles.shape[1], -1)
    return quantiles.gather(0, index).squeeze(0)


def lower_confidence_bound(values: Float[Tensor, "K B"], deviations: Scalar) -> Float[Tensor, " B"]:
    """Returns the mean over members less so many standard deviations of them, row by row.

    The deviation is that of the K members as they are, divided by K and not by K - 1.
    Source: Ghasemipour et al. 2022, arXiv:2205.13703.

    Args:
        values: Of the members.
        deviations: >= 0; minus the paper's beta.
    """
    return values.mean(0) - deviations * values.std(0, correction=0)


def mixed_members(values: Float[Tensor, "K ..."], min_weight: Scalar) -> Float[Tensor, ...]:
    """Returns min_weight * min + (1 - min_weight) * max over the members of an ensemble.

    Source: Fujimoto et al. 2019, arXiv:1812.02900, eq. (13).
    """
    return min_weight * values.amin(0) + (1.0 - min_weight) * values.amax(0)


def mean_of_pairs(outputs: Tensor, values: Float[Tensor, "K B"]) -> Tensor:
    """Returns the mean over the K (K - 1) / 2 pairs of members of what the lower of the two gives.

    Of sorted values q_0 <= q_1 <= ... the i-th is the lower in K - 1 - i pairs, so no pair is looked at.
    Source: Zhao et al. 2023, arXiv:2306.06871.

    Args:
        outputs: [K, ..., B], values or quantiles.
        values: By which members are compared.
    """
    members = len(values)
    ranks = values.argsort(0).argsort(0)
    shares = (members - 1 - ranks) / (members * (members - 1) / 2)
    return (shares.reshape(members, *(1,) * (outputs.ndim - 2), -1) * outputs).sum(0)


def soft_maximum(
    sampled: Float[Tensor, "K M B"],
    log_densities: Float[Tensor, "M B"] | None = None,
    temperature: Scalar = 1.0,
) -> Float[Tensor, "K B"]:
    """Returns logsumexp over M actions of Q - log density.

    All sampled actions stand in ONE logsumexp; with their log-densities it estimates
    log integral exp(Q(s, a)) da up to the constant log M, without them it is the sum over discrete actions.

    Args:
        sampled: Values of the sampled actions.
        log_densities: Log of the density each action was drawn from; None counts every action once.
        temperature: > 0; the result is temperature * logsumexp(. / temperature).
    """
    exponents = sampled / temperature
    if log_densities is not None:
        exponents = exponents - log_densities
    return temperature * torch.logsumexp(exponents, 1)


def conservative_gap(
    sampled: Float[Tensor, "K M B"],
    data: Float[Tensor, "K B"],
    log_densities: Float[Tensor, "M B"] | None = None,
    temperature: Scalar = 1.0,
) -> Float[Tensor, "K B"]:
    """Returns the soft maximum over M sampled actions less the value of the data's action.

    Source: Kumar et al. 2020, arXiv:2006.04779, eq. (4) and appendix F.
    """
    return soft_maximum(sampled, log_densities, temperature) - data


def likely_actions(log_probs: Float[Tensor, "B A"], threshold: Scalar) -> Bool[Tensor, "B A"]:
    """Returns whether G(a|s) / max G(.|s) >= threshold; threshold 0 allows every action.

    Source: Fujimoto et al. 2019, arXiv:1910.01708, eq. (10).

    Args:
        log_probs: Log-probabilities of the behaviour model G.
        threshold: In [0, 1].
    """
    ratios = (log_probs - log_probs.amax(-1, keepdim=True)).exp()
    return ratios >= threshold


def best_actions(actions: Float[Tensor, "M B A"], values: Float[Tensor, "M B"]) -> Float[Tensor, "B A"]:
    """Returns, row by row, the one of M actions whose value is highest."""
    index = values.argmax(0)[None, :, None].expand(1, -1, actions.shape[-1])
    return chosen_by(values, actions.gather(0, index).squeeze(0), 0)


def exponential_weights(
    advantages: Float[Tensor, "*S"], beta: Scalar, maximum: Scalar = 100.0
) -> Float[Tensor, "*S"]:
    """Returns min(exp(beta * advantage), maximum), without gradient.

    Source: Kostrikov et al. 2021, arXiv:2110.06169, eq. (7) and its code's cap of 100.

    Args:
        advantages: Any shape, in units of return.
        beta: Inverse temperature, >= 0.
        maximum: Upper bound of a weight.
    """
    return (beta * advantages.detach()).exp().clamp(max=maximum)


def gradient_alignment(gradients: Float[Tensor, "K B A"]) -> Float[Tensor, " B"]:
    """Returns the sum over pairs i != j of the cosines between members' gradients, over K - 1.

    Source: An et al. 2021, arXiv:2110.01548, eq. (5) and its code's 1e-10 beside the norm.

    Args:
        gradients: Of each member's value by the action.
    """
    directions = gradients / (torch.linalg.vector_norm(gradients, dim=-1, keepdim=True) + 1e-10)
    everyone = directions.sum(0).square().sum(-1)  # Of all pairs, each member with itself too.
    others: Tensor = everyone - directions.square().sum((0, 2))
    return others / max(len(gradients) - 1, 1)


def gumbel_loss(
    errors: Float[Tensor, "*S B"], temperature: Scalar, maximum: Scalar = math.inf
) -> Float[Tensor, "*S B"]:
    """Returns (exp(z) - z - 1) / exp(max z) with z = min(error / temperature, maximum).

    The minimizer is temperature * log mean exp(. / temperature) of what the errors are taken from. The
    division, by at least exp(-1) and without gradient, keeps one far row from overflowing the loss.
    Source: Garg et al. 2023, arXiv:2301.02328, eq. (11), and its code's bound and scale.

    Args:
        errors: Target - prediction.
        temperature: > 0, in units of return.
        maximum: Upper bound of z, without gradient beyond.
    """
    exponents = (errors / temperature).clamp(max=maximum)
    largest = exponents.detach().amax().clamp(min=-1.0)
    return (exponents - largest).exp() - (exponents + 1.0) * (-largest).exp()


def temperature_loss(
    log_temperature: Float[Tensor, ""], log_probs: Float[Tensor, " B"], target_entropy: Scalar
) -> Float[Tensor, " B"]:
    """Returns -alpha * (log pi + target entropy), row by row, with a gradient to the temperature alone.

    It grows alpha while the policy's entropy is below its target.
    Source: Haarnoja et al. 2018, arXiv:1812.05905, eq. (18).
    """
    return -log_temperature.exp() * (log_probs.detach() + target_entropy)


def select_samples(samples: Float[Tensor, "M B A"], index: Int[Tensor, " B"]) -> Float[Tensor, "B A"]:
    """Returns in each row the sampled action of the given number: samples[index[b], b]."""
    return torch.take_along_dim(samples, index[None, :, None], 0).squeeze(0)


def standard_normal_kl(means: Float[Tensor, "*S"], log_stds: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Returns KL(N(mean, std) || N(0, 1)), elementwise.

    Source: Kingma and Welling 2013, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (means.square() + (2.0 * log_stds).exp() - 1.0) - log_stds


def squared_error(
    predictions: Float[Tensor, "*S A"], targets: Float[Tensor, "*S A"], weights: Tensor | None = None
) -> Float[Tensor, "*S"]:
    """Returns the mean of squared errors over the last axis, each times its weight, those of weight 0 counted."""
    errors = (predictions - targets).square()
    return errors.mean(-1) if weights is None else (weights * errors).mean(-1)


def log_signal(share: N) -> N:
    """Returns the log of what a variance-preserving diffusion leaves of the data's variance after a share of its steps.

    It is the product of exp(-b / T - (B - b) (2 t - 1) / (2 T^2)) over steps t = 1..share * T, b = 0.1, B = 10.
    Source: Xiao et al. 2021, arXiv:2112.07804; Wang et al. 2023, arXiv:2208.06193, appendix B.

    Args:
        share: In [0, 1], of the T steps.
    """
    return -share * (0.1 + 0.5 * (10.0 - 0.1) * share)


def maximum_mean_discrepancy(
    first: Float[Tensor, "M B A"], second: Float[Tensor, "N B A"], kernel: str, width: Scalar
) -> Float[Tensor, " B"]:
    """Returns, row by row, sqrt(mean k(x, x') + mean k(y, y') - 2 mean k(x, y) + 1e-6) over two sets of samples.

    k is exp(-|x - y|_1 / (2 width)) or exp(-|x - y|_2^2 / (2 width)). It is small if one set is covered by
    the other, whatever the densities there.
    Source: Kumar et al. 2019, arXiv:1906.00949, section 4.2; kernels and root are those of its code.

    Args:
        first: Samples x.
        second: Samples y.
        kernel: "laplacian" or "gaussian".
        width: > 0.
    """

    def similarity(some: Tensor, others: Tensor) -> Tensor:
        differences = some[:, None] - others
        distances = differences.abs() if kernel == "laplacian" else differences.square()
        return (-distances.sum(-1) / (2.0 * width)).exp().mean((0, 1))

    squares = similarity(first, first) + similarity(second, second) - 2.0 * similarity(first, second)
    return (squares.clamp(min=0.0) + 1e-6).sqrt()


def largest_singular_value(matrices: Float[Tensor, "*S I O"], n_squares: int = 6) -> Float[Tensor, "*S"]:
    """Returns |W v| of each matrix, v found by power iteration from a vector of ones, without gradient.

    Squaring W'W n times does 2**n steps at once. The value approaches the largest singular value from below,
    and so does its gradient that of the value.
    Source: Miyato et al. 2018, arXiv:1802.05957, appendix A.

    Args:
        matrices: W.
        n_squares: A network's weights are within a thousandth after 6.
    """
    if matrices.shape[-1] > matrices.shape[-2]:
        matrices = matrices.transpose(-1, -2)  # The same singular values, smaller squares.
    with torch.no_grad():
        power = matrices.transpose(-1, -2) @ matrices
        for _ in range(n_squares):
            power = power / torch.linalg.matrix_norm(power, keepdim=True).clamp(min=1e-30)
            power = power @ power
        direction = F.normalize(power.sum(-1, keepdim=True), dim=-2)  # [..., O, 1]
    norm: Tensor = torch.linalg.vector_norm(matrices @ direction, dim=(-1, -2))
    return norm


def normal_log_prob(
    values: Float[Tensor, "*S A"], means: Float[Tensor, "*T A"], log_stds: Float[Tensor, "*U A"]
) -> Float[Tensor, "*S"]:
    """Returns the log-density of a diagonal Gaussian, summed over the last axis."""
    scores = (values - means) * (-log_stds).exp()
    return -0.5 * scores.square().sum(-1) - (log_stds + 0.5 * math.log(2 * math.pi)).sum(-1)


def softly_bounded(values: Float[Tensor, "*S"], low: Scalar, high: Scalar) -> Float[Tensor, "*S"]:
    """Returns values drawn into (low, high), elementwise: nearly themselves well inside, with a gradient everywhere.

    Source: Chua et al. 2018, arXiv:1805.12114, appendix A.1.

    Args:
        values: Such as log standard deviations.
        low: Lower bound; it stays below the result.
        high: Upper bound, which the result exceeds by no more than log(1 + exp(low - high)).
    """
    below = high - F.softplus(high - values)
    return low + F.softplus(below - low)


def gaussian_fit(
    means: Float[Tensor, "*S"], log_variances: Float[Tensor, "*S"], outcomes: Float[Tensor, "*S"]
) -> Float[Tensor, "*S"]:
    """Returns (mean - outcome)**2 exp(-log variance) + log variance, elementwise: twice -log N less a constant.

    Source: Chua et al. 2018, arXiv:1805.12114, eq. (1).
    """
    return (means - outcomes).square() * (-log_variances).exp() + log_variances


def largest_deviation(log_stds: Float[Tensor, "K B D"]) -> Float[Tensor, " B"]:
    """Returns max_k |std_k|, the largest of the members' norms of deviations.

    Source: Yu et al. 2020, arXiv:2005.13239, section 5.
    """
    return log_stds.exp().square().sum(-1).sqrt().amax(0)


def largest_distance_to_mean(means: Float[Tensor, "K B D"]) -> Float[Tensor, " B"]:
    """Returns max_k |mean_k - mean over members|."""
    return (means - means.mean(0)).square().sum(-1).sqrt().amax(0)


def mean_variance_root(
    means: Float[Tensor, "K B D"], counted: Bool[Tensor, "K B"] | None = None
) -> Float[Tensor, " B"]:
    """Returns the root of the mean over dimensions of the variance of all members, or of those that count for a row."""
    if counted is None:
        return means.var(0, correction=0).mean(-1).sqrt()
    shares = (counted.to(means.dtype) / counted.sum(0)).unsqueeze(-1)
    return (shares * (means - (shares * means).sum(0)).square()).sum(0).mean(-1).sqrt()


def largest_distance(means: Float[Tensor, "K B D"]) -> Float[Tensor, " B"]:
    """Returns the largest distance between two members, max_ij |mean_i - mean_j|.

    Source: Kidambi et al. 2020, arXiv:2005.05951, eq. (2).
    """
    differences = means.unsqueeze(0) - means.unsqueeze(1)
    return differences.square().sum(-1).amax((0, 1)).sqrt()


def has_improved(
    best: Float[Tensor, " K"], errors: Float[Tensor, " K"], least: float = 0.01
) -> Bool[Tensor, " K"]:
    """Returns which errors lie below the best so far by more than a share of it, (best - error) / best > least.

    Args:
        best: The lowest of each member so far; infinity before the first.
        errors: Now.
        least: The share.
    """
    return errors < (1.0 - least) * best


def tanh_log_volume(raw: Float[Tensor, "*S A"]) -> Float[Tensor, "*S"]:
    """Returns log |d tanh(u) / du| = log(1 - tanh(u)**2) summed over the last axis, stable for large |u|.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C, eq. (26), rearranged.
    """
    return (2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))).sum(-1)


def imitation_loss(
    logits: Float[Tensor, "B A"], actions: Int[Tensor, " B"], penalty: Scalar = 0.0
) -> Float[Tensor, " B"]:
    """Returns the negative log-likelihood of discrete actions plus penalty * mean(logits**2), row by row.

    Illegal actions, whose logits are at a floor, count 0 in the mean.

    Args:
        logits: Unnormalised log-probabilities.
        actions: The data's actions.
        penalty: >= 0. Source: 1e-2 in the code of Fujimoto et al. 2019, arXiv:1910.01708.
    """
    log_probs = torch.log_softmax(logits, -1)
    penalised = torch.where(are_legal(logits), logits, 0.0)
    return -select_actions(log_probs, actions) + penalty * penalised.square().mean(-1)

"""Arithmetic of ensembles: what several members give, as one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


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


def matched_moments(means: Float[Tensor, "K ..."], log_stds: Float[Tensor, "K ..."]) -> tuple[Tensor, Tensor]:
    """Returns mean and log standard deviation of the equal mixture of K Gaussians.

    Its variance is mean_k(mean_k^2 + std_k^2) - (mean_k mean_k)^2.
    Source: Lee et al. 2021, arXiv:2107.00591.

    Args:
        means: Of the Gaussians.
        log_stds: Likewise.
    """
    mean = means.mean(0)
    variance = ((means - mean).square() + (2.0 * log_stds).exp()).mean(0)
    return mean, 0.5 * torch.log(variance)

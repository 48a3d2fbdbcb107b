"""How much likelier a row is among new ones than among recorded ones, learned from rows of both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.ground.action_spaces import check_countable
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree

LEAST = 1e-10
"""Added inside logarithms, as in the authors' code."""


class DensityRatio(nn.Module):
    """w(s, a) >= 0, which is about 1 at first and goes to p_new(s, a) / p_recorded(s, a).

    Args:
        observation_space: Of the data.
        action_space: Likewise; discrete actions enter as one-hot vectors.
        random: Random numbers of the network.
    """

    def __init__(
        self,
        observation_space: spaces.Space[object],
        action_space: spaces.Box | spaces.Discrete,
        random: Random,
    ) -> None:
        super().__init__()
        check_countable(action_space, "balanced mixing encodes")
        self.n_actions = int(action_space.n) if isinstance(action_space, spaces.Discrete) else 0
        size = self.n_actions or int(torch.tensor(action_space.shape).prod())
        self.network = Network(MLPEncoder(), observation_space, 1, random, action_size=size)
        head = self.network.mlp.layers[-1]
        assert isinstance(head, nn.Linear)  # For the type checker.
        nn.init.uniform_(head.weight, -3e-3, 3e-3)
        nn.init.ones_(head.bias)

    def forward(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns w of rows, [B]."""
        given = F.one_hot(actions, self.n_actions).float() if self.n_actions else actions
        return torch.relu(self.network(observations, given)).squeeze(-1)


def density_ratio_loss(recorded: Tensor, new: Tensor) -> Tensor:
    """Returns mean(-log(2 / (w + 1))) over recorded rows - mean(log(2 w / (w + 1))) over new ones, [].

    The least of this bound of the Jensen-Shannon divergence lies at w = p_new / p_recorded.
    Source: Lee et al. 2021, arXiv:2107.00591, and its code.

    Args:
        recorded: w of rows drawn uniformly from the recorded ones.
        new: w of rows drawn uniformly from the new ones.
    """
    below = -torch.log(2.0 / (recorded + 1.0) + LEAST).mean()
    above = torch.log(2.0 * new / (new + 1.0) + LEAST).mean()
    return below - above

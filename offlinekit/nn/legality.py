"""Legal actions in networks: what they see beside them, and the floor under outputs of illegal ones."""

from __future__ import annotations

from torch import Tensor, nn

from offlinekit.legal_actions import LEGAL_ACTIONS, rest_of
from offlinekit.sampling.batch import TensorTree

FLOOR = -1e9
"""Output of a network for an illegal action: finite, as 0 * infinity is no number, with a softmax of exactly 0."""


class WithoutLegalActions(nn.Module):
    """A trunk that sees observations without their legal actions."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.size = trunk, trunk.size

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the features [B, size]."""
        assert isinstance(observations, dict)
        features: Tensor = self.trunk(rest_of(observations))
        return features


class PerAction(nn.Module):
    """A network with one output an action: observations -> [..., B, A], those of illegal actions at the floor.

    Args:
        network: Observations -> [..., B, A].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the outputs."""
        return floored(self.network(observations), observations)


def floored(outputs: Tensor, observations: TensorTree) -> Tensor:
    """Returns outputs [..., B, A] with `FLOOR` for the actions that are illegal at observations [B, ...]."""
    if not isinstance(observations, dict) or LEGAL_ACTIONS not in observations:
        return outputs
    legal = observations[LEGAL_ACTIONS]
    assert isinstance(legal, Tensor)
    return outputs.masked_fill(~(legal >= 1), FLOOR)


def are_legal(outputs: Tensor) -> Tensor:
    """Returns which outputs, logits or log-probabilities [..., A], are those of legal actions."""
    return outputs > 0.5 * FLOOR

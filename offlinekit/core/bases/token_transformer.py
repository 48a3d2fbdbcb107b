"""A causal transformer over the observations of an episode, one token a step: a trunk of language models."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from offlinekit.nn.random import Random
from offlinekit.nn.transformer import BlockConfig, CausalTransformer, KeyValues, init_small
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import map_tree


class TokenConfig(BlockConfig, Protocol):
    """The hyperparameters of a trunk; the front has them."""

    @property
    def max_length(self) -> int:
        """Places that have an embedding of their own."""


class TokenEmbedding(nn.Embedding):
    """Tokens, float [..., 1] as columns of datasets hold them -> [..., W]."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the embeddings of tokens."""
        return super().forward(tokens.squeeze(-1).long())


class TokenTransformer(nn.Module):
    """Observations [B, K, ...] -> features [B, K, W]; those of a step depend on it and the steps before.

    Source: the GPT-2 of Radford et al. 2019.

    Args:
        config: The front.
        embedding: Of observations, [M, ...] -> [M, W].
        random: The agent's random numbers, for dropout.
    """

    def __init__(self, config: TokenConfig, embedding: nn.Module, random: Random) -> None:
        super().__init__()
        self.embedding, self.max_length = embedding, config.max_length
        self.places = nn.Embedding(config.max_length, config.width).apply(init_small)
        self.transformer = CausalTransformer(config, nn.GELU, random)

    def forward(self, observations: TensorTree, valid: Tensor, past: KeyValues | None = None) -> Tensor:
        """Returns the features [B, K, W]; those at padding mean nothing.

        Args:
            observations: [B, K, ...].
            valid: bool [B, K], False at padding.
            past: What was computed for the steps before, to go on from; these are appended to it.
        """
        flat = map_tree(lambda leaf: leaf.flatten(0, 1), observations)
        embedded = self.embedding(flat).unflatten(0, valid.shape)
        places = valid.long().cumsum(1) - 1
        if past is not None and past.masks is not None:
            places = places + past.masks.sum(1, keepdim=True)
        tokens = embedded + self.places(places.clamp(0, self.max_length - 1))
        features: Tensor = self.transformer(tokens, valid, past)
        return features


class LanguageModel(nn.Module):
    """A trunk and logits of actions at each step.

    Args:
        trunk: Observations -> features.
        width: Of the features.
        n_actions: Of the logits.
    """

    def __init__(self, trunk: nn.Module, width: int, n_actions: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(width, n_actions, bias=False).apply(init_small)

    def forward(self, observations: TensorTree, valid: Tensor, past: KeyValues | None = None) -> Tensor:
        """Returns the logits [B, K, A]; arguments as of `TokenTransformer`."""
        logits: Tensor = self.head(self.trunk(observations, valid, past))
        return logits


class TokenHeads(nn.Module):
    """Functions of features: linear, ReLU, linear.

    Source: Snell et al. 2022, arXiv:2206.11871.

    Args:
        width: Of the features; the hidden layer is twice as wide.
        outputs: Numbers that each head gives.
        n_heads: M.
    """

    def __init__(self, width: int, outputs: int, n_heads: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, outputs))
            for _ in range(n_heads)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns [M, ..., outputs] of features [..., W]."""
        return torch.stack([head(features) for head in self.heads])

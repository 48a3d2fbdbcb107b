"""Causal transformers over the steps of a trajectory, three tokens a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offlinekit.nn.random import Dropout, Random
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import map_tree


class BlockConfig(Protocol):
    """The hyperparameters of blocks; the front has them."""

    @property
    def n_layers(self) -> int:
        """Blocks."""

    @property
    def n_heads(self) -> int:
        """Heads of attention, which divide `width`."""

    @property
    def width(self) -> int:
        """Numbers in a token."""

    @property
    def dropout(self) -> float:
        """Share of units that are zeroed in training."""


class TransformerConfig(BlockConfig, Protocol):
    """The hyperparameters of a transformer over windows; the front has them."""

    @property
    def context(self) -> int:
        """Steps in a window."""

    @property
    def max_timestep(self) -> int:
        """Timesteps that have an embedding of their own."""


class ConfiguredDropout(Dropout):
    """Dropout at the rate that the front has now, which differs between members of a population."""

    def __init__(self, config: BlockConfig, random: Random) -> None:
        super().__init__(config.dropout, random)
        del self.rate  # Members of one stack hold no numbers in which they differ.
        self.config = config

    def forward(self, inputs: Tensor) -> Tensor:
        """Zeroes units in training and scales the others; identity in evaluation, and without a draw at rate 0."""
        rate = self.config.dropout
        is_off = not self.training or (isinstance(rate, float) and rate == 0.0)  # A stack's rate is a tensor.
        return inputs if is_off else self.dropped(inputs, rate)


class KeyValues:
    """Keys and values of the tokens that came before, a pair [B, H, T, W / H] for each block.

    Tokens that follow are then mixed without those before them being computed again.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.masks: Tensor | None = None  # bool [B, T], False at padding.

    def extended(self, block: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends keys and values of new tokens to those of a block, and returns all of them."""
        if block == len(self.pairs):
            self.pairs.append((keys, values))
        else:
            old_keys, old_values = self.pairs[block]
            self.pairs[block] = (torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2))
        return self.pairs[block]

    def with_masks(self, masks: Tensor) -> Tensor:
        """Appends the masks of new tokens [B, T], and returns all of them."""
        self.masks = masks if self.masks is None else torch.cat([self.masks, masks], 1)
        return self.masks

    @classmethod
    def joined(cls, parts: Sequence[KeyValues]) -> KeyValues:
        """Returns those of several batches, none of them empty, as one batch, padded on the left."""
        lengths = [part.length for part in parts]

        def stacked(tensors: Sequence[Tensor]) -> Tensor:
            """Joins keys or values [B, H, T, W / H], or masks [B, 1, T, 1]."""
            pairs = zip(tensors, lengths, strict=True)
            return torch.cat([F.pad(tensor, (0, 0, max(lengths) - length, 0)) for tensor, length in pairs])

        made = cls()
        for blocks in zip(*(part.pairs for part in parts), strict=True):
            keys, values = zip(*blocks, strict=True)
            made.pairs.append((stacked(keys), stacked(values)))
        masks = [part.masks[:, None, :, None] for part in parts if part.masks is not None]
        made.masks = stacked(masks)[:, 0, :, 0]
        return made

    @property
    def length(self) -> int:
        """Number of tokens, padding included."""
        return 0 if self.masks is None else self.masks.shape[1]

    def split(self) -> list[KeyValues]:
        """Returns those of each row without the padding on its left."""
        rows = []
        for row, length in enumerate([] if self.masks is None else self.masks.sum(1).tolist()):
            own = self.select(torch.tensor([row]))
            own.pairs = [(keys[:, :, -length:], values[:, :, -length:]) for keys, values in own.pairs]
            own.masks = None if own.masks is None else own.masks[:, -length:]
            rows.append(own)
        return rows

    def select(self, rows: Tensor) -> KeyValues:
        """Returns those of some rows [B], each as often as it is named."""
        chosen = KeyValues()
        chosen.pairs = [(keys[rows], values[rows]) for keys, values in self.pairs]
        chosen.masks = None if self.masks is None else self.masks[rows]
        return chosen


class Attention(nn.Module):
    """Causal self-attention of several heads, with dropout on its weights and its output."""

    def __init__(self, config: BlockConfig, random: Random) -> None:
        super().__init__()
        self.n_heads, width = config.n_heads, config.width
        self.inputs, self.outputs = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.keys = nn.Linear(width, width, bias=False)  # A bias would move all scores of a query alike.
        self.dropout = ConfiguredDropout(config, random)

    def forward(self, tokens: Tensor, bias: Tensor, past: KeyValues | None = None, block: int = 0) -> Tensor:
        """Mixes tokens.

        Args:
            tokens: [B, T, W].
            bias: [B * H, T, P + T], 0 where a token (second axis) sees another (third axis), else -inf.
            past: Keys and values of P tokens before, to which those of these are appended; None for none.
            block: Its number in `past`.
        """
        parts = [*self.inputs(tokens).chunk(2, -1), self.keys(tokens)]
        heads = [part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts]
        queries, values, keys = heads  # [B, H, T, W / H] each.
        if past is not None:
            keys, values = past.extended(block, keys, values)
        queries, values, keys = (part.flatten(0, 1) for part in (queries, values, keys))
        # One kernel for the product, its scale and the bias; scaled_dot_product_attention is no faster here, draws
        # dropout from the global generator and does not stack.
        scores = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=queries.shape[-1] ** -0.5)
        mixed = self.dropout(scores.softmax(-1)) @ values
        joined = mixed.unflatten(0, (-1, self.n_heads)).transpose(1, 2).flatten(2)
        outputs: Tensor = self.dropout(self.outputs(joined))
        return outputs


class Block(nn.Module):
    """Attention, then a perceptron four times as wide, each after a layer norm and added to what came in."""

    def __init__(self, config: BlockConfig, activation: nn.Module, random: Random) -> None:
        super().__init__()
        width = config.width
        self.attention = Attention(config, random)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(wide, activation, narrow, ConfiguredDropout(config, random))

    def forward(self, tokens: Tensor, bias: Tensor, past: KeyValues | None = None, block: int = 0) -> Tensor:
        """Returns tokens [B, T, W]; arguments as of `Attention`."""
        tokens = tokens + self.attention(self.norms[0](tokens), bias, past, block)
        mixed: Tensor = tokens + self.mlp(self.norms[1](tokens))
        return mixed


class CausalTransformer(nn.Module):
    """Blocks and a last layer norm; a token sees itself and the real ones before it, never padding.

    Source: the GPT-2 of Radford et al. 2019, without its embeddings.

    Args:
        config: With `n_layers`, `n_heads`, `width` and `dropout`.
        activation: Makes that of the perceptrons.
        random: The agent's random numbers, for dropout.
    """

    def __init__(self, config: BlockConfig, activation: Callable[[], nn.Module], random: Random) -> None:
        super().__init__()
        self.dropout, self.n_heads = ConfiguredDropout(config, random), config.n_heads
        blocks = [Block(config, activation(), random) for _ in range(config.n_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width)
        self.apply(init_small)

    def forward(self, tokens: Tensor, masks: Tensor, past: KeyValues | None = None) -> Tensor:
        """Returns tokens [B, T, W].

        Args:
            tokens: [B, T, W].
            masks: bool [B, T], False at padding.
            past: What was computed for the tokens before these, to go on from; these are appended to it.
        """
        bias = attention_bias(masks if past is None else past.with_masks(masks), tokens.shape[1])
        bias = bias.unsqueeze(1).expand(-1, self.n_heads, -1, -1).flatten(0, 1)
        tokens = self.dropout(tokens)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, bias, past, number)
        normed: Tensor = self.norm(tokens)
        return normed


def attention_bias(masks: Tensor, n_new: int) -> Tensor:
    """Returns 0 where each of the last tokens sees another one, itself or a real one before it, else -inf.

    Args:
        masks: bool [B, P + T], False at padding.
        n_new: T, the last tokens, whose rows [B, T, P + T] are returned.
    """
    length = masks.shape[1]
    ones = torch.ones(length, length, dtype=torch.bool, device=masks.device)
    own = torch.eye(length, dtype=torch.bool, device=masks.device)
    visible = (ones.tril() & masks.unsqueeze(1) | own)[:, -n_new:]
    return torch.zeros(visible.shape, device=masks.device, dtype=torch.float32).masked_fill(
        ~visible, -math.inf
    )


class TrajectoryTransformer(nn.Module):
    """Steps of condition, observation and action -> outputs [B, K, ...] at each observation.

    The output of a step depends on the steps before it and on its own condition and observation, not on its
    action. A subclass defines how tokens are positioned in time.

    Args:
        config: The front.
        networks: What embeds observations and actions, [M, ...] -> [M, W].
        activation: Makes that of the perceptrons.
        head: W -> outputs.
        random: The agent's random numbers, for dropout.
    """

    def __init__(
        self,
        config: TransformerConfig,
        networks: tuple[nn.Module, nn.Module],
        activation: Callable[[], nn.Module],
        head: nn.Linear,
        random: Random,
    ) -> None:
        super().__init__()
        self.max_timestep = config.max_timestep
        self.condition, (self.observation, self.action) = nn.Linear(1, config.width), networks
        self.transformer, self.head = CausalTransformer(config, activation, random), head
        self.build_places(config)

    def build_places(self, config: TransformerConfig) -> None:
        """Makes what `placed` needs."""
        raise NotImplementedError

    def placed(self, tokens: Tensor, timesteps: Tensor, masks: Tensor) -> Tensor:
        """Returns tokens [B, K, 3, W] that carry their place in time; timesteps and masks are [B, K]."""
        raise NotImplementedError

    def forward(
        self, conditions: Tensor, observations: TensorTree, actions: Tensor, timesteps: Tensor, masks: Tensor
    ) -> Tensor:
        """Returns the outputs [B, K, ...] at each observation; those at padding mean nothing.

        Args:
            conditions: [B, K], such as scaled returns to go.
            observations: [B, K, ...].
            actions: [B, K, A] float or [B, K] int64.
            timesteps: [B, K] int64.
            masks: [B, K] bool, False at padding.
        """
        n_rows, context = masks.shape
        flat = map_tree(lambda leaf: leaf.flatten(0, 1), observations)
        embedded = [
            self.condition(conditions.unsqueeze(-1)),
            self.observation(flat).unflatten(0, (n_rows, context)),
            self.action(actions),
        ]
        tokens = self.placed(torch.stack(embedded, 2), timesteps, masks)
        mixed = self.transformer(tokens.flatten(1, 2), masks.repeat_interleave(3, 1))
        outputs: Tensor = self.head(mixed.unflatten(1, (context, 3))[:, :, 1])
        return outputs


class TimedTransformer(TrajectoryTransformer):
    """Tokens that carry the timestep of their step, normalised.

    Source: Chen et al. 2021, arXiv:2106.01345, algorithm 1.
    """

    def build_places(self, config: TransformerConfig) -> None:
        """Makes an embedding of timesteps."""
        self.time, self.norm = nn.Embedding(config.max_timestep, config.width), nn.LayerNorm(config.width)

    def placed(self, tokens: Tensor, timesteps: Tensor, masks: Tensor) -> Tensor:
        """Adds the embedding of the timestep to all three tokens of a step."""
        times = self.time(timesteps.clamp(0, self.max_timestep - 1))
        placed: Tensor = self.norm(tokens + times.unsqueeze(2))
        return placed


def init_small(module: nn.Module) -> None:
    """Initialises linear maps and embeddings by a normal of standard deviation 0.02, biases by 0, as GPT-2 does."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)

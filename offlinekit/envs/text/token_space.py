"""The observation space of text: one token a step, with the tokenizer that says what it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.envs.text.tokenizers import PAD, Tokenizer
from offlinekit.errors import UnsupportedError
from offlinekit.types import Array


class TokenSpace(spaces.Box):
    """Numbers of tokens, float32 [1], which hold whole numbers below 2**24 exactly.

    Args:
        tokenizer: Of the text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(0.0, float(len(tokenizer) - 1), (1,), np.float32)
        self.tokenizer = tokenizer

    @property
    def n(self) -> int:
        """Number of tokens."""
        return len(self.tokenizer)

    def foreign(self, numbers: Array) -> Array:
        """Returns which of some numbers stand for no token, bool of their shape."""
        wrong: Array = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= self.n)
        return wrong

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draws a token."""
        return np.floor(self.np_random.uniform(0, self.n, (1,))).astype(np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenSpace) and self.tokenizer == other.tokenizer

    def __hash__(self) -> int:
        return hash(self.tokenizer)

    def __repr__(self) -> str:
        return f"TokenSpace({self.tokenizer!r})"


class TokenWindow(spaces.Box):
    """Dialogues up to where the next token is chosen, float32 [length, 1], padded on the left by "<pad>".

    Args:
        tokens: Of the dialogues.
        length: Tokens of the longest one.
    """

    def __init__(self, tokens: TokenSpace, length: int) -> None:
        super().__init__(0.0, float(tokens.n - 1), (length, 1), np.float32)
        self.tokenizer = tokens.tokenizer

    def draw(self, rng: np.random.Generator, n_rows: int) -> Array:
        """Draws dialogues of all lengths [n_rows, length, 1]."""
        drawn = rng.integers(PAD + 1, len(self.tokenizer), (n_rows, *self.shape))
        lengths = rng.integers(1, self.shape[0] + 1, (n_rows, 1, 1))
        places = np.arange(self.shape[0])[:, None]
        return np.where(places < self.shape[0] - lengths, PAD, drawn).astype(np.float32)


def tokenizer_in(space: spaces.Space[Any], what: str) -> Tokenizer:
    """Returns the tokenizer of an observation space.

    Args:
        space: Of observations.
        what: Was to be done with it, for the message, such as "respond()".

    Raises:
        UnsupportedError: For observations that are no text.
    """
    if not isinstance(space, TokenSpace):
        raise UnsupportedError(
            f"{what} needs observations that are text, got {space}; read dialogues by get_dataset('x.jsonl'), or "
            "make a dataset by text_dataset(dialogues)"
        )
    return space.tokenizer

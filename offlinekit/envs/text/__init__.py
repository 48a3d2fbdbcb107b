"""Text: tokenizers, and the space of their tokens."""

from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.envs.text.tokenizers import CharTokenizer, Tokenizer, WordTokenizer

__all__ = ["CharTokenizer", "TokenSpace", "Tokenizer", "WordTokenizer"]

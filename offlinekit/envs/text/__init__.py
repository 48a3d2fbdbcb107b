"""Text: tokenizers, the space of their tokens, environments that speak, and two whose optimum is known."""

from offlinekit.envs.text.random_walks import RandomWalks
from offlinekit.envs.text.text_env import TextEnv, TextGame, play, returns_of
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.envs.text.tokenizers import CharTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer
from offlinekit.envs.text.wordle import Wordle

__all__ = [
    "CharTokenizer",
    "RandomWalks",
    "SubwordTokenizer",
    "TextEnv",
    "TextGame",
    "TokenSpace",
    "Tokenizer",
    "WordTokenizer",
    "Wordle",
    "play",
    "returns_of",
]

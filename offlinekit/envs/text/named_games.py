"""The environments of text that have a name."""

from __future__ import annotations

from typing import NamedTuple

from offlinekit.envs.text.random_walks import RandomWalks
from offlinekit.envs.text.text_env import TextEnv
from offlinekit.envs.text.wordle import Wordle


class NamedGame(NamedTuple):
    """A game, and how long its utterances are."""

    make: type[RandomWalks | Wordle]
    max_tokens: int

    def env(self) -> TextEnv:
        """Makes the game a token at a time."""
        game = self.make()
        return TextEnv(game, game.tokenizer, self.max_tokens)


GAMES = {"random-walks": NamedGame(RandomWalks, 10), "wordle-20": NamedGame(Wordle, 1)}

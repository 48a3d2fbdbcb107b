"""Wordle with a list of twenty words: a game of text whose optimum is known by search of all games.

The agent guesses a word, the environment answers with a mark behind each of its letters: 2 in its place, 1 elsewhere in
the word, 0 not in it, such as "c1r2a2n0e2". Each wrong guess costs 1, and after six the game is over.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np

from offlinekit.envs.text.tokenizers import WordTokenizer
from offlinekit.ground.hints import answers_keywords

WORDS = (
    *("crane", "crate", "trace", "react", "caret", "brace", "grace", "trade", "grade", "glade"),
    *("blade", "blame", "flame", "frame", "shame", "shape", "grape", "gripe", "tribe", "bride"),
)
N_GUESSES = 6
NO_WORD = "unknown"
"""Answer to a guess that is not in the list."""


@cache
def marks(guess: str, secret: str) -> str:
    """Returns the marks of a guess; a letter that the secret has once is marked once."""
    left = Counter(s for g, s in zip(guess, secret, strict=True) if g != s)
    made = []
    for letter, other in zip(guess, secret, strict=True):
        if letter == other:
            made.append("2")
        elif left[letter] > 0:
            left[letter] -= 1
            made.append("1")
        else:
            made.append("0")
    return "".join(made)


def answer(guess: str, secret: str) -> str:
    """Returns what the environment says to a guess: each letter with its mark, one word in all."""
    return "".join(itertools.chain(*zip(guess, marks(guess, secret), strict=True)))


@answers_keywords
class Wordle:
    """The game, as an environment of text: `env(None)` begins it, `env("crane")` answers a guess.

    Args:
        words: That may be the secret, of one length.
        secret: The word to guess; None draws one at each game.
    """

    def __init__(self, words: Sequence[str] = WORDS, secret: str | None = None) -> None:
        self.words, self.secret = tuple(words), secret
        self.seed(0)

    @property
    def tokenizer(self) -> WordTokenizer:
        """The words, and all answers to them."""
        answers = {answer(guess, secret) for guess in self.words for secret in self.words}
        return WordTokenizer([*self.words, *sorted(answers), NO_WORD], has_unknown=True)

    def seed(self, seed: int) -> None:
        """Seeds the choice of secrets."""
        self._rng = np.random.default_rng(seed)
        self._word, self._n_left = "", 0

    def __call__(self, text: str | None) -> tuple[str, float, bool]:
        """Returns the answer to a guess, the reward, and whether the game is over; no word of the list is "unknown"."""
        if text is None:
            self._word, self._n_left = self.secret or str(self._rng.choice(self.words)), N_GUESSES
            return "", 0.0, False
        self._n_left -= 1
        if text == self._word:
            return "", 0.0, True
        said = answer(text, self._word) if text in self.words else NO_WORD
        return said, -1.0, self._n_left == 0

    def optimum(self) -> float:
        """Returns the fewest guesses that any strategy needs on average over the secrets."""
        return _fewest(self.words, self.words) / len(self.words)

    def dialogues(
        self, n_games: int, seed: int = 0, share_consistent: float = 0.5
    ) -> list[dict[str, object]]:
        """Returns games of a player who guesses at random: a word that fits all marks so far, or any word.

        Args:
            n_games: How many.
            seed: Of secrets and guesses.
            share_consistent: How often a guess fits the marks.
        """
        rng = np.random.default_rng(seed)
        return [self._game(rng, share_consistent) for _ in range(n_games)]

    def _game(self, rng: np.random.Generator, share_consistent: float) -> dict[str, object]:
        secret, fitting = str(rng.choice(self.words)), list(self.words)
        turns: list[list[object]] = []
        for _ in range(N_GUESSES):
            guess = str(rng.choice(fitting if rng.uniform() < share_consistent else self.words))
            if guess == secret:
                turns.append([guess, 0.0])
                break
            seen = marks(guess, secret)
            turns += [[guess, -1.0], [answer(guess, secret), None]]
            fitting = [word for word in fitting if marks(guess, word) == seen]
        return {"dialogue": [["", None], *turns]}


@cache
def _fewest(left: tuple[str, ...], words: tuple[str, ...]) -> float:
    """Returns the fewest guesses, summed over the secrets left; a word that rules none of them out is none."""
    if len(left) == 1:
        return 1.0
    best = float("inf")
    for guess in words:
        parts = defaultdict(list)
        for secret in left:
            parts[marks(guess, secret)].append(secret)
        if len(parts) == 1 and guess not in left:
            continue
        others = [tuple(part) for made, part in parts.items() if set(made) != {"2"}]
        if any(len(part) == len(left) for part in others):
            continue
        total = len(left) + sum(_fewest(part, words) for part in others)
        best = min(best, total)
    return best

"""Wordle with a list of twenty words: a game of text whose optimum is known by search of all games.

The agent guesses a word, the environment answers with a mark a letter: "G" in its place, "Y" elsewhere in the word, "-"
not in it. Each wrong guess costs 1, and after six the game is over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np

from offlinekit.envs.text.tokenizers import CharTokenizer

WORDS = (
    *("crane", "crate", "trace", "react", "caret", "brace", "grace", "trade", "grade", "glade"),
    *("blade", "blame", "flame", "frame", "shame", "shape", "grape", "gripe", "tribe", "bride"),
)
N_GUESSES = 6


@cache
def marks(guess: str, secret: str) -> str:
    """Returns the marks of a guess; a letter that the secret has once is marked once."""
    left = Counter(s for g, s in zip(guess, secret, strict=True) if g != s)
    made = []
    for letter, other in zip(guess, secret, strict=True):
        if letter == other:
            made.append("G")
        elif left[letter] > 0:
            left[letter] -= 1
            made.append("Y")
        else:
            made.append("-")
    return "".join(made)


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
    def tokenizer(self) -> CharTokenizer:
        """The letters of the words, and the marks."""
        return CharTokenizer(sorted({*"".join(self.words), *"GY-?"}))

    def seed(self, seed: int) -> None:
        """Seeds the choice of secrets."""
        self._rng = np.random.default_rng(seed)
        self._word, self._n_left = "", 0

    def __call__(self, text: str | None) -> tuple[str, float, bool]:
        """Returns the marks of a guess, the reward, and whether the game is over; a word not in the list gets "?"."""
        if text is None:
            self._word, self._n_left = self.secret or str(self._rng.choice(self.words)), N_GUESSES
            return "", 0.0, False
        self._n_left -= 1
        if text == self._word:
            return "", 0.0, True
        answer = marks(text, self._word) if text in self.words else "?" * len(self._word)
        return answer, -1.0, self._n_left == 0

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
            answer = marks(guess, secret)
            turns += [[guess, -1.0], [answer, None]]
            fitting = [word for word in fitting if marks(guess, word) == answer]
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
        others = [tuple(part) for answer, part in parts.items() if set(answer) != {"G"}]
        if any(len(part) == len(left) for part in others):
            continue
        total = len(left) + sum(_fewest(part, words) for part in others)
        best = min(best, total)
    return best

"""Environments of text: as functions of what the agent says, and a token at a time, as evaluations run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import isfunction
from typing import Protocol, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.envs.text import tokenizers
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.envs.text.tokenizers import Tokenizer
from offlinekit.ground.hints import answers_guesses, answers_keywords
from offlinekit.types import Array

Said: TypeAlias = "list[tuple[str, float | None]]"
"""Turns of text and reward, None for what the environment said."""
Answer: TypeAlias = "tuple[str, float, bool]"
"""What the environment says, the reward of the utterance before, and whether the dialogue is over."""


class TextGame(Protocol):
    """An environment of text; one that draws at random may have `seed(number)` as well."""

    def __call__(self, text: str | None) -> Answer:
        """Begins a dialogue if the text is None, else answers the agent."""


def begin(game: TextGame, seed: int | None) -> str:
    """Begins a dialogue and returns what the environment says first."""
    seeding = getattr(game, "seed", None)
    if seed is not None and seeding is not None:
        seeding(seed)
    return _checked(game, None)[0]


def _checked(game: TextGame, text: str | None) -> Answer:
    """Returns an answer.

    Raises:
        TypeError: For one that is no triple of text, finite number and flag.
    """
    answer = game(text)
    if isinstance(answer, tuple) and len(answer) == 3:
        said, reward, is_over = answer
        if isinstance(said, str) and isinstance(reward, int | float | np.number) and np.isfinite(reward):
            return said, float(reward), bool(is_over)
    raise TypeError(
        f"an environment of text must return (text, reward, whether it is over), with a finite reward, got {answer!r}"
    )


@answers_guesses
def play(
    respond: Callable[[Sequence[Said]], Sequence[str]],
    games: Sequence[TextGame],
    *,
    seed: int | None = None,
    max_turns: int = 100,
) -> list[Said]:
    """Plays one dialogue in each of some environments, side by side, and returns what was said.

    Args:
        respond: Returns what the agent says next in each dialogue, such as `algo.respond`.
        games: Environments of text.
        seed: Of the first one; each has one more than that before. None seeds none.
        max_turns: Utterances of the agent after which a dialogue is cut.

    Raises:
        ValueError: For one object in two places, whose dialogues would run into each other; a function may be.
    """
    stateful = [id(game) for game in games if not isfunction(game)]
    if len(set(stateful)) < len(stateful):
        raise ValueError(
            f"games must be environments of their own, got {len(games)} of which some are one object; make each anew"
        )
    seeds = [None if seed is None else seed + number for number in range(len(games))]
    dialogues: list[Said] = [[(begin(game, own), None)] for game, own in zip(games, seeds, strict=True)]
    going = list(range(len(games)))
    for _ in range(max_turns):
        if not going:
            break
        for number, text in zip(going[:], respond([dialogues[number] for number in going]), strict=True):
            said, reward, is_over = _checked(games[number], text)
            dialogues[number].append((text, reward))
            if is_over:
                going.remove(number)
            if said or not is_over:
                dialogues[number].append((said, None))
    return dialogues


def returns_of(dialogues: Sequence[Said]) -> Array:
    """Returns the sum of rewards of each dialogue, float64 [E]."""
    return np.array([sum(reward or 0.0 for _, reward in dialogue) for dialogue in dialogues])


@answers_keywords
class TextEnv(gymnasium.Env[Array, np.int64]):
    """An environment of text a token at a time: an observation is the newest token, an action the next one.

    While the environment speaks, actions are ignored. The reward of an utterance comes with the token that ends it.

    Args:
        game: The environment of text.
        tokenizer: Of what is said.
        max_tokens: Of an utterance, which the next action then ends, whatever it is.
    """

    def __init__(self, game: TextGame, tokenizer: Tokenizer, max_tokens: int = 64) -> None:
        self.game, self.tokenizer, self.max_tokens = game, tokenizer, max_tokens
        self.observation_space = TokenSpace(tokenizer)
        self.action_space = spaces.Discrete(len(tokenizer))
        self._pending: list[int] = []  # Tokens of the environment that were not shown yet.
        self._said: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Array, dict[str, object]]:
        """Begins a dialogue and returns its first token."""
        super().reset(seed=seed)
        self._pending, self._said = self._spoken(begin(self.game, seed)), []
        return self._observed(self._pending.pop(0)), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, object]]:
        """Shows the next token of the environment; if it has spoken, takes the action as the agent's."""
        if self._pending:
            return self._observed(self._pending.pop(0)), 0.0, False, False, {}
        token = int(action)
        if token != tokenizers.AGENT_END and len(self._said) < self.max_tokens:
            self._said.append(token)
            return self._observed(token), 0.0, False, False, {}
        text, reward, is_over = _checked(self.game, self.tokenizer.decode(self._said))
        self._said, self._pending = [], [] if is_over else self._spoken(text)
        return self._observed(tokenizers.AGENT_END), reward, is_over, False, {}

    def _spoken(self, text: str) -> list[int]:
        return [
            tokenizers.ENV_BEGIN,
            *self.tokenizer.encode(text),
            tokenizers.ENV_END,
            tokenizers.AGENT_BEGIN,
        ]

    @staticmethod
    def _observed(token: int) -> Array:
        return np.array([token], np.float32)

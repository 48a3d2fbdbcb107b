"""Dialogues as columns: a row a token, whose action is the next token.

A dialogue is a list of turns, pairs of text and reward: None for what the environment says, a number for an utterance
of the agent. Its tokens are `<s> text </s>` for the environment, `<a> text </a>` for the agent, and `</eod>` if it
ended. One that was cut when the agent was to speak has `<a>` and padding behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.schema import Columns
from offlinekit.envs.text import tokenizers
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.envs.text.tokenizers import Tokenizer, TokenizerLike, tokenizer_of
from offlinekit.errors import DatasetError, nearest

Reward: TypeAlias = "float | Sequence[float] | None"
Turn: TypeAlias = "tuple[str, Reward]"

MOST_REWARD = float(np.finfo(np.float32).max)
IS_ACTION = "is_action"
"""Extra column: whether the row's action is a token of the agent, an end of its utterance included."""


class Dialogue(NamedTuple):
    """A recorded conversation."""

    turns: Sequence[Turn]
    """Text and reward: None for the environment, a number for an utterance, or one number for each of its tokens."""
    has_ended: bool = True
    """Whether the conversation was over, in place of the recording alone."""


class _Tokens:
    """The tokens of a dialogue, with what each of them earned and whether the agent chose it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.tokens: list[int] = []
        self.rewards: list[float] = []
        self.is_action: list[bool] = []

    def add(self, tokens: Sequence[int], rewards: Sequence[float] | None = None) -> None:
        """Appends tokens, of the agent if they have rewards."""
        self.tokens.extend(tokens)
        self.rewards.extend([0.0] * len(tokens) if rewards is None else rewards)
        self.is_action.extend([rewards is not None] * len(tokens))

    def add_turn(self, text: str, reward: Reward, where: str) -> None:
        """Appends a turn between its marks."""
        tokens = self.tokenizer.encode(text)
        if reward is None:
            self.add([tokenizers.ENV_BEGIN, *tokens, tokenizers.ENV_END])
            return
        self.add([tokenizers.AGENT_BEGIN])
        self.add([*tokens, tokenizers.AGENT_END], _token_rewards(reward, len(tokens), where))


def _token_rewards(reward: float | Sequence[float], n_tokens: int, where: str) -> list[float]:
    """Returns what each token of an utterance earned, its end last, to which a single reward belongs."""
    if isinstance(reward, Sequence):
        if len(reward) != n_tokens:
            raise DatasetError(
                f"{where} has {len(reward)} rewards for the {n_tokens} tokens of its text; give one number for the "
                "utterance, or one for each token"
            )
        return [*map(float, reward), 0.0]
    return [*[0.0] * n_tokens, float(reward)]


def dialogue_tokens(tokenizer: Tokenizer, turns: Sequence[Turn]) -> list[int]:
    """Returns the tokens of turns, as a row a token has them."""
    made = _Tokens(tokenizer)
    for number, (text, reward) in enumerate(turns):
        made.add_turn(text, reward, f"turn {number}")
    return made.tokens


def dialogue_columns(dialogues: Sequence[Dialogue], tokenizer: TokenizerLike) -> Columns:
    """Returns the columns of dialogues as arguments of MDPDataset.

    Args:
        dialogues: At least one.
        tokenizer: Of their text; "char" and "word" make one of it.

    Raises:
        DatasetError: For a dialogue without text of the agent, or rewards that do not fit its tokens.
    """
    if not dialogues:
        raise DatasetError("there are no dialogues, expected at least one")
    vocabulary = tokenizer_of(tokenizer, (text for dialogue in dialogues for text, _ in dialogue.turns))
    parts = list(_episodes(dialogues, vocabulary))
    columns: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    extras = {IS_ACTION: columns.pop(IS_ACTION)}
    return {
        **columns,
        "extras": extras,
        "observation_space": TokenSpace(vocabulary),
        "action_space": spaces.Discrete(len(vocabulary)),
    }


def _episodes(dialogues: Sequence[Dialogue], tokenizer: Tokenizer) -> Iterator[Columns]:
    for number, dialogue in enumerate(dialogues):
        made = _Tokens(tokenizer)
        for turn, (text, reward) in enumerate(dialogue.turns):
            made.add_turn(text, reward, f"turn {turn} of dialogue {number}")
        if dialogue.has_ended:
            made.add([tokenizers.DIALOGUE_END])
        elif made.is_action and not made.is_action[-1]:
            # The agent's turn: a row for the state that the recording ends in. Nobody knows what it did there.
            made.add([tokenizers.AGENT_BEGIN, tokenizers.PAD])
        if not any(made.is_action):
            raise DatasetError(
                f"dialogue {number} has no utterance of the agent; give its turns numbers as rewards, such as 0.0"
            )
        tokens = np.asarray(made.tokens, np.float32)[:, None]
        ends = np.arange(len(tokens) - 1) == len(tokens) - 2
        yield {
            "observations": tokens[:-1],
            "actions": np.asarray(made.tokens[1:], np.int64),
            "rewards": np.asarray(made.rewards[1:], np.float32),
            "terminals": ends & dialogue.has_ended,
            "timeouts": ends & (not dialogue.has_ended),
            "final_observations": tokens[-1:],
            IS_ACTION: np.asarray(made.is_action[1:]),
        }


KEYS = ("dialogue", "prompt", "response", "reward", "terminal")
"""What a dialogue of plain data may have."""


def dialogue_of(row: object, where: str) -> Dialogue:
    """Returns the dialogue of plain data, `{"dialogue": [[text, reward or null], ...]}` or prompt, response and reward.

    Both may say "terminal", which is true if they do not. Other keys, such as numbers of dialogues, are left out.

    Raises:
        DatasetError: For anything else, and for a key that is nearly one of these.
    """
    if isinstance(row, Dialogue):
        return Dialogue([turn_of(turn, where) for turn in row.turns], row.has_ended)
    if not isinstance(row, Mapping):
        raise _unlike(row, where)
    if {"prompt", "response", "reward"} & row.keys() and "dialogue" in row:
        raise _unlike(row, where)
    for key in row.keys() - set(KEYS):
        meant = nearest(key, KEYS, likeness=0.85)  # Names such as prompt_id stand for themselves.
        if meant is not None:
            raise DatasetError(f"{where}: {key!r} is no key of a dialogue; did you mean {meant!r}?")
    has_ended = row.get("terminal", True)
    if not isinstance(has_ended, bool):
        raise DatasetError(f"{where}: terminal must be true or false, got {has_ended!r}")
    if isinstance(row.get("dialogue"), Sequence) and not isinstance(row["dialogue"], str):
        return Dialogue([turn_of(turn, where) for turn in row["dialogue"]], has_ended)
    if "prompt" in row and "response" in row:
        if row.get("reward") is None:
            raise DatasetError(f"{where}: a response must have a reward, a number, such as 0.0")
        turns = [turn_of((row["prompt"], None), where), turn_of((row["response"], row["reward"]), where)]
        return Dialogue(turns, has_ended)
    raise _unlike(row, where)


def turns_to_answer(row: object, where: str) -> list[Turn]:
    """Returns the turns of plain data up to the agent's turn: a prompt alone, or what `dialogue_of` takes.

    An utterance of the agent at their end is left out, as it is to be answered anew.

    Raises:
        DatasetError: For anything else.
    """
    if isinstance(row, Mapping) and "prompt" in row and "dialogue" not in row:
        return [turn_of((row["prompt"], None), where)]
    turns = list(dialogue_of(row, where).turns)
    return turns[:-1] if turns and turns[-1][1] is not None else turns


def turn_of(turn: object, where: str) -> Turn:
    """Returns the turn of plain data, a pair of text and reward.

    Raises:
        DatasetError: For anything else.
    """
    if isinstance(turn, Sequence) and len(turn) == 2:
        text, reward = turn
        reward = reward.tolist() if isinstance(reward, np.ndarray | np.generic) else reward
        rewards = reward if isinstance(reward, Sequence) and not isinstance(reward, str) else [reward]
        if isinstance(text, str) and (reward is None or all(map(_is_number, rewards))):
            return text, reward
    raise DatasetError(
        f"{where}: a turn must be a pair of text and reward, with null for the environment and a finite number for the "
        f"agent, got {str(turn)[:100]}"
    )


def _is_number(value: object) -> bool:
    """Returns whether a value is a number that float32 holds, as rewards are held."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_REWARD


def _unlike(row: object, where: str) -> DatasetError:
    return DatasetError(
        f'{where}: expected {{"dialogue": [[text, reward or null], ...]}}, or '
        f'{{"prompt": ..., "response": ..., "reward": ...}}, got {str(row)[:100]}'
    )

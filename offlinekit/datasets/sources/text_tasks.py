"""Two tasks of text, made anew whenever they are read: random walks on a graph, and Wordle with twenty words."""

from __future__ import annotations

from typing import Any

import gymnasium

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.source import Source
from offlinekit.datasets.sources.dialogues import text_dataset
from offlinekit.envs.environments import make_env
from offlinekit.envs.text.named_games import GAMES

NAMES = {
    "random-walks": "Walks on a graph of 21 letters, of random steps; shorter ones to the goal are worth more.",
    "wordle-20": "Wordle with 20 words, by a player who forgets half of what the marks said.",
}
N_DIALOGUES = {"random-walks": 5_000, "wordle-20": 10_000}


def names() -> dict[str, str]:
    """Returns the tasks, each with one line."""
    return NAMES


def load(name: str) -> tuple[MDPDataset, gymnasium.Env[Any, Any] | None]:
    """Makes the dataset and the environment of a task; equal ones at each call."""
    game = GAMES[name].make()
    dialogues = game.dialogues(N_DIALOGUES[name])
    return text_dataset(dialogues, tokenizer=game.tokenizer, name=name), make_env(name)


SOURCE = Source(summary="Made by offlinekit: text with a known optimum.", names=names, load=load)

"""Two tasks of text, made anew whenever they are read: random walks on a graph, and Wordle with twenty words."""

from __future__ import annotations

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.source import Source
from offlinekit.datasets.sources.dialogues import text_dataset
from offlinekit.envs.text import RandomWalks, TextEnv, Wordle

NAMES = {
    "random-walks": "Walks on a graph of 21 letters, of random steps; shorter ones to the goal are worth more.",
    "wordle-20": "Wordle with 20 words, by a player who forgets half of what the marks said.",
}
N_WALKS, N_GAMES = 5_000, 10_000


def names() -> dict[str, str]:
    """Returns the tasks, each with one line."""
    return NAMES


def load(name: str) -> tuple[MDPDataset, TextEnv]:
    """Makes the dataset and the environment of a task; equal ones at each call."""
    game: RandomWalks | Wordle
    if name == "random-walks":
        game, most = RandomWalks(), 10
        dialogues = list(game.dialogues(N_WALKS))
    else:
        game, most = Wordle(), 1
        dialogues = list(game.dialogues(N_GAMES))
    dataset = text_dataset(dialogues, tokenizer=game.tokenizer, name=name)
    return dataset, TextEnv(game, game.tokenizer, max_tokens=most)


SOURCE = Source(summary="Made by offlinekit: text with a known optimum.", names=names, load=load)

"""Walks on a random graph, written as letters: a task of text whose optimum is known by search.

The environment names a node, the agent writes the nodes that follow, and the walk is worth the more, the shorter its
way to the goal is. Source: the example `randomwalks` of CarperAI/trlx; unlike there, every node can reach the goal.
"""

from __future__ import annotations

import itertools
import string
from functools import cached_property

import numpy as np

from offlinekit.envs.text.tokenizers import CharTokenizer
from offlinekit.ground.hints import answers_keywords
from offlinekit.types import Array

GOAL = 0


@answers_keywords
class RandomWalks:
    """The task, as an environment of text: `env(None)` names a node, `env("cba")` judges the walk from there.

    A walk is worth `longest` less its number of nodes if it follows edges to the goal and ends there, in tenths of
    `longest`; else 0.

    Args:
        n_nodes: Nodes of the graph, letters from "a" on; "a" is the goal.
        edge_probability: Of each edge.
        longest: Nodes of the longest walk, the first one included.
        graph_seed: Of the graph, drawn anew until every node reaches the goal in fewer than `longest` nodes.

    Raises:
        ValueError: For more nodes than letters.
    """

    def __init__(
        self, n_nodes: int = 21, edge_probability: float = 0.1, longest: int = 10, graph_seed: int = 59
    ) -> None:
        if not 2 <= n_nodes <= len(string.ascii_lowercase):
            raise ValueError(f"n_nodes must be from 2 to 26, one a letter, got {n_nodes}")
        self.letters, self.longest = string.ascii_lowercase[:n_nodes], longest
        rng = np.random.default_rng(graph_seed)
        while True:
            self.edges: Array = rng.uniform(size=(n_nodes, n_nodes)) < edge_probability
            np.fill_diagonal(self.edges, False)
            self.edges[GOAL] = False
            if self.edges[GOAL + 1 :].any(1).all() and max(self.shortest) < longest:
                break
            self.__dict__.pop("shortest", None)
        self.seed(0)

    @property
    def tokenizer(self) -> CharTokenizer:
        """The letters."""
        return CharTokenizer(self.letters)

    @cached_property
    def shortest(self) -> list[int]:
        """Nodes of the shortest walk from each node to the goal, both included; `longest` + 1 where there is none."""
        found = [self.longest + 1] * len(self.letters)
        front, length = {GOAL}, 1
        while front:
            for node in front:
                found[node] = length
            reached = {int(node) for to in front for node in np.flatnonzero(self.edges[:, to])}
            front, length = {node for node in reached if found[node] > self.longest}, length + 1
        return found

    def seed(self, seed: int) -> None:
        """Seeds the choice of first nodes."""
        self._rng = np.random.default_rng(seed)
        self._node = GOAL

    def __call__(self, text: str | None) -> tuple[str, float, bool]:
        """Returns the first node of a walk, or what the walk is worth: text, reward, and whether it is over."""
        if text is None:
            self._node = int(self._rng.integers(1, len(self.letters)))
            return self.letters[self._node], 0.0, False
        return "", self.worth(self.letters[self._node] + text), True

    def length(self, walk: str) -> int | None:
        """Returns the number of nodes of a walk, the first one included; None if it leads to no goal by edges."""
        nodes = [self.letters.find(letter) for letter in walk]
        is_way = all(b >= 0 and self.edges[a, b] for a, b in itertools.pairwise(nodes))
        return len(nodes) if is_way and nodes[-1] == GOAL and len(nodes) <= self.longest else None

    def worth(self, walk: str) -> float:
        """Returns the reward of a walk, in [0, 1)."""
        length = self.length(walk)
        return 0.0 if length is None else (self.longest - length) / self.longest

    def optimality(self, walk: str) -> float:
        """Returns the reward of a walk as a share of the best one from its first node, in [0, 1]."""
        best = (self.longest - self.shortest[self.letters.find(walk[0])]) / self.longest
        return self.worth(walk) / best

    def exact_values(self, expectile: float, gamma: float) -> Array:
        """Returns the expectile of what random walks are worth, [n_nodes, longest + 1], by dynamic programming.

        Entry [s, n] is V of a walk of n nodes that has come to s: what IQL's losses have as their exact minimum, if the
        data walk as `walks` does. Q of a next node is gamma times the V of it at n + 1.

        Args:
            expectile: In (0, 1); 0.5 gives means, 1 would give the best walk.
            gamma: Discount factor of one letter.
        """
        values = np.zeros((len(self.letters), self.longest + 1))
        values[GOAL] = (self.longest - np.arange(self.longest + 1)) / self.longest
        for length in range(self.longest - 1, 0, -1):
            for node in range(GOAL + 1, len(self.letters)):
                following = gamma * values[self.edges[node], length + 1]
                values[node, length] = _expectile(following, expectile)
        return values

    def walks(self, n_walks: int = 1_000, seed: int = 0) -> list[str]:
        """Returns walks that follow random edges, up to the goal or `longest` nodes, from nodes drawn uniformly."""
        rng = np.random.default_rng(seed)
        made = []
        for _ in range(n_walks):
            nodes = [int(rng.integers(1, len(self.letters)))]
            while nodes[-1] != GOAL and len(nodes) < self.longest:
                nodes.append(int(rng.choice(np.flatnonzero(self.edges[nodes[-1]]))))
            made.append("".join(self.letters[node] for node in nodes))
        return made

    def dialogues(self, n_walks: int = 1_000, seed: int = 0) -> list[dict[str, object]]:
        """Returns random walks as prompts, responses and rewards."""
        return [
            {"prompt": walk[0], "response": walk[1:], "reward": self.worth(walk)}
            for walk in self.walks(n_walks, seed)
        ]


def _expectile(numbers: Array, expectile: float) -> float:
    """Returns the m at which expectile * (excess above m) and (1 - expectile) * (deficit below it) are equal."""
    found = numbers.mean()
    for _ in range(100):
        weights = np.where(numbers > found, expectile, 1.0 - expectile)
        found = (weights * numbers).sum() / weights.sum()
    return float(found)

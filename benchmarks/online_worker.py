"""An environment that measures who acts in it, and the loop of a process that answers for one library.

It needs gymnasium and numpy alone, so that it runs in the environment of any library.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

WARM = 600
"""Steps before the clock starts: by then minibatches are full and losses recorded."""
BEGIN = 300
"""Step at which updates begin."""
DISCRETE = ("dqn",)


class Clock(gymnasium.Env[Any, Any]):
    """Random observations shaped as hopper's (11, 3 actions) or cartpole's (4, 2 discrete), which cost next to nothing.

    Args:
        algo: Name of what acts.
        n_steps: Measured ones, after `WARM`.
        episode: Steps of an episode.

    Attributes:
        seconds: Processor time from step `WARM` to the last, what a clock shows if a core is free for its one thread.
    """

    def __init__(self, algo: str, n_steps: int, episode: int = 1_000) -> None:
        discrete = algo in DISCRETE
        width = 4 if discrete else 11
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        box = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2) if discrete else box
        self.seen = np.random.default_rng(0).normal(size=(1_024, width)).astype(np.float32)
        self.episode, self.last, self.taken, self.seconds = episode, WARM + n_steps, 0, 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        self.at = 0
        return self.seen[self.taken % 1_024], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a step, and notes the time at two of them."""
        self.taken += 1
        self.at += 1
        if self.taken == self.last:
            self.seconds = time.process_time() - self.began
        elif self.taken == WARM:
            self.began = time.process_time()
        return self.seen[self.taken % 1_024], 1.0, False, self.at == self.episode, {}


def serve(go: Callable[[str, Clock, int, bool], Any], set_threads: Callable[[int], Any]) -> None:
    """Answers {"algo", "threads", "steps", "learns"} with seconds of processor time a step, until stdin ends.

    Args:
        go: Takes the name of an algorithm, the environment, the number of steps, and whether it makes an update in
            each from step `BEGIN` on.
        set_threads: Sets the number of threads.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # What a library prints is no answer.
    for line in sys.stdin:
        question = json.loads(line)
        set_threads(question["threads"])
        env = Clock(question["algo"], question["steps"])
        go(question["algo"], env, env.last, question["learns"])
        answers.write(json.dumps(env.seconds / question["steps"]) + "\n")
        answers.flush()

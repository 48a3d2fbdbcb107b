"""Teachers that play Pong and Breakout by the memory of the console, where a trained policy cannot be had.

Addresses: mila-iqia/atari-representation-learning, atariari/benchmark/ram_annotations.py. Positions are bytes of
memory, whose unit is about a pixel; a step is four emulator frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import gymnasium
import numpy as np

from offlinekit.types import Array, ArrayTree


class Console(Protocol):
    """The emulator of a game."""

    def getRAM(self) -> Array:  # As ALE names it.
        """Returns the 128 bytes of memory."""


class Game(NamedTuple):
    """How a game is played: along `across` the ball comes, along the other axis the paddle moves."""

    across: int  # Address of the ball's coordinate towards the paddle.
    along: int  # Address of the coordinate that the paddle follows.
    paddle: int  # Address of the paddle.
    meeting: float  # Where the ball meets the paddle, in `across`.
    walls: tuple[float, float]  # That reflect `along`.
    offset: float  # Of the paddle's middle from its byte.
    aim: float  # The paddle's middle misses the ball by up to so much, drawn anew at each hit.
    stride: float  # By which a press moves the paddle: half at once, half in the next step.
    less: int  # Action that makes the paddle's byte smaller.
    more: int  # And larger.
    rest: float | None  # Where to wait while the ball flies away; None follows it.
    launch: int | None  # Action without a ball.


GAMES = {
    "Pong": Game(49, 54, 51, 190.0, (47.0, 205.0), 3.0, 3.0, 21.0, 2, 3, 120.0, None),
    "Breakout": Game(101, 99, 72, 178.0, (57.0, 199.0), 9.0, 2.0, 23.0, 3, 2, None, 1),
}


def reflected(position: float, walls: tuple[float, float]) -> float:
    """Returns where a ball is that flew straight to a position, with walls between which it bounces."""
    low, high = walls
    turned = (position - low) % (2 * (high - low))
    return low + min(turned, 2 * (high - low) - turned)


class Teacher:
    """Moves the paddle to where the ball will be, by its last two positions.

    Args:
        game: Name in `GAMES`.
        env: The one environment that it plays in; observations are not looked at.
        epsilon: Probability of a uniformly random action in each step.
        seed: Of random actions, and of what the paddle misses the ball by.
    """

    def __init__(self, game: str, env: gymnasium.Env[Any, Any], epsilon: float = 0.0, seed: int = 0) -> None:
        self.game, self.epsilon = GAMES[game], epsilon
        self.n_actions = int(cast(gymnasium.spaces.Discrete, env.action_space).n)
        self.console = cast(Console, env.unwrapped.ale)  # type: ignore[attr-defined]  # Of ALE alone.
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Seeds the random numbers, and forgets the ball."""
        self.rng = np.random.default_rng(seed)
        self.before: tuple[float, float] | None = None
        self.miss, self.pressed, self.approached = 0.0, 0, False

    def __call__(self, observations: ArrayTree) -> Array:
        """Returns the action [1]."""
        memory = self.console.getRAM()
        ball = (float(memory[self.game.across]), float(memory[self.game.along]))
        action = self.choose(ball, float(memory[self.game.paddle]))
        if self.rng.random() < self.epsilon:
            action = int(self.rng.integers(self.n_actions))
        self.pressed = {self.game.less: -1, self.game.more: 1}.get(action, 0)
        return np.array([action])

    def choose(self, ball: tuple[float, float], paddle: float) -> int:
        """Returns the action for a ball at (across, along), 0 in `across` without one."""
        game, before = self.game, self.before
        self.before = ball if ball[0] > 0 else None
        if self.before is None:
            return game.launch or 0
        if before is None:
            return 0
        speed, drift = ball[0] - before[0], ball[1] - before[1]
        if self.approached and speed < 0:
            self.miss = float(self.rng.uniform(-game.aim, game.aim))
        self.approached = speed > 0
        steps = (game.meeting - ball[0]) / speed if speed > 0 else np.inf
        if speed > 0 and steps > 0:
            goal = reflected(ball[1] + drift * steps, game.walls) + self.miss
        else:
            goal = ball[1] if game.rest is None else game.rest
        need = goal - (paddle + game.offset) - self.pressed * game.stride / 2
        least = (0.25 if steps <= 1.5 else 0.6) * game.stride
        return 0 if abs(need) <= least else game.more if need > 0 else game.less

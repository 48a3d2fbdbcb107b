"""Recordings of Atari games by teachers that read the console's memory."""

from __future__ import annotations

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.atari_teachers import Teacher
from offlinekit.datasets.recording.collecting import collect
from offlinekit.datasets.recording.stand_in import StandIn

EPSILON = {"Pong": 0.1, "Breakout": 0.36}
"""Shares of random actions, chosen so that the teachers return roughly what the published behaviour does, 6.8 and 46.9;
each recording has its own score."""
PREPARED = {"frame_stack": 1, "sticky_actions": False, "noop_max": 30}
"""How the published runs were prepared, without sticky actions; frames are single, and stacked when drawn."""
RECIPE = (
    "a teacher that reads the ball and the paddle from the console's memory and moves to where they meet, in place of "
    "the published QR-DQN; random actions with probability {epsilon}, by which it is to return roughly as much; no "
    "sticky actions, up to 30 no-ops at the start, 4 emulator frames a step. Its errors are of another kind than a "
    "network's"
)


def run(stand_in: StandIn) -> MDPDataset:
    """Records a game; the behaviour's own score is that of the recorded episodes, but for the last, which is cut."""
    env = stand_in.make_env()
    game = stand_in.env_id.removeprefix("ALE/").removesuffix("-v5")
    teacher = Teacher(game, env, EPSILON[game], stand_in.seed)
    recorded = collect(teacher, env, stand_in.n_steps, seed=stand_in.seed, n_envs=1, name=stand_in.name)
    returns = recorded.episode_returns()
    facts = {
        **stand_in.metadata(returns[:-1] if len(returns) > 1 else returns),
        "game": game,
        "epsilon": EPSILON[game],
    }
    dataset = recorded.with_options(metadata=facts)
    dataset.save(stand_in.out)
    return dataset

"""Recordings of MuJoCo levels: the policies that D4RL's files carry, in gymnasium's environments of version 4.

Source: Farama-Foundation/D4RL, scripts/generation/mujoco/collect_data.py.
"""

from __future__ import annotations

from offlinekit.datasets.families.d4rl_policy import TanhGaussianPolicy
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.collecting import collect
from offlinekit.datasets.recording.stand_in import StandIn
from offlinekit.datasets.sources import d4rl
from offlinekit.envs.evaluation import evaluate
from offlinekit.types import Array, ArrayTree

RECIPE = (
    "D4RL's medium level: the snapshot of SAC that D4RL's own file carries, its actions drawn, episodes of at most "
    "1,000 steps of gymnasium's environment of version 4. The last episode is cut at the last row"
)


def run(stand_in: StandIn) -> MDPDataset:
    """Records a level; after an interruption the same call goes on. The behaviour's score is that of drawn actions."""
    path = stand_in.policy_file or d4rl.find(stand_in.stands_for)
    policy = TanhGaussianPolicy.from_d4rl(path, stand_in.seed)

    def drawn(observations: ArrayTree) -> Array:
        return policy(observations)[0]  # type: ignore[arg-type]  # An array, of these environments.

    env = stand_in.make_env()
    returns = evaluate(drawn, env, stand_in.score_episodes, seed=stand_in.n_steps + stand_in.seed).returns
    metadata = {**stand_in.metadata(returns), "policy": f"d4rl:{path.name}"}
    return collect(
        policy,
        env,
        stand_in.n_steps,
        out=stand_in.out,
        seed=stand_in.seed,
        name=stand_in.name,
        metadata=metadata,
    )

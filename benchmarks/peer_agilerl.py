"""AgileRL 2.58 on the known example, as a process of `evolution.py`; it runs in an environment of its own."""

from __future__ import annotations

import json
import time
from typing import Any

import click
import gymnasium
import h5py
import numpy as np
import torch
from agilerl.algorithms.core.registry import HyperparameterConfig, RLParameter
from agilerl.algorithms.cqn import CQN
from agilerl.components.replay_buffer import ReplayBuffer
from agilerl.hpo.mutation import Mutations
from agilerl.hpo.tournament import TournamentSelection
from agilerl.training.train_offline import train_offline

NETWORK = {
    "encoder_config": {"hidden_size": [32, 32]},
    "head_config": {"hidden_size": [32]},
}


@click.command()
@click.argument("data", type=click.Path(exists=True))
@click.option("--seed", default=0)
@click.option("--steps", default=10_000)
@click.option("--generations", default=20)
@click.option("--target", default=200.0)
@click.option("--episodes", default=1)
def main(data: str, seed: int, steps: int, generations: int, target: float, episodes: int) -> None:
    """Trains by AgileRL's own loop, and prints a row as JSON."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # AgileRL draws from the global generators.
    env = gymnasium.make_vec("CartPole-v1", num_envs=1, vectorization_mode="sync")
    spaces = env.single_observation_space, env.single_action_space
    search = HyperparameterConfig(lr=RLParameter(min=1e-4, max=1e-2))
    settings: dict[str, Any] = {"batch_size": 128, "lr": 1e-3, "gamma": 0.99, "tau": 1e-3, "double": True}
    agents = [
        CQN(*spaces, index=i, hp_config=search, net_config=NETWORK, device="cpu", **settings)
        for i in range(4)
    ]
    began: list[float] = []
    learned = [0]
    learn = CQN.learn

    def counted(self: CQN, *given: Any) -> float:
        if not began:
            began.append(time.perf_counter())
        learned[0] += 1
        loss: float = learn(self, *given)
        return loss

    CQN.learn = counted
    with h5py.File(data) as file:
        columns = {name: file[name][:] for name in ("observations", "actions", "rewards", "terminals")}
    columns["actions"] = columns["actions"].reshape(-1, 1)
    population, fitnesses = train_offline(
        env,
        "CartPole-v1",
        "CQN",
        agents,
        ReplayBuffer(max_size=len(columns["rewards"]), device="cpu"),
        max_steps=steps * generations,
        evo_steps=steps,
        eval_loop=episodes,
        target=target,
        selection_strategy=TournamentSelection(tournament_size=2, elitism=True, population_size=4),
        mutation=Mutations(0.4, 0.2, 0.2, 0.2, 0.0, 0.2, mutation_sd=0.1, rand_seed=seed, device="cpu"),
        wb=False,
        verbose=False,
        dataset=columns,
    )
    seconds = time.perf_counter() - began[0]
    scores = [agent.test(env, loop=20) for agent in population]
    row = {
        "updates": learned[0],
        "seconds": round(seconds, 1),
        "per_second": round(learned[0] / seconds),
        "fitness": round(float(np.max(fitnesses[-1])), 1),
        "score": round(float(np.max(scores)), 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()

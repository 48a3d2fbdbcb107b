"""From a dataset to a judged policy: discrete CQL on recorded CartPole play, beside what it learned from."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from offlinekit.algos import DiscreteBC, DiscreteCQL
from offlinekit.datasets import get_dataset
from offlinekit.metrics import RandomPolicy, evaluate, mean, plot_learning_curves, standard_error


def main(n_steps: int = 6_000, n_episodes: int = 50, out: str = "runs") -> Path:
    dataset, env = get_dataset("cartpole-mixed")
    print(dataset)

    began = time.monotonic()
    cql = DiscreteCQL(seed=0, learning_rate=1e-3, lr_schedule="cosine", n_step=5)
    cql.fit(dataset, n_steps, eval_env=env, eval_interval=max(n_steps // 10, 1), out=out)
    cloning = DiscreteBC(seed=0).fit(dataset, n_steps // 2, out=None)
    print(f"trained in {time.monotonic() - began:.0f} s")

    rows = [("discrete CQL", evaluate(cql, env, n_episodes, seed=1_000).returns)]
    rows += [("behaviour (the data)", dataset.episode_returns())]
    rows += [("behaviour cloning", evaluate(cloning, env, n_episodes, seed=1_000).returns)]
    rows += [("random", evaluate(RandomPolicy(env.action_space), env, n_episodes, seed=1_000).returns)]
    print(f"\n{'policy':<22} {'mean return':>11}    {'s.e.':>5}  episodes")
    for name, returns in rows:
        print(f"{name:<22} {mean(returns):>11.1f} +- {standard_error(returns):>5.1f}  {len(returns):>8}")

    curve = Path(out) / "demo.png"
    baselines = {name: mean(returns) for name, returns in rows[1:]}
    plot_learning_curves({"discrete CQL": [cql.run_dir]}, curve, baselines=baselines, title="cartpole-mixed")
    print(f"\nlearning curve: {curve}\nrun folder:     {cql.run_dir}")
    return curve


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

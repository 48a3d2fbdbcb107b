"""Eight settings at once: four weights of TD3+BC, two seeds each, trained as one stacked program."""

from offlinekit.algos import Population, TD3PlusBC
from offlinekit.datasets import get_dataset
from offlinekit.metrics import plot_learning_curves

ALPHAS = (0.5, 1.0, 2.5, 5.0)
SEEDS = (0, 1)


def main(n_steps=5_000, out="runs"):
    dataset, env = get_dataset("pendulum-mixed")
    population = Population([TD3PlusBC(alpha=alpha, seed=seed) for alpha in ALPHAS for seed in SEEDS])
    population.fit(dataset, n_steps, eval_env=env, eval_interval=max(n_steps // 5, 1), out=out)

    print(f"data {dataset.episode_returns().mean():.0f}")
    for algo, history in zip(population.algos, population.history, strict=True):
        print(f"alpha {algo.alpha:<4} seed {algo.seed}: {history[-1]['eval/return_mean']:.0f}")
    best = population.best("eval/return_mean")
    print(f"best: {best!r}, in {best.run_dir}")

    curves = {
        f"alpha {alpha}": [algo.run_dir for algo in population.algos if algo.alpha == alpha]
        for alpha in ALPHAS
    }
    print(f"learning curves: {plot_learning_curves(curves, f'{out}/population.png')}")
    return population


if __name__ == "__main__":
    main()

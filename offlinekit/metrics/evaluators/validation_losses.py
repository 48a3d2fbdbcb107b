"""The losses of an algorithm's own objectives on data, without learning from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.directions import less_is_better
from offlinekit.ground.hints import answers_guesses
from offlinekit.training.undisturbed import undisturbed

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.batch import Minibatch


@less_is_better
@answers_guesses
def validation_losses(algo: Algo, dataset: MDPDataset, *, n_batches: int = 50) -> dict[str, float]:
    """Returns the mean loss of each objective over minibatches, by its name, and changes nothing.

    Made for held-out episodes: `on_dataset(validation_losses, held_out)` in a run. The minibatches are drawn as
    in training, the same ones at each call; what dropout and schedules do in training is left out.

    Args:
        algo: With networks.
        dataset: What the minibatches are drawn from.
        n_batches: How many of `algo.batch_size`; fewer if they would hold each row more than once on average.
    """
    algo.check(dataset)
    sampler = algo.make_sampler(dataset)
    n_batches = max(min(n_batches, -(-len(dataset) // algo.batch_size)), 1)
    sums: dict[str, float] = {}
    with undisturbed(algo):
        for _ in range(n_batches):
            batch: Minibatch = sampler.sample()
            for objective in algo.impl.objectives:
                sums[objective.name] = sums.get(objective.name, 0.0) + float(objective.reduced(batch)[0])
    return {name: total / n_batches for name, total in sums.items()}

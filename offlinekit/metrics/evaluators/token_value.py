"""Values of the agent's states in dialogues."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor

from offlinekit.algos.ilql import ILQL
from offlinekit.directions import more_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import tokens_of_agent

if TYPE_CHECKING:
    from offlinekit.algos.torch.ilql_impl import ILQLImpl
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.batch import TrajectoryBatch


@more_is_better
def token_value(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean over the agent's tokens of V, the value of the state in which each was chosen.

    Raises:
        UnsupportedError: For an algorithm that learns no values of tokens.
    """
    if not isinstance(algo, ILQL):
        raise UnsupportedError(
            f"{type(algo).__name__} learns no values of tokens; token_value is that of ILQL"
        )
    impl = cast("ILQLImpl", algo.impl)

    def values(batch: TrajectoryBatch) -> Tensor:
        return impl.values(batch.observations, batch.valid)[0]

    return float(tokens_of_agent(algo, dataset, values).mean())

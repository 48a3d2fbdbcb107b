"""How far Q stands out at the tokens that were said."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from offlinekit.algos.ilql import ILQL
from offlinekit.directions import less_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import tokens_of_agent

if TYPE_CHECKING:
    from offlinekit.algos.torch.ilql_impl import ILQLImpl
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@less_is_better
def token_cross_entropy(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the conservative term of ILQL: the mean over the agent's tokens of -log softmax Q, summed over both Q.

    Twice the logarithm of the number of tokens where Q is the same for all, 0 where unseen tokens have a Q far below.

    Raises:
        UnsupportedError: For an algorithm that learns no values of tokens.
    """
    if not isinstance(algo, ILQL):
        raise UnsupportedError(
            f"{type(algo).__name__} learns no values of tokens; token_cross_entropy is that of ILQL"
        )
    impl = cast("ILQLImpl", algo.impl)
    return float(tokens_of_agent(algo, dataset, impl.cross_entropies).mean())

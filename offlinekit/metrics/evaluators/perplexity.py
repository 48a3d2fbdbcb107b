"""Perplexity of the agent's tokens under a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from offlinekit.core.bases.text_model import TextModel, TextModelImpl
from offlinekit.directions import less_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import tokens_of_agent

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@less_is_better
def perplexity(algo: Algo, dataset: MDPDataset) -> float:
    """Returns exp of the mean over the agent's tokens of -log pi, of the language model without its values.

    1 for a model that is sure of every token, the size of the vocabulary where all tokens are equally likely.

    Raises:
        UnsupportedError: For an algorithm that is no language model.
    """
    if not isinstance(algo, TextModel):
        raise UnsupportedError(
            f"perplexity is that of language models, such as TextBC, and {type(algo).__name__} is none; use "
            "log_likelihood"
        )
    impl = cast("TextModelImpl", algo.impl)
    return float(np.exp(-tokens_of_agent(algo, dataset, impl.log_probs).mean()))

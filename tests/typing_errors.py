"""A user's code under the type checker, which reports each mark here whose error it no longer sees.

No test runs this file; `make static` checks it.
"""

from __future__ import annotations

from typing import Annotated

import gymnasium
import numpy as np
from numpy.typing import NDArray

from offlinekit.algos import CQL
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.hyperparameters import Positive
from offlinekit.metrics import evaluate


class Unparametrised(CQLImpl):
    def build(self) -> None:
        print(self.config.alpha)
        print(self.config.alhpa)  # type: ignore[attr-defined]


class Careful(CQL):
    caution: Annotated[Positive, "Of a user's own."] = 0.1
    alpha = 2.0


class CarefulImpl(CQLImpl):
    config: Careful

    def weight(self) -> float:
        return self.config.caution + self.config.alpha


def left(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.zeros(len(observations), np.int64)


def use() -> None:
    algo = Careful(caution=0.2, batch_size=64)
    algo.alpha = 1.0
    algo.bach_size = 3  # type: ignore[attr-defined]
    Careful(cautoin=0.2)  # type: ignore[call-arg]
    Careful(caution="much")  # type: ignore[arg-type]
    env = gymnasium.make("CartPole-v1")
    evaluate(left, env)
    evaluate(algo, env)
    evaluate("left", env)  # type: ignore[arg-type]

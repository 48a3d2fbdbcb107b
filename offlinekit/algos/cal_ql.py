"""Calibrated Q-learning."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from offlinekit.algos.cql import CQL
from offlinekit.algos.torch.cal_ql_impl import CalQLImpl
from offlinekit.datasets import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.n_step import endless_returns


class CalQL(CQL):
    """Calibrated Q-learning: CQL whose values are bounded below by returns of the data, for fine-tuning online.

    Source: Nakamoto et al. 2023, arXiv:2303.05479.
    """

    failed_return: Annotated[
        Literal["episode", "endless"], "Of episodes that earn nothing but the lowest reward."
    ] = "episode"

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2303.05479"
    impl_class = CalQLImpl

    def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Makes what draws the batches of a run, with the returns that bound the values."""
        if self.failed_return == "endless":
            scaler = self.scaling.reward
            rewards = dataset.rewards if scaler is None else scaler.transform(dataset.rewards)
            returns = endless_returns(dataset, rewards, self.gamma)
            settings["columns"] = {"returns": returns, **settings.get("columns", {})}
        return super().make_sampler(dataset, **settings)

    @property
    def samples_rows(self) -> bool:
        """Whether rows can be held one by one: not if returns depend on the lowest reward of all."""
        return self.failed_return == "episode"

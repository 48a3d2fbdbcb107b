"""Dynamics whose predictions begin several steps back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.torch.any_step_dynamics_impl import AnyStepDynamicsImpl
from offlinekit.core.hyperparameters import Count, NonNegative, Positive
from offlinekit.datasets import MDPDataset
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.windows import check_order
from offlinekit.training.model_based.epochs import Windows


class AnyStepDynamics(Dynamics):
    """Learns what follows from a state 1 to m steps back and the actions since: a recurrent network.

    How far predictions of different lengths lie apart says how unsure the model is. What takes single steps, such as
    evaluation, uses length 1. Source: Lin et al. 2025, arXiv:2405.17031.
    """

    max_steps_back: Annotated[Count, "Most steps between a prediction and the state it begins with."] = 10
    n_recurrent_layers: Annotated[Count, "Gated recurrent units on top of one another."] = 3
    n_members: Annotated[Count, "Models in the ensemble."] = 1
    n_elites: Annotated[
        Count | None, "Members that steps are drawn from: the best on held-out rows; None: all."
    ] = None
    bootstrap: Annotated[
        Literal["rows", "episodes", "none"],
        "What each model draws with replacement to learn from; estimates of values need episodes.",
    ] = "none"
    layer_decay: Annotated[NonNegative, "Times 1e-4 for the last layer and less for others, in the loss."] = (
        0.0
    )
    patience: Annotated[
        Count | None, "Epochs without a better member to stop after; None: all updates, newest members."
    ] = 25
    learning_rate: Annotated[Positive, "Of the models."] = 3e-4
    encoder = MLPEncoder((200,) * 4, "silu", layer_norm=True, dropout=0.1)

    family: ClassVar[str] = "OPE"
    paper: ClassVar[str] = "arXiv:2405.17031"
    impl_class = AnyStepDynamicsImpl

    def windows(self, dataset: MDPDataset, source: TransitionSampler) -> Windows:
        """Returns windows of m rows, which end before a row that cannot be drawn, such as of a time-out.

        Raises:
            DatasetError: For unordered transitions.
        """
        check_order(dataset, "MOPO or MOBILE")
        usable = torch.zeros(len(dataset), dtype=torch.int64)
        usable[source.usable_rows().cpu()] = 1
        ends = torch.from_numpy(dataset.episode_ends)
        ends = ends - 1 + usable[ends - 1]
        return Windows(ends.to(source.device), self.max_steps_back)

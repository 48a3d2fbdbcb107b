"""Policy regularisation with a dataset constraint: TD3+BC towards the nearest row of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gymnasium import spaces
from torch import Tensor

from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.past.sight import row_space
from offlinekit.errors import NotFittedError, UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn.neighbours import Neighbours
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.training.objectives import Loss
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.prdc import PRDC


class PRDCImpl(TD3PlusBCImpl):
    """L_actor = (pi(s) - a_near)^2 - lambda Q(s, pi(s)), a_near of the row nearest to (s, pi(s)); arXiv:2306.06569."""

    config: PRDC
    stackable: ClassVar[bool] = False
    neighbours: Neighbours | None = None

    def build(self) -> None:
        """Makes the networks of TD3.

        Raises:
            UnsupportedError: For observations that are no vectors.
        """
        space = self.observation_space
        row = row_space(space) or space
        if not isinstance(row, spaces.Box) or len(row.shape) != 1:
            raise UnsupportedError(
                f"PRDC searches the data for the nearest observation, which must be a vector, got {space}; "
                "use TD3PlusBC"
            )
        super().build()

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Makes the index of the rows that the sampler draws, scaled as it scales them.

        Raises:
            UnsupportedError: For a dataset that is read from a file in blocks.
        """
        if not isinstance(sampler, TransitionSampler):
            raise UnsupportedError(
                "PRDC searches all rows, which needs the dataset in memory; use MDPDataset.load in place of open"
            )
        batch = sampler.gather(sampler.usable_rows())
        observations, actions = first_leaf(batch.observations).flatten(1), batch.actions.contiguous()
        self.neighbours = Neighbours(observations, actions, self.config.state_weight)

    def nearest_actions(self, batch: Batch) -> Tensor:
        """Returns the data's action [B, A] nearest to each observation and the policy's action there.

        Raises:
            NotFittedError: Before a run.
        """
        if self.neighbours is None:
            raise NotFittedError(
                "PRDC has no data to search yet; call fit(dataset), or sample_batch(dataset)"
            )
        assert isinstance(batch.observations, Tensor)  # For the type checker: `build` saw to it.
        return self.neighbours.nearest_actions(batch.observations.flatten(1), self.policy(batch.observations))

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the normalised value term plus the squared distance to the nearest action of the data."""
        return super().compute_actor_loss(batch._replace(actions=self.nearest_actions(batch)))

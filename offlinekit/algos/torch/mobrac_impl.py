"""MoBRAC: ReBRAC on recorded rows and penalised rollouts."""

from __future__ import annotations

from offlinekit.algos.torch.rebrac_impl import ReBRACImpl
from offlinekit.core.bases.model_based import PenalisedRolloutsImpl


class MoBRACImpl(PenalisedRolloutsImpl, ReBRACImpl):
    """The losses of ReBRAC; the next action of an imagined row is the one drawn there; arXiv:2504.11453."""

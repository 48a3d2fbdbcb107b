"""MOPO: SAC on recorded rows and penalised rollouts."""

from __future__ import annotations

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.model_based import PenalisedRolloutsImpl


class MOPOImpl(PenalisedRolloutsImpl, SACImpl):
    """The losses of SAC; rollouts pay r - penalty * u(s, a); arXiv:2005.13239, algorithm 2."""

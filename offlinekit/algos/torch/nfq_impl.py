"""Neural fitted Q iteration: regression on targets that stay fixed for an iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.bases.q_learning import QLearningImpl

if TYPE_CHECKING:
    from offlinekit.algos.nfq import NFQ


class NFQImpl(QLearningImpl):
    """Q_{k+1} = argmin_Q sum (Q(s, a) - (r + gamma max_a' Q_k(s', a')))^2; Riedmiller 2005, figure 1.

    The target network is Q_k; it takes up the critics when an iteration ends.
    """

    config: NFQ

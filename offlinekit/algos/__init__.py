"""The algorithms, by family, and how to find one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from offlinekit.algos.admpo import ADMPO
from offlinekit.algos.any_step_dynamics import AnyStepDynamics
from offlinekit.algos.awac import AWAC
from offlinekit.algos.awr import AWR
from offlinekit.algos.bc import BC
from offlinekit.algos.bcq import BCQ
from offlinekit.algos.bear import BEAR
from offlinekit.algos.bfn import BFN
from offlinekit.algos.bred import BRED
from offlinekit.algos.cal_ql import CalQL
from offlinekit.algos.combo import COMBO
from offlinekit.algos.cql import CQL
from offlinekit.algos.cqn import CQN
from offlinekit.algos.crr import CRR
from offlinekit.algos.ddpg import DDPG
from offlinekit.algos.decision_transformer import DecisionTransformer
from offlinekit.algos.diffusion_ql import DiffusionQL
from offlinekit.algos.discrete_awac import DiscreteAWAC
from offlinekit.algos.discrete_bc import DiscreteBC
from offlinekit.algos.discrete_bcq import DiscreteBCQ
from offlinekit.algos.discrete_cql import DiscreteCQL
from offlinekit.algos.discrete_crr import DiscreteCRR
from offlinekit.algos.discrete_decision_transformer import DiscreteDecisionTransformer
from offlinekit.algos.discrete_iql import DiscreteIQL
from offlinekit.algos.discrete_sac import DiscreteSAC
from offlinekit.algos.double_dqn import DoubleDQN
from offlinekit.algos.dqn import DQN
from offlinekit.algos.dynamics import DiscreteDynamics, Dynamics
from offlinekit.algos.e2o import E2O
from offlinekit.algos.edac import EDAC
from offlinekit.algos.fqe import FQE, DiscreteFQE
from offlinekit.algos.fql import FQL
from offlinekit.algos.idql import IDQL
from offlinekit.algos.ifql import IFQL
from offlinekit.algos.ilql import ILQL
from offlinekit.algos.in_ac import InAC
from offlinekit.algos.iql import IQL
from offlinekit.algos.ispic import ISPIC
from offlinekit.algos.ispis import ISPIS
from offlinekit.algos.lbsac import LBSAC
from offlinekit.algos.leq import LEQ
from offlinekit.algos.mobile import MOBILE
from offlinekit.algos.mobrac import MoBRAC
from offlinekit.algos.mopo import MOPO
from offlinekit.algos.morel import MOReL
from offlinekit.algos.msg import MSG
from offlinekit.algos.nfq import NFQ
from offlinekit.algos.percent_bc import PercentBC
from offlinekit.algos.pex import PEX
from offlinekit.algos.plas import PLAS
from offlinekit.algos.prdc import PRDC
from offlinekit.algos.qc import QC
from offlinekit.algos.qc_fql import QCFQL
from offlinekit.algos.qrdqn import QRDQN
from offlinekit.algos.rambo import RAMBO
from offlinekit.algos.rebrac import ReBRAC
from offlinekit.algos.redq import REDQ
from offlinekit.algos.rlpd import RLPD
from offlinekit.algos.sac import SAC
from offlinekit.algos.sacn import SACN
from offlinekit.algos.spot import SPOT
from offlinekit.algos.tacr import TACR
from offlinekit.algos.td3 import TD3
from offlinekit.algos.td3_plus_bc import TD3PlusBC
from offlinekit.algos.text_bc import TextBC
from offlinekit.algos.uwac import UWAC
from offlinekit.algos.wsrl import WSRL
from offlinekit.algos.xql import XQL
from offlinekit.core.algo import Algo
from offlinekit.core.catalogue import letters
from offlinekit.core.populations import Population
from offlinekit.errors import did_you_mean
from offlinekit.ground.hints import no_attribute
from offlinekit.nn.encoders import CNNEncoder, MLPEncoder, ResidualEncoder, register_encoder

__all__ = [
    "ADMPO",
    "AWAC",
    "AWR",
    "BC",
    "BCQ",
    "BEAR",
    "BFN",
    "BRED",
    "COMBO",
    "CQL",
    "CQN",
    "CRR",
    "DDPG",
    "DQN",
    "E2O",
    "EDAC",
    "FQE",
    "FQL",
    "IDQL",
    "IFQL",
    "ILQL",
    "IQL",
    "ISPIC",
    "ISPIS",
    "LBSAC",
    "LEQ",
    "MOBILE",
    "MOPO",
    "MSG",
    "NFQ",
    "PEX",
    "PLAS",
    "PRDC",
    "QC",
    "QCFQL",
    "QRDQN",
    "RAMBO",
    "REDQ",
    "RLPD",
    "SAC",
    "SACN",
    "SPOT",
    "TACR",
    "TD3",
    "UWAC",
    "WSRL",
    "XQL",
    "Algo",
    "AnyStepDynamics",
    "CNNEncoder",
    "CalQL",
    "DecisionTransformer",
    "DiffusionQL",
    "DiscreteAWAC",
    "DiscreteBC",
    "DiscreteBCQ",
    "DiscreteCQL",
    "DiscreteCRR",
    "DiscreteDecisionTransformer",
    "DiscreteDynamics",
    "DiscreteFQE",
    "DiscreteIQL",
    "DiscreteSAC",
    "DoubleDQN",
    "Dynamics",
    "InAC",
    "MLPEncoder",
    "MOReL",
    "MoBRAC",
    "PercentBC",
    "Population",
    "ReBRAC",
    "ResidualEncoder",
    "TD3PlusBC",
    "TextBC",
    "catalogue",
    "get_algo",
    "register_encoder",
]

if not TYPE_CHECKING:
    __getattr__ = partial(no_attribute, __name__, __all__)


def catalogue() -> dict[str, type[Algo]]:
    """Returns every algorithm that learns to act by its name on the command line, those of the user too."""
    return {algo.catalogue_name(): algo for _, algo in sorted(Algo.known.items()) if algo.family != "OPE"}


def get_algo(name: str) -> type[Algo]:
    """Returns the algorithm of a name in any usual spelling: "td3+bc", "TD3PlusBC", "td3_plus_bc".

    Raises:
        ValueError: For an unknown name; suggests the nearest.
        TypeError: For no name at all.
    """
    if not isinstance(name, str):
        raise TypeError(f"an algorithm goes by its name, such as 'iql', got {name!r}")
    known = catalogue()
    spelled = {letters(key): algo for key, algo in known.items()}
    if letters(name) not in spelled:
        hint = did_you_mean(name.lower(), known) or "; offlinekit.algos.catalogue() has all"
        raise ValueError(f"Unrecognized algorithm name: {name!r}{hint}")
    return spelled[letters(name)]

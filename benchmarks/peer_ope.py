"""scope-rl 0.2.1 or obp 0.5.7 as a process of `ope_peers.py`; it runs in an environment of its own.

    python peer_ope.py LIBRARY DATA.npz

Prints {"values": by our names, "intervals": of pdis} as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np


def of_scope_rl(data: dict[str, Any]) -> dict[str, Any]:
    """Returns estimates of episodes, and intervals of per-decision importance sampling."""
    from scope_rl.ope.discrete import basic_estimators as basic
    from scope_rl.utils import (
        estimate_confidence_interval_by_bootstrap,
        estimate_confidence_interval_by_empirical_bernstein,
        estimate_confidence_interval_by_hoeffding,
        estimate_confidence_interval_by_t_test,
    )

    given = {
        "step_per_trajectory": int(data["n_steps"]), "action": data["actions"], "reward": data["rewards"],
        "pscore": data["propensities"], "evaluation_policy_action_dist": data["target"],
        "state_action_value_prediction": data["q"], "gamma": float(data["gamma"]),
    }  # fmt: skip
    estimators = {
        "direct": basic.DirectMethod(), "is": basic.TrajectoryWiseImportanceSampling(),
        "pdis": basic.PerDecisionImportanceSampling(), "dr": basic.DoublyRobust(),
        "wis": basic.SelfNormalizedTIS(), "wpdis": basic.SelfNormalizedPDIS(), "wdr": basic.SelfNormalizedDR(),
    }  # fmt: skip
    values = {name: float(one.estimate_policy_value(**given)) for name, one in estimators.items()}
    each = estimators["pdis"]._estimate_trajectory_value(**given)
    bounds = {
        "t": estimate_confidence_interval_by_t_test,
        "hoeffding": estimate_confidence_interval_by_hoeffding,
        "bernstein": estimate_confidence_interval_by_empirical_bernstein,
        "bootstrap": estimate_confidence_interval_by_bootstrap,
    }
    intervals = {}
    for name, function in bounds.items():
        extra = {"random_state": 0} if name == "bootstrap" else {}
        found = function(each, alpha=0.05, **extra)
        low, high = (next(v for k, v in found.items() if k.endswith(end)) for end in ("(lower)", "(upper)"))
        intervals[name] = float(low), float(high)
    return {"values": values, "intervals": intervals}


def of_obp(data: dict[str, Any]) -> dict[str, Any]:
    """Returns estimates of single steps."""
    from obp import ope

    given = {
        "reward": data["rewards"], "action": data["actions"], "pscore": data["propensities"],
        "action_dist": data["target"][:, :, None], "estimated_rewards_by_reg_model": data["q"][:, :, None],
    }  # fmt: skip
    estimators = {
        "is": ope.InverseProbabilityWeighting(), "wis": ope.SelfNormalizedInverseProbabilityWeighting(),
        "direct": ope.DirectMethod(), "dr": ope.DoublyRobust(), "wdr": ope.SelfNormalizedDoublyRobust(),
        "switch": ope.SwitchDoublyRobust(lambda_=float(data["switch"])),
    }  # fmt: skip
    return {
        "values": {name: float(one.estimate_policy_value(**given)) for name, one in estimators.items()},
        "intervals": {},
    }


if __name__ == "__main__":
    library, path = sys.argv[1:]
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    print(json.dumps({"scope-rl": of_scope_rl, "obp": of_obp}[library](arrays)))

"""Probabilities of drawn actions: a law that draws follow, or none where the policy network's is not theirs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats

from offlinekit.algos import AWAC, BC, CRR, IQL, MLPEncoder, catalogue
from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.units import SampledPolicy, has_density
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.behaviour_actions import Behaviour
from offlinekit.metrics.ope import fit_behaviour
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree

HALF_WIDTH = 2.0
CONTINUOUS = [name for name, cls in catalogue().items() if cls.action_kind == "continuous"]
WITHOUT = {
    "bcq",
    "bear",
    "bfn",
    "crr",
    "diffusion_ql",
    "e2o",
    "idql",
    "ifql",
    "pex",
    "plas",
    "qc",
    "qc_fql",
    "uwac",
}
"""Those that choose among proposals by their critics, or draw from a generator."""
DETERMINISTIC = {
    "bc",
    "percent_bc",
    "td3",
    "ddpg",
    "td3_plus_bc",
    "rebrac",
    "spot",
    "prdc",
    "ispic",
    "ispis",
    "mobrac",
}


def data(rows: int = 80) -> MDPDataset:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(rows, 2)).astype(np.float32)
    actions = rng.uniform(-HALF_WIDTH, HALF_WIDTH, (rows, 1)).astype(np.float32)
    box = spaces.Box(-HALF_WIDTH, HALF_WIDTH, (1,))
    return MDPDataset(observations, actions, np.zeros(rows), np.arange(rows) % 8 == 7, action_space=box)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_follow_the_law_that_is_told(name: str) -> None:
    cls = catalogue()[name]
    options = {"policy": "gaussian"} if name in ("bc", "percent_bc") else {}
    algo = cls(seed=0, encoder=MLPEncoder((8,)), device="cpu", **options).build(data())
    policy = SampledPolicy(algo)
    if algo.is_stateful:
        assert not hasattr(policy, "log_prob")
        return
    if not hasattr(policy, "log_prob"):
        assert name in WITHOUT | DETERMINISTIC | {"fql", "leq"}
        return
    assert name not in WITHOUT
    state = np.array([[0.5, -1.0]], np.float32)
    grid = np.linspace(-HALF_WIDTH, HALF_WIDTH, 2001).astype(np.float32)[1:-1, None]
    inside = np.exp(policy.log_prob(np.repeat(state, len(grid), 0), grid))
    drawn = policy.predict(np.repeat(state, 20_000, 0))[:, 0]
    if isinstance(algo.impl.policy, GaussianPolicy):
        below, above = np.exp(policy.log_prob(np.repeat(state, 2, 0), np.array([[-2.0], [2.0]], np.float32)))
        assert np.trapezoid(inside, grid[:, 0]) + below + above == pytest.approx(1.0, abs=2e-3)
        assert (drawn <= -HALF_WIDTH).mean() == pytest.approx(below, abs=0.015)
        assert (drawn >= HALF_WIDTH).mean() == pytest.approx(above, abs=0.015)
    middle = np.abs(grid[:, 0]) < 0.7
    expected = np.trapezoid(inside[middle], grid[middle, 0])
    assert (np.abs(drawn) < 0.7).mean() == pytest.approx(expected, abs=0.015)


def test_bounds_have_the_mass_beyond_them() -> None:
    class Constant(torch.nn.Module):
        def forward(self, observations: TensorTree) -> torch.Tensor:
            return torch.tensor([[0.5, -0.25]]).expand(len(observations), 2)

    policy = GaussianPolicy(Constant(), Random(0, torch.device("cpu")), 2, squash=False)
    torch.nn.init.constant_(policy.log_stds, np.log(0.5))
    actions = torch.tensor([[0.25, 0.25], [1.0, 0.25], [1.0, -1.0], [-1.0, 0.0]])
    found = policy.clipped_log_prob(torch.zeros(4, 3), actions, torch.tensor([np.log(2.0), np.log(4.0)]))
    # Scores: (0.25 - 0.5) / 0.5 = -0.5 and (0.25 + 0.25) / 0.5 = 1; beyond 1 lies 1 - Phi(1), below -1 Phi(-3) of the
    # first dimension and Phi(-1.5) of the second. A unit of the dimensions is 2 and 4 in the data.
    densities = stats.norm.logpdf([-0.5, 1.0]) - np.log(0.5) - np.log([2.0, 4.0])
    at_0 = stats.norm.logpdf(0.5) - np.log(0.5) - np.log(4.0)
    expected = [
        densities.sum(),
        stats.norm.logsf(1.0) + densities[1],
        stats.norm.logsf(1.0) + stats.norm.logcdf(-1.5),
        stats.norm.logcdf(-3.0) + at_0,
    ]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5)


def test_draws_of_a_users_own_have_a_density_only_if_it_says_so() -> None:
    class Best(IQLImpl):
        def sample_action(self, observations: TensorTree) -> torch.Tensor:
            return self.policy.sample(observations)[0].abs()

    class Known(Best):
        def sampled_log_prob(
            self, observations: TensorTree, actions: torch.Tensor, log_scale: torch.Tensor
        ) -> torch.Tensor:
            return super().sampled_log_prob(observations, actions, log_scale) + np.log(2.0)

    class Further(Known):
        pass

    options = {"seed": 0, "encoder": MLPEncoder((8,)), "device": "cpu"}
    known = [has_density(IQL(impl_class=cls, **options).build(data()).impl) for cls in (Best, Known, Further)]
    assert known == [False, True, True]
    assert not has_density(CRR(**options).build(data()).impl)
    assert not has_density(BC(**options).build(data()).impl)  # Deterministic.


def test_a_recorder_tells_masses_at_bounds_and_no_share_of_random_actions_there() -> None:
    algo = AWAC(seed=0, encoder=MLPEncoder((8,)), device="cpu").build(data())
    policy = SampledPolicy(algo)
    behaviour = Behaviour(policy, algo.impl.action_space, epsilon=0.4)
    states = np.repeat(np.array([[0.5, -1.0]], np.float32), 500, 0)
    actions, log_probs = behaviour(states, [SimpleNamespace(reward=0.0, episode=i) for i in range(500)])
    own = policy.log_prob(states, actions)
    edge = np.abs(actions[:, 0]) == HALF_WIDTH
    assert 50 < edge.sum() < 300
    np.testing.assert_allclose(log_probs[edge], np.log(0.6) + own[edge], rtol=1e-5)
    np.testing.assert_allclose(
        log_probs[~edge], np.log(0.6 * np.exp(own[~edge]) + 0.4 / (2 * HALF_WIDTH)), rtol=1e-5
    )


def test_a_fitted_behaviour_has_masses_at_bounds_too() -> None:
    from sklearn.dummy import DummyRegressor

    actions = np.tile(np.array([[0.0], [1.0], [-1.0], [0.5]], np.float32), (4, 1))
    box = spaces.Box(np.array([-1.0], np.float32), np.array([1.0], np.float32))
    dataset = MDPDataset(np.zeros((16, 1)), actions, np.zeros(16), np.arange(16) % 8 == 7, action_space=box)
    found = fit_behaviour(dataset, model=DummyRegressor(), n_folds=2).log_probs[:4]
    # Each half has the mean 0.125 and the errors -0.125, 0.875, -1.125 and 0.375 of the other half.
    width = np.sqrt((0.125**2 + 0.875**2 + 1.125**2 + 0.375**2) / 4)
    expected = [
        stats.norm.logpdf(-0.125, scale=width),
        stats.norm.logsf(0.875 / width),
        stats.norm.logcdf(-1.125 / width),
        stats.norm.logpdf(0.375, scale=width),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)

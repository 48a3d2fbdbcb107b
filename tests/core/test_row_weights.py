"""Every algorithm of the catalogue learns with loss weights of rows, and nothing of rows of weight 0."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from offlinekit.algos import Population, catalogue
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.sampling.chunks import chunked
from offlinekit.sampling.loss_weights import weighted as row_weighted
from offlinekit.testing import small_dataset

QUIET: dict[str, Any] = {"out": None, "progress": False, "engine": "eager", "value_alarm": "off"}
TINY = {"type": "mlp", "hidden_sizes": [8]}
SMALL = {
    "encoder": TINY,
    "critic_encoder": TINY,
    "vae_encoder": TINY,
    "observation_scaler": "standard",
    "warmup_steps": 1,
    "policy_delay": 1,
    "context": 5,
    "width": 8,
    "n_layers": 1,
    "max_length": 20,
    "n_actions": 3,
    "n_candidates": 3,
    "fraction": 0.5,
}
WHOLE = {
    "AWR",
    "CalQL",
    "PercentBC",
    "ReBRAC",
    "QC",
    "QCFQL",
    "DecisionTransformer",
    "DiscreteDecisionTransformer",
    "ILQL",
    "TACR",
    "TextBC",
    "WSRL",
}
"""Those that learn of a row by others of its episode: what came before, or was earned after it."""
MODEL_BASED = [front for front in catalogue().values() if "dynamics" in front.hyperparameters()]
EACH = [pytest.param(front, id=name) for name, front in catalogue().items() if front not in MODEL_BASED]


def fitted(front: Any, dataset: MDPDataset, n_steps: int = 3, **given: Any) -> dict[str, torch.Tensor]:
    """Returns the state after some updates, three of which give each objective its turn."""
    small = {name: value for name, value in SMALL.items() if name in front.hyperparameters()}
    algo = front(seed=0, device="cpu", batch_size=8, **small)
    tensors = algo.fit(dataset, n_steps, **{**QUIET, **given}).impl.state_tensors()
    return {name: tensor.clone() for name, tensor in tensors.items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def moved(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], prefix: str) -> bool:
    """Returns whether some tensor of a prefix differs."""
    return any(
        name.startswith(prefix) and not torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


@pytest.mark.parametrize("front", EACH)
def test_weights_act_on_every_objective_and_weights_of_one_give_the_bits_of_none(front):
    data = small_dataset(front.action_kind)
    weights = np.random.default_rng(0).uniform(0.2, 2.0, len(data))
    plain, ones, weighted = (fitted(front, data, weights=w) for w in (None, np.full(len(data), 3.0), weights))
    assert equal(plain, ones)
    objectives = {name.split(".")[1] for name in plain if name.startswith("optimizers.")}
    still = [name for name in objectives if not moved(plain, weighted, f"optimizers.{name}.")]
    assert not still


@pytest.mark.parametrize("front", EACH)
def test_rows_of_weight_0_change_nothing(front):
    whole = front.__name__ in WHOLE
    weights = np.repeat([1, 0, 2, 1, 0, 1], 20) if whole else np.arange(120) % 3
    states = [
        fitted(front, poisoned(front.action_kind, weights, by, whole), weights="w") for by in (0.0, 1e4)
    ]
    assert equal(*states)


def poisoned(action_kind: str, weights: np.ndarray, by: float, ordered: bool) -> MDPDataset:
    """Makes small data with other numbers in the rows of weight 0; unordered, what follows a row is its own."""
    data, zero = small_dataset(action_kind), weights == 0
    columns = {name: getattr(data, name).copy() for name in ("observations", "actions", "rewards")}
    following = data.observations[::-1].copy()
    if by:
        columns["actions"][zero] = 2 - columns["actions"][zero] if action_kind == "discrete" else 1.9
        for column in (columns["observations"], columns["rewards"], following):
            column[zero] += by
    ends = {"terminals": data.terminals, "timeouts": data.timeouts, "action_space": data.action_space}
    if not ordered:
        ends["next_observations"] = following
    return MDPDataset(**columns, **ends, extras={"w": weights})


@pytest.mark.parametrize("front", MODEL_BASED)
def test_rows_of_models_have_no_weights(front):
    data = small_dataset("continuous")
    with pytest.raises(
        UnsupportedError, match=f"{front.__name__} draws rows that its model made.*leave out weights"
    ):
        front(seed=0, batch_size=8, encoder=TINY).fit(data, 1, weights=np.ones(len(data)), **QUIET)


def test_rows_of_weight_0_are_never_drawn():
    data = small_dataset("continuous")
    algo = catalogue()["bc"](seed=0, device="cpu", batch_size=64, encoder=TINY)
    weights = np.where(np.arange(len(data)) % 4 == 0, 0.0, 1.0 + np.arange(len(data)) % 2)
    for _ in algo.fitter(data, 3, weights=weights, **QUIET):
        pass
    drawn = algo.sampler.sample().weights
    # The rows that are left weigh 2, 1, 2: their mean is 5 / 3.
    assert {round(float(w), 5) for w in drawn} == {round(2 / (5 / 3), 5), round(1 / (5 / 3), 5)}
    assert algo.sampler.n_usable == 90


@pytest.mark.parametrize("name", ["td3_plus_bc", "cql", "decision_transformer"])
def test_recorded_updates_are_weighted_bit_by_bit(name):
    front = catalogue()[name]
    data, weights = small_dataset("continuous"), np.random.default_rng(0).uniform(0.2, 2.0, 120)
    found = [fitted(front, data, 25, weights=weights, engine=engine) for engine in ("eager", "graph")]
    assert equal(*found)


@pytest.mark.parametrize("name", ["iql", "discrete_cql", "tacr"])
def test_members_of_a_population_are_weighted(name):
    front = catalogue()[name]
    small = {name: value for name, value in SMALL.items() if name in front.hyperparameters()}
    data = small_dataset(front.action_kind)
    weights = np.random.default_rng(0).integers(0, 3, 120)
    members = [front(seed=seed, device="cpu", batch_size=8, **small) for seed in (0, 1)]
    population = Population(members).fit(data, 3, weights=lambda _: weights, **QUIET)
    assert population.stacks == [[0, 1]]
    alone = fitted(front, data, weights=weights)
    for key, tensor in population[0].impl.state_tensors().items():
        torch.testing.assert_close(tensor, alone[key], rtol=1e-4, atol=1e-5)


class ScalarImpl(BCImpl):
    """Reduces its loss by itself."""

    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch).mean()


def test_a_scalar_loss_is_refused_by_name_at_the_first_update():
    make = lambda: catalogue()["bc"](impl_class=ScalarImpl, seed=0, device="cpu", encoder=TINY)  # noqa: E731
    for given in ({"weights": np.ones(120)}, {"priorities": "actor"}):
        algo = make()
        with pytest.raises(
            UnsupportedError, match=r"the actor loss of ScalarImpl is a scalar, .* row by row"
        ):
            algo.fit(small_dataset("continuous"), 3, **QUIET, **given)
        assert algo.grad_step == 1
    make().fit(small_dataset("continuous"), 3, **QUIET)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nobody", r"names no extra of this dataset, which has 'w'"),
        ("x", "names no extra"),
        (np.ones(7), r"must have shape \[120\]"),
        (lambda data: -(data.rewards**2), "at least 0"),
        (np.full(120, np.nan), "finite"),
        (np.zeros(120), "all 0"),
        (np.array(["a"] * 120), "must be numbers"),
    ],
)
def test_what_no_weights_are_is_refused(weights, message):
    data = poisoned("continuous", np.ones(120), 0.0, ordered=True)
    with pytest.raises(DatasetError, match=message):
        catalogue()["bc"]().fit(data, 1, weights=weights, **QUIET)


def test_the_config_says_which_weights(tmp_path):
    data = small_dataset("continuous")
    said = []
    for weights in (None, np.ones(120), np.arange(120.0)):
        algo = catalogue()["bc"](seed=0, encoder=TINY).fit(
            data, 1, out=tmp_path, progress=False, weights=weights
        )
        said.append(json.loads((algo.run_dir / "config.json").read_text()).get("loss_weights"))
    assert said[0] is None
    assert said[1] != said[2]


@pytest.mark.parametrize("name", ["decision_transformer", "discrete_decision_transformer", "tacr"])
def test_steps_of_weight_0_are_seen_in_windows_and_not_learned(name):
    front = catalogue()[name]
    data = small_dataset(front.action_kind)
    last = data.episode_ends - 1  # Rows whose action no later step sees.
    weights, others = np.ones(len(data)), data.actions.copy()
    weights[last] = 0.0
    others[last] = 2 - others[last] if front.action_kind == "discrete" else -others[last]
    ends = {"terminals": data.terminals, "timeouts": data.timeouts, "action_space": data.action_space}
    changed = MDPDataset(data.observations, others, data.rewards, **ends)
    plain = MDPDataset(data.observations, data.actions, data.rewards, **ends)
    assert equal(*(fitted(front, each, weights=weights) for each in (plain, changed)))
    assert not equal(*(fitted(front, each) for each in (plain, changed)))


def test_actions_of_weight_0_are_not_cloned_in_chunks():
    data = small_dataset("continuous", n_episodes=1, length=4)
    ordered = MDPDataset(data.observations, data.actions, data.rewards, data.terminals)
    valid = chunked(row_weighted(ordered, np.array([1.0, 0.0, 2.0, 1.0])), 3).extras["valid"]
    # A chunk of three actions at each row; the second row weighs nothing, and behind the fourth the episode is over.
    assert valid.astype(int).tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]

"""MOPO: penalties and rollouts by hand, rows that the model made, the phase of the model, and SAC as a special case."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from loss_checks import close
from table_networks import TABLE, set_constant

import offlinekit
from offlinekit.algos import MOPO, SAC, Dynamics, Population
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.ope import estimate
from offlinekit.nn import losses
from offlinekit.testing import small_dataset
from offlinekit.training import run_folder
from offlinekit.training.model_based import model_phase, terminations

QUIET: dict[str, Any] = {"out": None, "progress": False}
MODEL: dict[str, Any] = {"encoder": TABLE, "n_members": 3, "n_elites": 2, "max_epochs": 1, "batch_size": 32}
SMALL: dict[str, Any] = {
    "encoder": TABLE, "batch_size": 8, "n_rollouts": 30, "rollout_length": 3, "rollout_interval": 4,
    "seed": 0, "device": "cpu",
}  # fmt: skip


def make(**options: Any) -> MOPO:
    dynamics = {**MODEL, **options.pop("dynamics", {})}
    return MOPO(**{**SMALL, "dynamics": dynamics, **options})


def set_model(algo: Any, outputs: list[list[float]]) -> None:
    """Makes the members say the same everywhere: changes of 4 numbers, the reward, raw log variances."""
    set_constant(algo.impl.model, outputs)


def test_penalties_by_hand():
    means = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 2.0]]])  # 3 members, 1 row, 2 numbers.
    # Mean (1, 2): distances sqrt(5), sqrt(8), 1. Pairs: 5, 2 and sqrt(13).
    close(losses.largest_distance_to_mean(means), [math.sqrt(8)])
    close(losses.largest_distance(means), [5.0])
    # Variances (1 + 4 + 1) / 3 = 2 and (4 + 4 + 0) / 3: mean 7 / 3.
    close(losses.mean_variance_root(means), [math.sqrt(7 / 3)])
    # Deviations (1, 2) and (3, 1): norms sqrt(5) and sqrt(10).
    log_stds = torch.tensor([[[1.0, 2.0]], [[3.0, 1.0]]]).log()
    close(losses.largest_deviation(log_stds), [math.sqrt(10)])


@pytest.mark.parametrize(
    ("uncertainty", "all_members", "unsure"),
    [
        # Elites change the observation by (0, 0, 0, 0) and (0, 0, 3, 4), the third member by (0, 0, 30, 40).
        ("distance", False, 2.5),
        ("distance", True, 50 - 55 / 3),  # Mean (11, 44 / 3) of length 55 / 3 on the line of all three.
        ("deviation", False, math.sqrt((1.5**2 + 2.0**2) / 4)),
        ("aleatoric", False, math.sqrt(5 * 0.25)),  # Deviations of 1/2 in 4 numbers and the reward.
        ("aleatoric", True, math.sqrt(5 * 1.0)),  # The third member's are 1.
    ],
)
def test_rewards_of_rollouts_by_hand(uncertainty, all_members, unsure):
    algo = make(
        penalty=2.0, uncertainty=uncertainty, all_members=all_members, dynamics={"termination": "never"}
    )
    algo.build(small_dataset("continuous"))
    low = [2 * math.log(0.5)] * 5
    with torch.no_grad():  # Bounds far away, so that log variances are nearly what they are set to.
        algo.impl.model.min_log_var.fill_(-50.0)
        algo.impl.model.max_log_var.fill_(50.0)
    set_model(algo, [
        [0.0, 0.0, 0.0, 0.0, 1.0, *low], [0.0, 0.0, 3.0, 4.0, 1.0, *low], [0.0, 0.0, 30.0, 40.0, 9.0, *[0.0] * 5],
    ])  # fmt: skip
    step = algo.impl.model.imagine(
        torch.zeros(6, 4), torch.zeros(6, 2), algo.impl.random, algo.impl.n_predictions
    )
    rewards, ends = algo.impl.outcome(step)
    close(rewards, step.rewards - 2.0 * unsure, atol=1e-4)
    assert not bool(ends.any())
    algo.penalty = 0.0
    assert algo.impl.n_predictions == 0
    plain = algo.impl.model.imagine(torch.zeros(6, 4), torch.zeros(6, 2), algo.impl.random)
    close(algo.impl.outcome(plain)[0], plain.rewards)


def walking(algo: MOPO) -> MOPO:
    """A model that adds 1 to every number of the observation, and pays 7, almost without noise."""
    algo.build(small_dataset("continuous"))
    with torch.no_grad():
        algo.impl.model.min_log_var.fill_(-40.0)
    set_model(algo, [[1.0] * 4 + [7.0] + [-40.0] * 5] * 3)
    return algo


def test_rollouts_stop_after_their_end_and_bootstrap_nothing_there():
    algo = walking(make(penalty=0.0, gamma=0.5, dynamics={"termination": "beyond-100"}))
    starts = torch.tensor([[0.0] * 4, [98.5] * 4])
    steps = list(algo.impl.rollouts(starts, 3))
    # Row 0 goes 0, 1, 2, 3; row 1 is at 99.5, then at 100.5, an end: nothing of it after that.
    assert [alive.tolist() for _, alive in steps] == [[True, True], [True, True], [True, False]]
    close(torch.stack([rows.observations[:, 0] for rows, _ in steps])[:, 0], [0.0, 1.0, 2.0], atol=1e-3)
    close(torch.stack([rows.next_observations[:, 0] for rows, _ in steps])[:2, 1], [99.5, 100.5], atol=1e-3)
    close(steps[0][0].discounts, [0.5, 0.5])
    close(steps[1][0].discounts, [0.5, 0.0])
    close(steps[0][0].rewards, [7.0, 7.0], atol=1e-3)
    for (first, _), (second, _) in pairwise(steps):
        close(first.next_actions, second.actions)
        close(first.next_observations, second.observations)


def test_what_is_no_number_is_no_row():
    algo = walking(make(penalty=0.0, dynamics={"termination": "never"}))
    starts = torch.tensor([[0.0] * 4, [math.nan] * 4])
    assert [alive.tolist() for _, alive in algo.impl.rollouts(starts, 2)] == [[True, False]] * 2


def test_the_ring_holds_what_was_rolled_out():
    never = {"termination": "never"}
    algo = walking(
        make(penalty=0.0, real_share=0.25, retained_rounds=1, n_rollouts=5, rollout_length=2, dynamics=never)
    )
    data = small_dataset("continuous")
    sampler = algo.training_sampler(algo.make_sampler(data), data)
    memory = sampler.memory
    assert memory.capacity == 10
    for length, expected in ((2, 10), (1, 10)):  # 5 rows of 5 replace the oldest of 10.
        for rows, alive in algo.impl.rollouts(torch.full((5, 4), 10.0 * length), length):
            memory.add_rows(rows, alive)
        assert memory.n_usable == expected
    batch = memory.sample()
    while len(batch.observations[:, 0].unique()) < 2:
        batch = memory.sample()
    # Of the first rollouts, 20 -> 21 -> 22, the second step is left; of the newer ones 10 -> 11.
    close(batch.observations[:, 0].unique(), [10.0, 21.0], atol=1e-3)
    close(batch.next_observations, batch.observations + 1.0, atol=1e-3)
    close(batch.rewards, torch.full((8,), 7.0), atol=1e-3)
    close(batch.discounts, torch.full((8,), 0.99))
    mixed = sampler.sample()  # round(0.25 * 8) recorded rows first.
    assert mixed.observations.shape == (8, 4)
    is_new = (mixed.rewards - 7.0).abs() < 1e-3
    assert is_new.tolist() == [False] * 2 + [True] * 6
    state = sampler.state()
    ahead = [sampler.sample() for _ in range(3)]
    other = algo.training_sampler(algo.make_sampler(data), data)
    other.set_state(state)
    for one in ahead:
        again = other.sample()
        assert all(torch.equal(a, b) for a, b in zip(one[:5], again[:5], strict=True))
    with memory.without_rows():
        assert len(memory.state()) < 10_000 < len(state) + 10_000
    few = torch.tensor([True, False, False, False, False])
    memory.clear()
    memory.add_rows(rows, few)
    assert memory.n_usable == 1


def test_without_penalty_and_rollouts_it_is_sac_step_by_step():
    data = small_dataset("continuous")
    shared = {"encoder": TABLE, "batch_size": 8, "seed": 3, "device": "cpu"}
    same = {"actor_learning_rate": 1e-4, "temperature_learning_rate": 1e-4, "log_std_min": -5.0}
    sac = SAC(actor_lr_schedule="cosine", **same, **shared).fit(data, 12, log_interval=3, **QUIET)
    mopo = MOPO(penalty=0.0, real_share=1.0, **shared).fit(data, 12, log_interval=3, **QUIET)
    assert not bool(mopo.impl.model_is_trained)  # No row of the model is drawn, so it is not trained.
    for name, value in sac.impl.state_dict().items():
        assert torch.equal(value, mopo.impl.state_dict()[name]), name
    timeless = [[{k: v for k, v in row.items() if k != "time"} for row in a.history] for a in (sac, mopo)]
    assert timeless[0] == timeless[1]


def test_the_model_is_a_run_of_its_own_and_is_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(model_phase, "_RECENT", type(model_phase._RECENT)())
    data = small_dataset("continuous")
    fits = []
    fit = Dynamics.fit
    monkeypatch.setattr(Dynamics, "fit", lambda self, *a, **k: (fits.append(1), fit(self, *a, **k))[1])
    first = make(penalty=1.0).fit(data, 6, out=tmp_path, progress=False)
    assert first.grad_step == 6  # Updates of the policy alone.
    (model_run,) = (tmp_path / "dynamics").glob("Dynamics_*")
    assert (model_run / "policy.okt").is_file()
    assert (model_run / "metrics.csv").is_file()
    model_phase._RECENT.clear()  # As in another process.
    second = make(penalty=5.0).fit(data, 6, out=tmp_path, progress=False)
    assert len(fits) == 1
    for name, value in first.impl.model.state_dict().items():
        assert torch.equal(value, second.impl.model.state_dict()[name])
    pair = Population([make(penalty=p, dynamics={"seed": 5}) for p in (0.5, 1.0)]).fit(data, 4, **QUIET)
    assert len(fits) == 2
    assert torch.equal(*(a.impl.model.mlp.layers[-1].weight for a in pair))
    make(dynamics={"seed": 6}).fit(data, 2, **QUIET)
    assert len(fits) == 3


def drifting(scale: float, seed: int) -> MDPDataset:
    """Walks of so wide states and rewards."""
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(40, 2)) * scale
    ends = np.arange(40) % 20 == 19
    rewards, actions = -np.abs(observations).sum(1), rng.uniform(-1, 1, (40, 1))
    space = spaces.Box(-1.0, 1.0, (1,))
    return MDPDataset(observations, actions, rewards, np.zeros(40), ends, action_space=space)


def test_the_model_learns_with_the_scalers_of_the_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(model_phase, "_RECENT", type(model_phase._RECENT)())
    scaled: list[list[Any]] = []
    fit = Dynamics.fit

    def watched(self: Dynamics, *a: Any, **k: Any) -> Any:
        fit(self, *a, **k)
        scaled.append([self.impl.lowest.clone(), self.scaling.to_json()])
        return self

    monkeypatch.setattr(Dynamics, "fit", watched)
    small, big = drifting(1.0, 0), drifting(100.0, 1)
    options = {"observation_scaler": "standard", "reward_scaler": "standard"}
    how: dict[str, Any] = {"out": tmp_path, "progress": False}

    def begun_on(first: MDPDataset) -> MOPO:
        return make(**options).build(first).fit(big, 3, **how)

    own, other = begun_on(big), begun_on(small)
    assert [found for _, found in scaled] == [a.scaling.to_json() for a in (own, other)]
    assert own.scaling.to_json() != other.scaling.to_json()
    for algo, (lowest, _) in zip((own, other), scaled, strict=True):
        assert torch.equal(algo.impl.model.lowest, lowest)
    # Equal scalers share a model, here and on disk.
    for forget in (False, True):
        if forget:
            model_phase._RECENT.clear()
        for first, algo in ((big, own), (small, other)):
            assert torch.equal(begun_on(first).impl.model.lowest, algo.impl.model.lowest)
    assert len(scaled) == 2
    configs = [run_folder.read_config(path) for path in (tmp_path / "dynamics").glob("Dynamics_*")]
    assert sorted("scaling" in config for config in configs) == [False, True]


def test_files_hold_the_model(tmp_path):
    data = small_dataset("continuous")
    algo = make().fit(data, 6, **QUIET)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"), device="cpu")
    assert isinstance(loaded, MOPO)
    assert bool(loaded.impl.model_is_trained)
    steps = np.tile(data.observations[:4], (2, 1, 1)), np.tile(data.actions[:4], (2, 1, 1))
    assert isinstance(loaded.model, Dynamics)
    for wanted, found in zip(
        *(a.model.sample_steps(*steps, np.random.default_rng(0)) for a in (algo, loaded)), strict=True
    ):
        np.testing.assert_array_equal(wanted, found)


def test_estimates_take_the_model_as_it_comes(tmp_path):
    data = small_dataset("continuous")
    dynamics = {"termination": "beyond-100", "bootstrap": "episodes"}
    algo = make(dynamics=dynamics).fit(data, 4, out=tmp_path, progress=False)
    file = algo.save(tmp_path / "policy.okt")
    (run,) = (tmp_path / "dynamics").glob("Dynamics_*")
    every = [
        estimate(algo, data, ["model_based"], dynamics=given)["model_based"]
        for given in (algo.model, algo, file, str(file), algo.run_dir, run)
    ]
    assert all(found == every[0] for found in every)


def test_time_outs_without_a_next_observation_teach_the_model_nothing():
    # D4RL's own reader takes the first observation of the next episode for what follows a time-out.
    rng = np.random.default_rng(0)
    observations = np.repeat([0.0, 100.0], 20)[:, None] + rng.normal(size=(40, 1)) * 0.01
    data = MDPDataset(
        observations, rng.uniform(-1, 1, (40, 1)), np.zeros(40), np.zeros(40),
        timeouts=np.arange(40) % 20 == 19,
    )  # fmt: skip
    algo = make(dynamics={"holdout": 0.0}).build(data)
    rows = algo.new_model().build(data).make_sampler(data, needs=("rows",))
    learned = rows.gather(rows.train_rows)
    assert 19 not in learned.rows.tolist()
    assert float((learned.next_observations - learned.observations).abs().max()) < 1.0


def test_rules_of_the_users_own_get_the_units_of_the_data(monkeypatch):
    seen: list[torch.Tensor] = []

    def beyond(observations: torch.Tensor, actions: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        seen.append(actions)
        return actions[..., 0] > 1.5

    monkeypatch.setitem(terminations.RULES, "beyond", beyond)
    data = small_dataset("continuous")  # Actions in [-2, 2].
    algo = walking(make(dynamics={"termination": "beyond"}))
    scaled = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    step = algo.impl.model.imagine(torch.zeros(2, 4), scaled, algo.impl.random)
    close(seen[-1], [[2.0, -2.0], [1.0, 0.0]])
    assert step.ends.tolist() == [True, False]
    actions = np.float32([[[2.0, -2.0], [1.0, 0.0]]] * 2)
    _, _, ends = algo.model.sample_steps(
        np.stack([data.observations[:2]] * 2), actions, np.random.default_rng(0)
    )
    close(seen[-1], actions)
    assert ends.tolist() == [[True, False]] * 2


def test_refusals():
    with pytest.raises(TypeError, match="hyperparameters of Dynamics by name"):
        MOPO(dynamics="hopper")
    with pytest.raises(
        TypeError, match="Dynamics has no hyperparameter 'terminations'; did you mean 'termination'"
    ):
        MOPO(dynamics={"terminations": "hopper"})
    with pytest.raises(ValueError, match="the model has observation_scaler of the algorithm itself"):
        MOPO(dynamics={"observation_scaler": None})
    with pytest.raises(ValueError, match=r"layers over a vector.*takes 'mlp' or 'residual'.*got <function"):
        MOPO(dynamics={"encoder": lambda space: torch.nn.Linear(4, 8)})
    with pytest.raises(ValueError, match="single steps; n_step must be 1, got 3"):
        MOPO(n_step=3)
    with pytest.raises(UnsupportedError, match="leave out"):
        make().fit(small_dataset("continuous"), 2, priorities="critic", **QUIET)

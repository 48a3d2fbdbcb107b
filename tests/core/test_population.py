"""A member of a population is the member trained alone, whatever the algorithm and its options."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from catalogue_variants import small_variants
from populations import TINY, check_members

from offlinekit.algos import (
    BC,
    CQL,
    IQL,
    SAC,
    TD3,
    XQL,
    CNNEncoder,
    DiscreteCQL,
    MLPEncoder,
    TD3PlusBC,
    catalogue,
)
from offlinekit.core.populations.grouping import FIXED_NUMBERS, structure
from offlinekit.datasets import MDPDataset
from offlinekit.testing import small_dataset


@pytest.mark.parametrize(
    "name", ["bc", "cql", "edac", "iql", "qc", "tacr", "td3_plus_bc", "discrete_cql", "discrete_sac"]
)
def test_members_that_share_all_numbers(name):
    """An algorithm of each kind; `test_every_number_is_a_members_own` has them all."""
    front, options = next(each.values for each in small_variants() if each.id == f"{name}-mean")
    settings = [{"seed": seed} for seed in range(2)]
    check_members(
        lambda **own: front(batch_size=8, **options, **own), settings, small_dataset(front.action_kind)
    )


SPREAD = {  # Two values of every number that an algorithm may have.
    "gamma": (0.9, 0.99),
    "tau": (0.5, 0.01),
    "weight_decay": (0.0, 0.1),
    "clip_grad_norm": (0.05, 1.0),
    "learning_rate": (1e-3, 1e-2),
    "actor_learning_rate": (1e-3, 1e-2),
    "critic_learning_rate": (1e-2, 1e-3),
    "value_learning_rate": (1e-2, 1e-3),
    "temperature_learning_rate": (1e-1, 1e-2),
    "alpha_learning_rate": (1e-1, 1e-2),
    "initial_temperature": (1.0, 0.2),
    "target_entropy": (-1.0, -3.0),
    "alpha": (0.5, 5.0),
    "gap_threshold": (0.1, 2.0),
    "temperature": (1.0, 0.3),
    "expectile": (0.7, 0.9),
    "beta": (3.0, 10.0),
    "max_weight": (100.0, 1.1),
    "target_noise": (0.2, 0.4),
    "target_noise_clip": (0.5, 0.1),
    "threshold": (0.3, 0.9),
    "logits_penalty": (0.0, 0.5),
    "eta": (1.0, 0.1),
    "pessimism": (4.0, 1.0),
    "variance_weight": (0.5, 0.1),
    "max_exponent": (7.0, 0.2),
    "behaviour_learning_rate": (1e-2, 1e-3),
    "fraction": (0.4, 1.0),
    "vae_learning_rate": (1e-2, 1e-3),
    "kl_weight": (0.5, 0.1),
    "perturbation": (0.05, 0.5),
    "min_weight": (0.75, 0.3),
    "max_latent": (2.0, 0.5),
    "support_weight": (0.1, 1.0),
    "actor_penalty": (0.01, 1.0),
    "critic_penalty": (0.5, 0.01),
    "actor_tau": (0.005, 0.2),
    "mmd_threshold": (0.05, 0.5),
    "kernel_width": (20.0, 1.0),
    "state_weight": (2.0, 0.1),
    "reference_weight": (0.5, 0.9),
    "td_lambda": (0.95, 0.5),
    "actor_clip_grad_norm": (0.01, 0.25),
    "dropout": (0.1, 0.4),
    "return_scale": (1.0, 10.0),
    "target_return": (3.0, 30.0),
    "actor_weight_decay": (1e-2, 0.1),
    "cooling_end": (0.2, 0.7),
    "online_critic_share": (0.0, 0.5),
    "optimism": (10.0, 2.0),
    "disagreement_weight": (0.0, 0.5),
    "inverse_temperature": (10.0, 1.0),
    "real_share": (0.5, 0.25),
    "penalty": (1.0, 0.2),
    "threshold_scale": (10.0, 1.0),
    "halt_offset": (-30.0, -3.0),
    "adversarial_weight": (3e-4, 0.1),
    "adversarial_learning_rate": (1e-3, 1e-2),
    "warmup_learning_rate": (1e-3, 1e-2),
    "imagined_weight": (0.25, 0.75),
    "rollout_noise": (0.2, 1.0),
    "anchor_weight": (1.0, 0.1),
    "policy_beta": (0.5, 2.0),
}


@pytest.mark.parametrize(("front", "options"), list(small_variants()))
def test_every_number_is_a_members_own(front, options):
    known = front.hyperparameters()
    numbers = {n: pair for n, pair in SPREAD.items() if n in known}
    settings = [{"seed": i, **{n: pair[i] for n, pair in numbers.items()}} for i in range(2)]
    check_members(
        lambda **own: front(**{"batch_size": 8, **options, **own}), settings, small_dataset(front.action_kind)
    )


def test_every_number_of_the_catalogue_is_tried():
    numbers = {
        name
        for front in catalogue().values()
        if front.__module__.startswith("offlinekit.")  # Not of an example that another test imported.
        for name, parameter in front.hyperparameters().items()
        if parameter.kind.startswith("float")
    }
    assert numbers == {*SPREAD, *FIXED_NUMBERS}


@pytest.mark.parametrize("name", FIXED_NUMBERS)
def test_members_that_differ_in_what_their_networks_hold_share_no_stack(name):
    front, numbers = (SAC, (-1.0, -2.0)) if name == "log_std_min" else (XQL, (0.1, 0.2))
    own = [structure(front(**{name: number})) for number in numbers]
    assert own[0] != own[1]
    assert own[0] == structure(front(**{name: numbers[0]}))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("equal_rates", [True, False])
def test_optimizers_decay_and_schedules(optimizer, equal_rates):
    def make(seed):
        rate = 1e-2 if equal_rates else (1e-2, 1e-3, 3e-2)[seed]
        rates = {"actor_learning_rate": rate, "critic_learning_rate": rate, "weight_decay": 0.1 * rate}
        schedules = {"lr_schedule": "cosine", "actor_lr_schedule": "constant"}
        return TD3(seed=seed, optimizer=optimizer, clip_grad_norm=0.3, **rates, **schedules, **TINY)

    check_members(make, [{"seed": seed} for seed in range(3)], small_dataset("continuous"), 30)


def test_a_limit_of_the_norm_for_some_members_only():
    settings = [{"seed": 0, "clip_grad_norm": 0.01}, {"seed": 1, "clip_grad_norm": 0.5}]
    check_members(lambda **own: IQL(**TINY, **own), settings, small_dataset("continuous"))


@pytest.mark.parametrize(
    "options",
    [
        {"soft_backup": True},
        {"max_backup": True},
        {"gap_threshold": 1.0},
        {"gap_threshold": 1.0, "q_function": "qr", "n_quantiles": 3},
    ],
    ids=str,
)
def test_options_of_cql(options):
    settings = [{"seed": seed, "alpha": 1.0 + seed} for seed in range(2)]
    check_members(lambda **own: CQL(**TINY, **options, **own), settings, small_dataset("continuous"))


def test_gaussian_cloning_and_delay_and_n_step():
    data = small_dataset("continuous")
    check_members(lambda **own: BC(policy="gaussian", **TINY, **own), [{"seed": 0}, {"seed": 4}], data)
    ordered = MDPDataset(
        data.observations, data.actions, data.rewards, data.terminals, timeouts=data.timeouts
    )
    settings = [{"seed": 0, "gamma": 0.9}, {"seed": 1, "gamma": 0.99}, {"seed": 2, "gamma": 0.9}]
    check_members(lambda **own: TD3(policy_delay=3, n_step=3, **TINY, **own), settings, ordered)


def test_bootstrap_masks_and_scalers():
    data = small_dataset("discrete")
    masked = MDPDataset(
        data.observations,
        data.actions,
        data.rewards,
        data.terminals,
        timeouts=data.timeouts,
        create_mask=True,
        mask_size=3,
    )
    options = {"n_critics": 3, "observation_scaler": "standard", "reward_scaler": "standard"}
    settings = [{"seed": 0, "gamma": 0.5}, {"seed": 1}]
    check_members(lambda **own: DiscreteCQL(**options, **TINY, **own), settings, masked)


def test_layer_norm_and_dropout_draw_from_each_members_generator():
    encoder = MLPEncoder((8, 8), layer_norm=True, dropout=0.3, activation="tanh")
    make = lambda **own: SAC(encoder=encoder, batch_size=8, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], small_dataset("continuous"))


def test_images_in_a_dict_with_dropout_in_each_critics_own_convolutions():
    rng = np.random.default_rng(0)
    observations = {
        "image": rng.integers(0, 255, (24, 1, 10, 10), dtype=np.uint8),
        "vector": rng.normal(size=(24, 3)).astype(np.float32),
    }
    ends = np.arange(24) % 12 == 11
    data = MDPDataset(observations, rng.uniform(-1, 1, (24, 2)).astype(np.float32), rng.normal(size=24), ends)
    encoder = CNNEncoder((8,), filters=((4, 4, 2),), dropout=0.2)
    make = lambda **own: TD3(encoder=encoder, batch_size=6, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], data, 6)


class Transposed(torch.nn.Module):
    """Features whose gradient comes back transposed, normalised over the batch, with dropout inside."""

    def __init__(self, space):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(6, space.shape[0]).normal_())
        self.norm = torch.nn.BatchNorm1d(6)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, observations):
        return self.dropout(self.norm((self.weight @ observations.T).T))


def test_a_users_module_with_buffers_and_random_numbers_of_its_own():
    make = lambda **own: TD3PlusBC(encoder=Transposed, batch_size=8, optimizer="sgd", **own)  # noqa: E731
    settings = [{"seed": 0, "tau": 0.1}, {"seed": 1, "tau": 0.2}]
    population = check_members(make, settings, small_dataset("continuous"))
    assert population[0].impl.q.network.trunk.module__norm__num_batches_tracked[0] > 0


def test_the_custom_algorithm_of_the_examples():
    path = Path(__file__).parents[2] / "examples" / "custom_algorithm.py"
    spec = importlib.util.spec_from_file_location("custom_algorithm", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    make = lambda **own: SAC(impl_class=example.CautiousSACImpl, **TINY, **own)  # noqa: E731
    settings = [{"seed": 0}, {"seed": 1, "initial_temperature": 0.1}]
    population = check_members(make, settings, small_dataset("continuous"))
    assert "cloning" in population.history[0][0]

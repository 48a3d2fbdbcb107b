"""Presets: every published setting makes the algorithm, and says where it is from."""

from __future__ import annotations

import re

import pytest

from offlinekit.algos import IQL, ReBRAC, TD3PlusBC, catalogue
from offlinekit.datasets import known_datasets
from offlinekit.testing import small_dataset

EVERY = [(algo, preset) for algo in catalogue().values() for preset in algo.presets().values()]


@pytest.mark.parametrize(("algo", "preset"), EVERY, ids=lambda x: getattr(x, "dataset", None) or x.__name__)
def test_each_makes_the_algorithm_and_cites_its_source(algo, preset):
    made = algo.preset(preset.dataset, seed=0)
    for name, value in preset.hyperparameters.items():
        assert getattr(made, name) == value
    assert re.search(r"arXiv:\d{4}\.\d{5}", preset.source), preset
    assert preset.n_steps >= 100_000
    assert preset.dataset in known_datasets()


def test_networks_and_scalers_of_a_preset_are_made():
    algo = IQL.preset("pen-human-v1", seed=0, device="cpu").build(small_dataset("continuous"))
    assert "Dropout" in repr(algo.impl.policy)
    assert "Dropout" not in repr(algo.impl.q)
    antmaze = catalogue()["cal_ql"].preset("antmaze-umaze-v2", device="cpu")
    antmaze.build(small_dataset("continuous"))
    assert antmaze.scaling.reward.transform([0.0, 1.0]).tolist() == [-5.0, 5.0]


def test_entries_for_the_same_dataset_join():
    preset = ReBRAC.presets()["antmaze-large-play-v2"]
    assert preset.hyperparameters["gamma"] == 0.999
    assert (preset.hyperparameters["actor_penalty"], preset.hyperparameters["critic_penalty"]) == (
        0.002,
        0.001,
    )
    assert catalogue()["edac"].presets()["walker2d-medium-v2"].n_steps == 3_000_000


def test_what_is_given_rules():
    assert IQL.preset("antmaze-umaze-v2", beta=7.0).beta == 7.0
    assert IQL.preset("antmaze-umaze-v2").expectile == 0.9


def test_an_unknown_dataset_is_refused():
    with pytest.raises(ValueError, match=r"did you mean 'hopper-medium-v2'.*halfcheetah-medium-v2"):
        TD3PlusBC.preset("hoper-medium-v2")
    with pytest.raises(ValueError, match="sac has no preset for 'hopper-medium-v2', nor for any other"):
        catalogue()["sac"].preset("hopper-medium-v2")

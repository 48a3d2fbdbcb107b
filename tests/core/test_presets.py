"""Presets: whole, held number by number against a table that was written from the authors' own files."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from gymnasium import spaces

from offlinekit.algos import IQL, ReBRAC, TD3PlusBC, catalogue
from offlinekit.core import presets
from offlinekit.core.presets import Preset, expand
from offlinekit.datasets import known_datasets
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder, resolve_encoder
from offlinekit.sampling.scalers import resolve_scaler
from offlinekit.testing import small_dataset
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import completed

TABLE = Path(__file__).with_name("published_settings.csv")
SOURCE = r"[\w.-]+/[\w.-]+:[\w./-]+@[0-9a-f]{40}"
EVERY = [(algo, preset) for algo in catalogue().values() for preset in algo.presets().values()]


@cache
def published():
    """Returns {(algorithm, dataset): {field: value}} of the table; "*" is every dataset of the algorithm."""
    rows = list(csv.DictReader(TABLE.read_text().splitlines()))
    all_of = {row["algo"]: row["datasets"] for row in rows if row["field"] == "datasets"}
    table = {(algo, name): {} for algo, names in all_of.items() for name in expand(names.split())}
    for row in rows:
        names = all_of[row["algo"]] if row["datasets"] == "*" else row["datasets"]
        for name in expand(names.split()) if row["field"] != "datasets" else ():
            fields = table[row["algo"], name]
            assert row["field"] not in fields, row
            fields[row["field"]] = parsed(row["field"], row["value"])
    return table


def parsed(field, text):
    """Returns the value of a cell: a number, JSON, a word, or an encoder such as "mlp 256-256 relu dropout=0.1"."""
    if field.endswith("encoder"):
        return encoder_of(text)
    if field.endswith("_scaler"):
        return resolve_scaler(json.loads(text), field.split("_")[0])
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def encoder_of(text):
    kind, sizes, activation, *others = text.split()
    options = {name: parsed("", value) for name, value in (other.split("=") for other in others)}
    front = ResidualEncoder if kind == "residual" else MLPEncoder
    none = {
        "layer_norm": False,
        "dropout": 0.0,
    }  # What the table leaves out is off, a front's default or not.
    return front(tuple(map(int, sizes.split("-"))), activation, **{**none, **options})


def held(algo, preset, field):
    """Returns what the algorithm of a preset has in a field of the table, its defaults included."""
    if field == "n_steps":
        return preset.n_steps
    if field.startswith("online."):
        given = {**algo.online_settings, **preset.online}
        n_steps = given.pop("n_steps")
        return {"n_steps": n_steps, **completed(given, OnlineSettings, "fit_online")}[field.partition(".")[2]]
    if field == "transitions":
        return preset.dataset_options.get(field, "all")
    value = getattr(algo, field)
    if field.endswith("encoder"):
        found = resolve_encoder(value or algo.critic_encoder or algo.encoder, spaces.Box(-1.0, 1.0, (3,)))
        normed = field == "critic_encoder" and getattr(algo, "critic_layer_norm", False)
        return replace(found, layer_norm=found.layer_norm or normed)
    if field.endswith("_scaler"):
        return resolve_scaler(value, field.split("_")[0])
    if field == "actor_lr_schedule":
        return value or algo.lr_schedule
    return value


@pytest.mark.parametrize("name", sorted({name for name, _ in published()}))
def test_every_number_is_the_sources(name):
    front, rows = catalogue()[name], {d: fields for (algo, d), fields in published().items() if algo == name}
    assert set(front.presets()) == set(rows)
    for dataset, fields in rows.items():
        algo, preset = front.preset(dataset, seed=0, device="cpu"), front.presets()[dataset]
        for field, value in fields.items():
            expected = pytest.approx(value, rel=1e-9) if type(value) is float else value
            assert held(algo, preset, field) == expected, (dataset, field)
        unchecked = {*preset.hyperparameters, *(f"online.{name}" for name in preset.online)} - set(fields)
        assert not unchecked, f"the table has no word on {unchecked} of {dataset}"


def test_every_algorithm_with_presets_is_in_the_table():
    assert {algo.catalogue_name() for algo, _ in EVERY} == {name for name, _ in published()}


def test_the_table_tells_wrong_numbers(monkeypatch):
    right = TD3PlusBC.presets()
    wrong = {**right, "hopper-medium-v2": replace(right["hopper-medium-v2"], hyperparameters={"alpha": 2.6})}
    monkeypatch.setattr(presets, "published", lambda algo: wrong)
    with pytest.raises(AssertionError, match="'hopper-medium-v2', 'alpha'"):
        test_every_number_is_the_sources("td3_plus_bc")


@pytest.mark.parametrize(("algo", "preset"), EVERY, ids=lambda x: getattr(x, "dataset", None) or x.__name__)
def test_each_cites_paper_and_files(algo, preset):
    paper, *files = preset.sources
    assert re.fullmatch(r"(CORL, )?arXiv:\d{4}\.\d{5}|PMLR v\d+, .* \d{4}", paper)
    assert files
    assert all(re.fullmatch(SOURCE, file) for file in files), files
    assert preset.n_steps >= 100_000
    assert preset.dataset in known_datasets()


def test_networks_and_scalers_of_a_preset_are_made():
    algo = IQL.preset("pen-human-v1", seed=0, device="cpu").build(small_dataset("continuous"))
    assert "Dropout" in repr(algo.impl.policy)
    assert "Dropout" not in repr(algo.impl.q)
    antmaze = catalogue()["cal_ql"].preset("antmaze-umaze-v2", device="cpu")
    antmaze.build(small_dataset("continuous"))
    assert antmaze.scaling.reward.transform([0.0, 1.0]).tolist() == [-5.0, 5.0]


def test_the_best_of_many_next_actions_is_taken_by_the_lowest_critic():
    # Cal-QL (conservative_sac.py:180-185) and WSRL (sac.py:247-251) take the minimum over critics, then the maximum.
    found = {
        algo.__name__: {algo.preset(preset.dataset, device="cpu").max_backup_order}
        for algo, preset in EVERY
        if "max_backup_order" in algo.hyperparameters() and preset.hyperparameters.get("max_backup")
    }
    assert found == {"CQL": {"action"}, "CalQL": {"action"}, "WSRL": {"action"}}


def test_calql_goes_on_online_as_its_script_does():
    preset = catalogue()["cal_ql"].presets()["antmaze-large-play-v2"]
    assert preset.online == {"n_steps": 1_000_000, "mixing": 0.5}


def test_entries_for_the_same_dataset_join():
    preset = ReBRAC.presets()["antmaze-large-play-v2"]
    assert preset.hyperparameters["gamma"] == 0.999
    assert preset.hyperparameters["actor_penalty"] == 0.002
    assert preset.hyperparameters["critic_penalty"] == 0.001
    assert preset.dataset_options == {"transitions": "d4rl"}
    assert catalogue()["edac"].presets()["walker2d-medium-v2"].n_steps == 3_000_000


def test_later_entries_rule_and_sources_stand_once():
    entries = [
        {"datasets": ["a", "b"], "sources": ["x"], "set": {"beta": 1.0, "gamma": 0.9}, "n_steps": 5},
        {"datasets": ["b"], "sources": ["y"], "set": {"beta": 2.0}, "online": {"n_steps": 7}},
        {"datasets": ["a"], "sources": ["x", "z"], "dataset_options": {"step_limit": 7}, "n_steps": 6},
    ]
    assert presets._joined("a", entries) == Preset(
        "a", {"beta": 1.0, "gamma": 0.9}, 6, {"step_limit": 7}, ("x", "z")
    )
    assert presets._joined("b", entries) == Preset(
        "b", {"beta": 2.0, "gamma": 0.9}, 5, {}, ("x", "y"), {"n_steps": 7}
    )


def test_choices_in_names_expand():
    assert expand(["{a,b}-{c,d}-v2", "e"]) == ["a-c-v2", "a-d-v2", "b-c-v2", "b-d-v2", "e"]


def test_what_is_given_rules():
    assert IQL.preset("antmaze-umaze-v2", beta=7.0).beta == 7.0
    assert IQL.preset("antmaze-umaze-v2").expectile == 0.9


def test_an_unknown_dataset_is_refused():
    with pytest.raises(ValueError, match=r"did you mean 'hopper-medium-v2'.*halfcheetah-medium-v2"):
        TD3PlusBC.preset("hoper-medium-v2")
    with pytest.raises(ValueError, match="sac has no preset for 'hopper-medium-v2', nor for any other"):
        catalogue()["sac"].preset("hopper-medium-v2")


def test_the_page_counts_what_is_compared():
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text()
    rows = [row.split(" | ") for row in re.findall(r"^\| (\w+ \| \w+ \| \d+ \| .*) \|$", page, re.M)]
    counted = {}
    for algo, _, n_presets, n_numbers, *_ in rows:
        presets_before, numbers_before = counted.get(algo, (0, 0))
        counted[algo] = (presets_before + int(n_presets), numbers_before + int(n_numbers))
    table = published()
    for algo in catalogue().values():
        of_algo = [fields for (name, _), fields in table.items() if name == algo.catalogue_name()]
        if of_algo:
            assert counted.pop(algo.__name__) == (len(of_algo), sum(map(len, of_algo))), algo
    assert not counted
    n_algos, n_numbers = len({name for name, _ in table}), sum(map(len, table.values()))
    total = f"{len(table)} presets of {n_algos} algorithms, {n_numbers:,} numbers"
    assert total in page

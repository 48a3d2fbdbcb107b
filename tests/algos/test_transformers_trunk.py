"""Trunks of the package transformers; what needs no package is tested without it."""

from __future__ import annotations

import sys

import pytest
import torch
from small_text import QUIET, TINY, both, talks

from offlinekit.algos import ILQL, Population, TextBC
from offlinekit.core.bases.transformers_trunk import GIVEN, MODEL_TYPES
from offlinekit.errors import MissingExtraError
from offlinekit.nn.transformer import KeyValues

SIZES = {**TINY, "width": 8, "n_heads": 2}


@pytest.fixture
def package():
    pytest.importorskip("transformers")


def built(kind, front=TextBC, **options):
    return front(**{**SIZES, **options}, trunk={"model_type": kind}).build(talks())


@pytest.mark.parametrize(
    ("trunk", "error", "message"),
    [
        ("gpt2", TypeError, r"a configuration such as \{'model_type': 'gpt2'\} or None, got 'gpt2'"),
        ({}, ValueError, "'model_type' of"),
        ({"model_type": "gpt3"}, ValueError, "got 'gpt3'; did you mean 'gpt2'"),
        ({"model_type": "bert"}, ValueError, "got 'bert'"),  # Its features see what comes later.
        ({"model_type": "gpt2", "hidden_size": 4}, ValueError, "which width decides; set width=4"),
        ({"model_type": "gpt2", "auto_map": "x"}, ValueError, "got 'auto_map'; leave it out"),
        ({"model_type": "gpt2", "_name_or_path": "x/y"}, ValueError, "got '_name_or_path'"),
        ({"model_type": "gpt2", "attn_implementation": "x/y"}, ValueError, "got 'attn_implementation'"),
        ({"model_type": "gpt2", "resid_pdrop": 0.1}, ValueError, "without dropout.*got resid_pdrop=0.1"),
        ({"model_type": "gpt2", "quantization_config": {}}, TypeError, "numbers, texts and flags, got quant"),
    ],
)
def test_other_configurations_are_refused(trunk, error, message):
    with pytest.raises(error, match=message):
        TextBC(trunk=trunk)


def test_dropout_is_that_of_our_own_trunk_alone():
    with pytest.raises(ValueError, match=r"dropout must be 0 with a trunk of transformers, got 0.1"):
        TextBC(trunk={"model_type": "gpt2"}, dropout=0.1)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offlinekit\[transformers\]'"):
        built("gpt2")


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_features_depend_on_what_came_before_alone(package, kind):
    """The first dialogue has 2 tokens of padding and 6 of its own, the second 8."""
    trunk, batch = built(kind).impl.policy.trunk, both(TextBC(**SIZES).build(talks()))
    with torch.no_grad():
        before = trunk(batch.observations, batch.valid)
        seen = batch.observations.clone()
        seen[:, 6] = 1.0
        seen[0, :2] = 6.0
        after = trunk(seen, batch.valid)
        torch.testing.assert_close(before[1, :6], after[1, :6], rtol=0, atol=0)
        torch.testing.assert_close(before[0, 2:6], after[0, 2:6], rtol=0, atol=0)
        assert not torch.equal(before[:, 6:], after[:, 6:])
        own = trunk(batch.observations[:1, 2:], batch.valid[:1, 2:])  # Without padding.
        torch.testing.assert_close(own[0], before[0, 2:])
        pasts = KeyValues()
        parts = [trunk(batch.observations[:, i:j], batch.valid[:, i:j], pasts) for i, j in ((0, 4), (4, 8))]
        torch.testing.assert_close(torch.cat(parts, 1)[batch.valid], before[batch.valid])


def test_sizes_are_those_of_hyperparameters_and_no_weight_is_idle(package):
    algo = built("llama", ILQL)
    made = algo.impl.policy.trunk.model.config
    assert [getattr(made, name) for name in GIVEN] == [8, 1, 2, 16]
    before = {name: value.clone() for name, value in algo.impl.policy.named_parameters()}
    algo.fit(talks(), 3, **QUIET)
    assert [n for n, p in algo.impl.policy.named_parameters() if torch.equal(p, before[n])] == []
    targets = dict(algo.impl.target_trunk.named_parameters())
    assert targets.keys() == dict(algo.impl.trunk.named_parameters()).keys()


def test_settings_of_the_architecture_pass_and_wrong_ones_are_refused(package):
    algo = TextBC(**SIZES, trunk={"model_type": "gpt2", "n_inner": 5, "activation_function": "relu"})
    assert algo.build(talks()).impl.policy.trunk.model.h[0].mlp.c_fc.weight.shape == (8, 5)
    for name, value, message in (
        ("n_embd", 12, "hyperparameters decide 'n_embd': width"),
        ("n_iner", 5, "there is no setting 'n_iner'; did you mean 'n_inner'"),
        ("activation_function", "nothing", "transformers makes no model of trunk="),
    ):
        with pytest.raises(ValueError, match=message):
            TextBC(**SIZES, trunk={"model_type": "gpt2", name: value}).build(talks())


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_engines_files_and_populations_agree(package, kind, tmp_path):
    algo = built(kind).fit(talks(), 4, **QUIET)
    eager = built(kind).fit(talks(), 4, engine="eager", **QUIET)
    loaded = TextBC.load(algo.save(tmp_path / "talk.okt"), device="cpu")
    together = Population([TextBC(**{**SIZES, "seed": s}, trunk={"model_type": kind}) for s in (0, 1)])
    together.fit(talks(), 4, **QUIET)
    for name, value in algo.impl.state_dict().items():
        assert torch.equal(eager.impl.state_dict()[name], value)
        assert torch.equal(loaded.impl.state_dict()[name], value)
        torch.testing.assert_close(together[0].impl.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert loaded.respond(["a", "ab"], max_tokens=4) == algo.respond(["a", "ab"], max_tokens=4)
    assert loaded.config["trunk"] == {"model_type": kind}


def test_seeds_decide_the_weights(package):
    states = [built("gpt2", seed=seed).impl.policy.state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())

"""Policies that come with the package: small, described, and found by name at every door."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import offlinekit
from offlinekit.cli.main import main
from offlinekit.cli.options import RunOrPolicy
from offlinekit.core.sharing import zoo
from offlinekit.core.sharing.beside import describes
from offlinekit.metrics import RandomPolicy, evaluate


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", zoo.names())
def test_a_policy_loads_and_has_its_card_and_environment(name: str) -> None:
    algo = offlinekit.load(name)
    space = algo.impl.observation_space
    assert space is not None
    actions = algo.predict(np.zeros((3, *(space.shape or ())), np.float32))
    assert len(actions) == 3
    folder = zoo.placed(Path(name))
    assert (folder.parent.name, folder.name) == (algo.dataset_name, algo.catalogue_name())
    assert describes(folder / "policy.okt.md", folder / "policy.okt")
    config = json.loads((folder / "config.json").read_text())
    assert config["env_id"]
    assert config["algo"] == type(algo).__name__


def test_all_are_small() -> None:
    assert sum(path.stat().st_size for path in zoo.FOLDER.rglob("*") if path.is_file()) < 20e6


def test_one_balances_the_pole() -> None:
    """Its card says 445 of 500 over 100 episodes; a random policy holds it for about 22 steps."""
    algo = offlinekit.load(zoo.EXAMPLE)
    assert evaluate(algo, "CartPole-v1", 5, seed=0).mean > 300
    assert evaluate(RandomPolicy(algo.impl.action_space), "CartPole-v1", 5, seed=0).mean < 60


def test_commands_take_names(tmp_path: Path) -> None:
    assert "return" in run("evaluate", zoo.EXAMPLE, "--episodes", 1)
    out = tmp_path / "x.h5"
    run("datasets", "collect", "--policy", zoo.EXAMPLE, "--steps", 30, "--out", out)
    assert len(offlinekit.datasets.MDPDataset.load(out)) == 30


def test_every_argument_that_is_a_policy_takes_names() -> None:
    arguments = [
        (name, parameter)
        for name in main.list_commands(click.Context(main))
        for command in [main.get_command(click.Context(main), name)]
        for parameter in (command.params if command else [])
        if parameter.name in ("run", "policies", "guide") and isinstance(parameter.type, click.Path)
    ]
    assert len(arguments) > 8
    assert [name for name, parameter in arguments if not isinstance(parameter.type, RunOrPolicy)] == []


def test_a_wrong_name_is_answered() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"'zoo:cartpole-mixed/cql'; did you mean 'zoo:cartpole-mixed/disc"
    ):
        offlinekit.load("zoo:cartpole-mixed/cql")
    result = CliRunner().invoke(main, ["evaluate", "zoo:cartpole"])
    assert result.exit_code == 2
    assert "there is no policy 'zoo:cartpole'" in result.output
    assert "known: zoo:cartpole-mixed/discrete_cql, zoo:" in result.output

"""`offlinekit datasets`: record, convert, merge, subsample, relabel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from click.testing import Result

from offlinekit.algos import MOPO
from offlinekit.datasets import MDPDataset, get_dataset, register_dataset, unregister_dataset
from offlinekit.testing import small_dataset

Call = Callable[..., Result]


@pytest.fixture
def datasets(call: Call) -> Call:
    def run(*arguments: object) -> Result:
        result = call("datasets", *arguments)
        assert result.exit_code == 0, result.output
        return result

    return run


def words(result: Result) -> str:
    return " ".join(result.output.split())


def test_collect_at_random(datasets: Call, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "random.h5"
    arguments = ("collect", "--env", "CartPole-v1", "--policy", "random", "--steps", 60, "--out", out)
    result = datasets(*arguments, "--seed", 3, "--envs", 2)
    assert "name random rows 60" in words(result)
    assert f"Wrote {out}" in result.output
    found = MDPDataset.load(out)
    np.testing.assert_allclose(found.behavior_log_probs, -np.log(2), rtol=1e-6)
    assert found.metadata["recording"]["seed"] == 3
    assert found.metadata["env_id"] == "CartPole-v1"
    again = call("datasets", *arguments)
    assert again.exit_code == 2
    assert "Invalid value for '--out'" in again.output


def test_collect_a_run_with_noise(datasets: Call, trained: tuple[Path, Result], tmp_path: Path) -> None:
    run, _ = trained
    out = tmp_path / "noisy.h5"
    datasets("collect", "--policy", run, "--epsilon", 0.5, "--steps", 200, "--out", out)
    found = MDPDataset.load(out)
    # The greedy action: 1/2 + 1/2 * 1/2; the other one: 1/4.
    assert set(np.exp(found.behavior_log_probs).round(5).tolist()) == {0.75, 0.25}
    assert found.metadata["algorithm"] == "DiscreteBC"
    datasets("collect", "--policy", run / "policy.okt", "--sample", "--steps", 20, "--out", tmp_path / "b.h5")
    assert MDPDataset.load(tmp_path / "b.h5").behavior_log_probs is None


def test_collect_the_policy_of_a_d4rl_file(datasets: Call, tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="the mujoco extra is not installed")
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "d4rl" / "hopper_medium-v2.hdf5"
    if not file.exists():
        pytest.skip("the recorded file hopper_medium-v2.hdf5 is not beside the repository")
    out = tmp_path / "medium.h5"
    result = datasets("collect", "--policy", f"d4rl:{file}", "--steps", 300, "--envs", 1, "--out", out)
    assert "environment Hopper-v4 score" in words(result)
    found = MDPDataset.load(out)
    assert found.reference_scores == pytest.approx((-20.272305, 3234.3))
    assert found.metadata["policy"] == "d4rl:hopper_medium-v2.hdf5"


@pytest.fixture(scope="module")
def model_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy that learned in a model, and the data that it learned from."""
    folder, data = tmp_path_factory.mktemp("model"), small_dataset("continuous")
    layer = {"type": "mlp", "hidden_sizes": [8]}
    model = {"encoder": layer, "n_members": 3, "n_elites": 2, "max_epochs": 1, "termination": "never"}
    algo = MOPO(encoder=layer, batch_size=8, n_rollouts=10, dynamics=model, seed=0, device="cpu")
    algo.fit(data, 2, out=None, progress=False)
    data.save(folder / "data.h5")
    return algo.save(folder / "policy.okt"), folder / "data.h5"


def test_collect_in_the_model_of_a_policy_says_that_it_is_made_up(
    datasets: Call, call: Call, model_run: tuple[Path, Path], tmp_path: Path
) -> None:
    policy, data = model_run
    out = tmp_path / "made.h5"
    datasets(
        "collect", "--policy", f"model:{policy}", "--dataset", data, "--steps", 50, "--envs", 1, "--out", out
    )
    made, recorded = MDPDataset.load(out), MDPDataset.load(data)
    assert len(made) == 50
    assert made.metadata["synthetic"] is True
    assert made.metadata["warning"] == "made by a learned model, not recorded in an environment"
    assert made.metadata["algorithm"] == "MOPO"
    # Episodes begin where those of the data do, and are cut after as many steps as its longest has, 20.
    firsts = {tuple(first) for first in recorded.observations[recorded.episode_starts].tolist()}
    assert {tuple(first) for first in made.observations[made.episode_starts].tolist()} <= firsts
    assert made.episode_lengths().tolist() == [20, 20, 10]
    for arguments, message in (
        (("--policy", f"model:{policy}"), "--dataset says where episodes in a model begin"),
        (("--policy", policy, "--dataset", data), "--dataset says where episodes in a model begin"),
        (("--policy", f"model:{policy}", "--dataset", data, "--env", "Pendulum-v1"), "leave out --env"),
    ):
        result = call("datasets", "collect", *arguments, "--steps", 5, "--out", tmp_path / "none.h5")
        assert result.exit_code == 2
        assert message in words(result)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("random", "needs an environment; give one by --env"),
        ("d4rl:none.hdf5", "there is no file none.hdf5"),
        ("rundom", "a policy file or a name such as zoo:cartpole-mixed/discrete_cql, got 'rundom'"),
    ],
)
def test_collect_says_what_it_lacks(call: Call, tmp_path: Path, policy: str, message: str) -> None:
    result = call("datasets", "collect", "--policy", policy, "--steps", 5, "--out", tmp_path / "a.h5")
    assert result.exit_code == 2
    assert message in words(result)


def test_levels(datasets: Call, tmp_path: Path) -> None:
    sizes = ("--rows", 100, "--rounds", 1, "--steps", 100, "--updates", 20)
    result = datasets("levels", "--env", "CartPole-v1", *sizes, "--algo", "dqn", "--out", tmp_path / "levels")
    assert [line.split()[0] for line in result.output.splitlines()[2:]] == [
        "random",
        "medium",
        "medium-replay",
        "medium-expert",
        "expert",
    ]
    assert MDPDataset.load(tmp_path / "levels" / "expert.h5").metadata["algorithm"] == "DQN"


def test_convert(datasets: Call, call: Call, data_file: Path, tmp_path: Path) -> None:
    plain, npz = tmp_path / "plain.h5", tmp_path / "tiny.npz"
    result = datasets("convert", data_file, plain, "--plain")
    assert result.output == f"Wrote {plain}: 240 rows, 6 episodes\n"
    assert MDPDataset.open(plain).metadata["env_id"] == "CartPole-v1"
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # Commands print them.
        result = datasets("convert", plain, npz)
    assert "NPZ cannot hold metadata 'env_id', metadata 'reference_max_score'" in result.stderr
    options = ("--dataset-option", "observations=observations", "--dataset-option", "format=npz")
    datasets("convert", npz, tmp_path / "b.out", "--format", "native", *options)
    assert len(MDPDataset.load(tmp_path / "b.out")) == 240
    assert call("datasets", "convert", plain, npz).exit_code == 2
    assert call("datasets", "convert", plain, tmp_path / "a.csv").exit_code == 2


def test_merge_subsample_and_relabel(datasets: Call, call: Call, data_file: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.h5"
    datasets(
        "merge", data_file, data_file, both, "--weight", 1, "--weight", 2, "--rows", 120, "--name", "both"
    )
    merged = MDPDataset.load(both)
    assert (merged.name, merged.n_episodes) == ("both", 3)
    datasets("subsample", both, tmp_path / "top.h5", "--top", 0.4, "--plain")
    assert MDPDataset.open(tmp_path / "top.h5").n_episodes == 1
    datasets("relabel", both, tmp_path / "r.h5", "--reward", "shift=-1", "--reward", "scale=2")
    relabelled = MDPDataset.load(tmp_path / "r.h5")
    assert not relabelled.rewards.any()
    assert [next(iter(edit)) for edit in relabelled.metadata["edits"]] == ["merge", "relabel"]
    for wrong, message in [
        (("merge", data_file, both, tmp_path / "x.h5", "--weight", 1), "weights must be 2 positive numbers"),
        (("subsample", both, tmp_path / "x.h5"), "exactly one of fraction, top and first"),
        (("subsample", both, both, "--first", 1), "is there already"),
        (("relabel", both, tmp_path / "x.h5", "--reward", "scael=1"), "did you mean 'scale'?"),
    ]:
        result = call("datasets", *wrong)
        assert result.exit_code == 2
        assert message in words(result)


def test_relabel_by_a_function_of_ones_own(
    datasets: Call, call: Call, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rewards.py").write_text("def by_time(dataset):\n    return range(len(dataset))\n")
    monkeypatch.chdir(tmp_path)
    datasets("relabel", data_file, "own.h5", "--reward", "own_rewards:by_time", "--reward", "scale=2")
    assert MDPDataset.load("own.h5").rewards[:3].tolist() == [0, 2, 4]
    for text, message in [
        ("own_rewards:by_tim", "has no function 'by_tim'"),
        ("owm:f", "cannot import 'owm'"),
    ]:
        result = call("datasets", "relabel", data_file, "x.h5", "--reward", text)
        assert result.exit_code == 2
        assert message in words(result)


def test_info_shows_spreads_and_histograms(datasets: Call, data_file: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = datasets("info", data_file, "--plot", sheet)
    lines = [line.split() for line in result.output.splitlines()]
    assert ["1", "█" * 40, "100.0%"] in lines  # Every reward is 1.
    assert [line[0] for line in lines if line[:1] and line[0].startswith("observations[")] == [
        f"observations[{i}]" for i in range(4)
    ]
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    found = json.loads(datasets("info", "pendulum-mixed", "--json").stdout)
    assert [spread["name"] for spread in found["observation_coverage"]] == [
        f"observations[{i}]" for i in range(3)
    ]
    assert found["action_coverage"][0]["at_bounds"] < 0.01
    assert sum(found["reward_histogram"]["counts"]) == 10_000


def test_info_and_validate_name_the_environment_of_a_function_of_ones_own(datasets: Call) -> None:
    """Given beside the dataset, named by its metadata, or denied."""
    swing = gymnasium.make("Pendulum-v1")
    columns = {
        "observations": np.zeros((4, 3)),
        "actions": np.zeros((4, 1)),
        "rewards": np.arange(4.0),
        "terminals": [0, 0, 0, 1],
        "action_space": swing.action_space,
        "metadata": {"env_id": "Pendulum-v1"},
    }
    register_dataset("swing-pair")(lambda: (MDPDataset(**{**columns, "metadata": {}}), swing))
    register_dataset("swing-dict")(lambda: columns)
    register_dataset("swing-none")(lambda: (columns, None))
    try:
        assert "environment Pendulum-v1" in words(datasets("info", "swing-pair"))
        for name, env in (("pair", "Pendulum-v1"), ("dict", "Pendulum-v1"), ("none", "-")):
            assert f"environment {env}" in words(datasets("info", f"swing-{name}"))
            assert f"environment {env}" in words(datasets("validate", f"swing-{name}"))
            assert (get_dataset(f"swing-{name}")[1] is None) == (env == "-")
    finally:
        for name in ("pair", "dict", "none"):
            unregister_dataset(f"swing-{name}")

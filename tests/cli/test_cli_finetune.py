"""`offlinekit finetune`: from a run to an online run and its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from offlinekit.algos import DoubleDQN, MLPEncoder
from offlinekit.cli.online_job import _advice
from offlinekit.datasets import MDPDataset
from offlinekit.training.online.experience import load_experience


def test_goes_online_with_a_policy_and_says_how_the_score_went(call, data_file: Path, tmp_path: Path) -> None:
    algo = DoubleDQN(seed=0, batch_size=8, encoder=MLPEncoder((8,)))
    policy = algo.build(MDPDataset.load(data_file)).save(tmp_path / "policy.okt")
    arguments = [
        "finetune",
        policy,
        "--env",
        "CartPole-v1",
        "--steps",
        60,
        "--out",
        tmp_path,
        "--epsilon",
        0.2,
    ]
    arguments += ["--eval-interval", 30, "--eval-episodes", 1, "--warmup-steps", 10]
    result = call(*arguments, "--dataset", data_file, "--mixing", "0.5")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines() if line[:1].isalpha())
    assert {"before", "dip", "after", "regret", "recovered", "advice"} <= set(lines)
    assert lines["spent"] == "60 steps, 50 updates"
    folder = Path(result.output.split("Run folder: ")[1].strip())
    assert len(load_experience(folder)) == 60
    train = call("train", "--resume", folder)
    assert train.exit_code == 2
    assert (
        "is an online run; go on with it by the command that began it and --resume: offlinekit finetune"
        in train.output
    )
    again = call(
        *arguments[:5], 80, *arguments[6:], "--dataset", data_file, "--mixing", "0.5", "--resume", folder
    )
    assert again.exit_code == 0, again.output
    assert "80 steps, 70 updates" in again.output
    guided = call(*arguments, "--dataset", "none", "--guide", policy, "--guide-steps", 5, "--n-envs", 2)
    assert guided.exit_code == 0, guided.output
    wrong = call(*arguments, "--mixing", "1.5", "--dataset", "none")
    assert wrong.exit_code == 2
    assert "mixing must be 'append'" in wrong.output


@pytest.mark.parametrize(
    ("before", "reference", "expected"),
    [
        (10.0, (0.0, 20.0), "keep the policy (data return 3.500, random 0)"),
        (1.0, (0.0, 20.0), "keep the data in every minibatch (data return 3.500, random 0)"),
        (1.0, (5.0, 20.0), "start anew (data return 3.500, random 5)"),
        (1.0, None, "keep the data in every minibatch (data return 3.500)"),
    ],
)
def test_advice_knows_what_random_actions_score(before, reference, expected) -> None:
    data = MDPDataset([[0.0]] * 4, [[0.0]] * 4, [1.0, 2.0, 3.0, 1.0], [False, True, False, True])
    names = ("reference_min_score", "reference_max_score")
    metadata = dict(zip(names, reference, strict=True)) if reference else {}
    # Returns 1 + 2 and 3 + 1, on average 3.5.
    assert _advice(before, data.with_options(metadata=metadata)) == expected

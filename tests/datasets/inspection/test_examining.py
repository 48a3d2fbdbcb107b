"""Every fault and suspicion: its field, row and remedy, on columns that have it and on ones that have not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.inspection.doubts import find_suspicions
from offlinekit.datasets.inspection.examining import examine
from offlinekit.datasets.inspection.rules import find_faults
from offlinekit.errors import DatasetError, FileFormatError

N = 12
BOX = spaces.Box(-1, 1, (2,))


def sound(**options: Any) -> dict[str, Any]:
    """Three episodes of four rows, by a terminal and two timeouts, with nothing to find."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(N + 1, 3)).astype(np.float32)
    following = seen[1:].copy()
    following[3::4] = 9  # The observations after the ends.
    return {
        "observations": seen[:-1],
        "actions": rng.uniform(-1, 1, (N, 2)).astype(np.float32),
        "rewards": rng.normal(size=N).astype(np.float32),
        "terminals": np.arange(N) == 3,
        "timeouts": np.isin(np.arange(N), [7, 11]),
        "next_observations": following,
        "action_space": BOX,
        **options,
    }


def changed(field: str, row: Any, value: Any, **options: Any) -> dict[str, Any]:
    columns = sound(**options)
    columns[field] = np.array(columns[field])
    columns[field][row] = value
    return columns


def test_sound_columns_have_nothing_to_find() -> None:
    assert find_faults(sound()) == []
    assert find_suspicions(sound()) == []
    MDPDataset(**sound())


FAULTS = {
    "NaN reward": (changed("rewards", [2, 5], np.nan), ("rewards", 2, 2), "holds nan", "drop those episodes"),
    "infinite observation": (
        changed("observations", (4, 1), np.inf),
        ("observations", 4, 1),
        "holds inf",
        "repair",
    ),
    "reward too large": (
        sound(rewards=np.where(np.arange(N) == 6, 1e300, 0.0)),
        ("rewards", 6, 1),
        "too large for float32",
        "repair",
    ),
    "NaN in a leaf": (
        sound(
            observations={"a": (changed("observations", (3, 0), np.nan)["observations"],)},
            next_observations=None,
        ),
        ("observations['a'][0]", 3, 1),
        "holds nan",
        "repair",
    ),
    "action outside": (
        changed("actions", (5, 1), -1.5),
        ("actions", 5, 1),
        "dimension 1 holds -1.5",
        "clip them",
    ),
    "other action space": (
        sound(action_space=spaces.Box(-1, 1, (3,))),
        ("actions", None, None),
        "has 2 dim",
        "declare",
    ),
    "action too large": (
        sound(actions=np.arange(N) % 4, action_space=spaces.Discrete(3)),
        ("actions", 3, 3),
        "holds 3, outside Discrete",
        "larger Discrete",
    ),
    "broken discrete action": (
        sound(actions=np.arange(N) / 2, action_space=spaces.Discrete(9)),
        ("actions", 1, 6),
        "holds 0.5, expected whole",
        "declare a Box",
    ),
    "negative action": (
        sound(actions=np.arange(N) - 1, action_space=None),
        ("actions", 0, 1),
        "holds -1",
        "from 0",
    ),
    "length": (
        sound(terminals=np.zeros(5)),
        ("terminals", None, None),
        "has 5 rows, but rewards have 12",
        "one entry",
    ),
    "flag": (sound(timeouts=np.full(N, 0.5)), ("timeouts", 0, N), "holds 0.5, expected 0 or 1", "x > 0.5"),
    "denied end": (
        sound(episode_terminals=np.isin(np.arange(N), [7, 11])),
        ("terminals", 3, 1),
        "is set where episode_terminals is not",
        r"terminals \* episode_terminals",
    ),
    "text": (sound(rewards=np.array(["1"] * N)), ("rewards", None, None), "must hold numbers", "convert"),
    "state numbers": (
        sound(observations=np.zeros(N), next_observations=None),
        ("observations", None, None),
        "must have shape",
        "x.:, None.",
    ),
    "missing": (sound(rewards=None), ("rewards", None, None), "is missing", "give the column"),
    "probability for its logarithm": (
        sound(actions=np.arange(N) % 2, action_space=None, behavior_log_probs=np.full(N, 0.5)),
        ("behavior_log_probs", 0, N),
        "holds 0.5, expected at most 0",
        "logarithm",
    ),
    "empty": (
        {
            name: np.zeros((0, *np.shape(value)[1:]))
            for name, value in sound().items()
            if name != "action_space"
        },
        ("rewards", None, None),
        "the dataset is empty",
        "how it was read",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case: str) -> None:
    columns, place, message, fix = FAULTS[case]
    (found,) = find_faults(columns)
    assert (found.field, found.row, found.n_rows) == place
    assert found.severity == "fault"
    assert message in found.message
    assert re.search(fix, found.fix)
    with pytest.raises((DatasetError, TypeError)):
        MDPDataset(**columns)


def test_all_faults_are_found_at_once() -> None:
    columns = changed("rewards", 2, np.nan)
    columns["actions"] = columns["actions"] * 3
    columns["observations"][7, 2] = np.inf
    assert [finding.field for finding in find_faults(columns)] == ["observations", "rewards", "actions"]


def repeated() -> dict[str, Any]:
    columns = sound(next_observations=None, final_observations=np.ones((6, 3)))
    names = ("observations", "actions", "rewards", "terminals", "timeouts")
    return {**columns, **{name: np.concatenate([columns[name]] * 2) for name in names}}


def ends_at(*rows: int) -> dict[str, Any]:
    return {"terminals": np.zeros(N), "timeouts": np.isin(np.arange(N), rows)}


SUSPICIONS = {
    "both flags": (sound(timeouts=np.isin(np.arange(N), [3, 7, 11])), "terminals", 3, 1, "on the same row"),
    "timeouts early": (sound(**ends_at(2, 6, 11)), "next_observations", 3, 2, "though no episode ends"),
    "timeouts late": (sound(**ends_at(4, 8, 11)), "terminals/timeouts", 4, 2, "mark an end where"),
    "unordered": (sound(next_observations=np.ones((N, 3))), "next_observations", 0, 9, "are not those of"),
    "two running": (
        sound(
            terminals=np.isin(np.arange(N), [2, 3]),
            next_observations=None,
            final_observations=np.ones((4, 3)),
        ),
        "terminals",
        3,
        1,
        "set on two rows running",
    ),
    "no ends": (
        sound(terminals=np.zeros(N), timeouts=None, next_observations=None),
        "terminals",
        None,
        None,
        "are never set: all rows are one episode",
    ),
    "open tail": (
        sound(timeouts=np.arange(N) == 7),
        "terminals",
        8,
        4,
        "leave the rows after the last end open",
    ),
    "repeated": (repeated(), "rows", 12, 12, "repeat an earlier row"),
    "constant observation": (
        changed(
            "observations", (slice(None), 1), 4.0, next_observations=None, final_observations=np.ones((3, 3))
        ),
        "observations",
        None,
        None,
        "never change in dimension 1 (of 3) (always 4)",
    ),
    "constant reward": (sound(rewards=np.ones(N)), "rewards", None, None, "never change (always 1)"),
    "precision": (
        sound(rewards=1.7e9 + np.arange(N)),
        "rewards",
        1,
        11,
        "of which float32 loses up to",
    ),
    "never taken": (
        sound(actions=np.arange(N) % 2 * 2, action_space=spaces.Discrete(4)),
        "actions",
        None,
        None,
        "1, 3 of 4 never occur",
    ),
    "no range": (sound(action_space=None), "actions", None, None, "have no declared range; they reach"),
    "unknown ends": (sound(next_observations=None), "timeouts", 7, 2, "last next observation is unknown"),
}


@pytest.mark.parametrize("case", SUSPICIONS)
def test_suspicions(case: str) -> None:
    columns, field, row, n_rows, message = SUSPICIONS[case]
    assert find_faults(columns) == []
    found = [finding for finding in find_suspicions(columns) if message in finding.message]
    assert [(one.severity, one.field, one.row, one.n_rows) for one in found] == [
        ("warning", field, row, n_rows)
    ]
    assert found[0].fix
    MDPDataset(**columns)


@pytest.mark.parametrize(("rows", "text"), [((2, 6, 10), "1 row too early"), ((5, 9, 11), "2 rows too late")])
def test_flags_that_are_out_of_step_by_the_same_number_of_rows(rows: tuple[int, ...], text: str) -> None:
    found = find_suspicions(sound(**ends_at(*rows)))
    fixes = [finding.fix for finding in found if finding.field in ("next_observations", "terminals/timeouts")]
    assert len(fixes) == 2
    assert all(f"(flags are {text})" in fix for fix in fixes)


def test_examine_reads_every_kind_of_file(tmp_path: Path) -> None:
    columns = changed("rewards", 2, np.nan)
    columns["observations"][7, 2] = np.inf
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in columns.items() if name != "action_space"})
    report = examine(path)
    assert (report.is_sound, report.dataset, report.warnings) == (False, None, [])
    assert [finding.row for finding in report.faults] == [7, 2]
    assert report.to_json()["faults"][1] == {
        "severity": "fault",
        "field": "rewards",
        "message": "holds nan, expected finite numbers",
        "fix": "drop those episodes, or repair the values",
        "row": 2,
        "n_rows": 1,
    }
    good = MDPDataset(**sound(rewards=np.ones(N))).save(tmp_path / "good.h5")
    report = examine(good)
    assert report.is_sound
    assert report.dataset is not None
    assert [finding.field for finding in report.warnings] == ["rewards"]
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:600])
    with pytest.raises(FileFormatError):
        examine(tmp_path / "cut.h5")


def test_what_no_check_knows_is_still_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    columns = {name: value for name, value in sound().items() if name != "action_space"}
    np.savez(path, **{**columns, "next_observations": columns["next_observations"][:, :2]})
    (found,) = examine(path).faults
    assert found.field == "dataset"
    assert "next_observations must be float32 rows of shape [3]" in found.message


def test_real_antmaze_marks_its_goals_twice(real_data: Callable[[str], Path]) -> None:
    report = examine(real_data("d4rl/antmaze-medium-diverse-v0.hdf5"))
    found = {finding.message.split(",")[0]: finding.n_rows for finding in report.warnings}
    assert found["are set on two rows running"] == 2
    assert any("timeouts are out of step" in text for text in found)  # What the reader knows of this dataset.
    assert examine(real_data("d4rl/hopper_medium-v2.hdf5")).warnings == []

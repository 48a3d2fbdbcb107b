"""Every fault, doubt and note: its field, row and remedy, on columns that have it and on ones that have not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium import spaces

from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, from_dataframe, get_dataset, register_dataset, unregister_dataset
from offlinekit.datasets.draft import Draft
from offlinekit.datasets.inspection.doubts import find_doubts
from offlinekit.datasets.inspection.examining import examine
from offlinekit.datasets.inspection.notes import notes_of
from offlinekit.datasets.inspection.rules import find_faults
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError

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
    assert find_doubts(sound()) == []
    assert list(notes_of(Draft(sound()))) == []
    MDPDataset(**sound())


FAULTS = {
    "NaN reward": (
        changed("rewards", [2, 5], np.nan),
        ("rewards", 2, 2),
        "must be finite, got nan",
        "drop those episodes",
    ),
    "infinite observation": (
        changed("observations", (4, 1), np.inf),
        ("observations", 4, 1),
        "got inf",
        "repair",
    ),
    "reward too large": (
        sound(rewards=np.where(np.arange(N) == 6, 1e300, 0.0)),
        ("rewards", 6, 1),
        "must be finite, got inf",
        "repair",
    ),
    "NaN in a leaf": (
        sound(
            observations={"a": (changed("observations", (3, 0), np.nan)["observations"],)},
            next_observations=None,
        ),
        ("observations['a'][0]", 3, 1),
        "got nan",
        "repair",
    ),
    "action outside": (
        changed("actions", (5, 1), -1.5),
        ("actions", 5, 1),
        "must lie in Box(-1.0, 1.0, (2,), float32), got",
        "clip them",
    ),
    "other action space": (
        sound(action_space=spaces.Box(-1, 1, (3,))),
        ("actions", None, None),
        "must have shape [N, A] with A of Box",
        "declare",
    ),
    "action too large": (
        sound(actions=np.arange(N) % 4, action_space=spaces.Discrete(3)),
        ("actions", 3, 3),
        "must lie in Discrete(3), got 3",
        "larger Discrete",
    ),
    "broken discrete action": (
        sound(actions=np.arange(N) / 2, action_space=spaces.Discrete(9)),
        ("actions", 1, 6),
        "must be whole numbers in a Discrete space, got 0.5",
        "declare a Box",
    ),
    "negative action": (
        sound(actions=np.arange(N) - 1, action_space=None),
        ("actions", 0, 1),
        "got -1",
        "from 0",
    ),
    "length": (
        sound(terminals=np.zeros(5)),
        ("terminals", None, None),
        "has 5 rows, expected 12",
        "one entry",
    ),
    "flag": (sound(timeouts=np.full(N, 0.5)), ("timeouts", 0, N), "must be 0 or 1, got 0.5", "x > 0.5"),
    "denied end": (
        sound(episode_terminals=np.isin(np.arange(N), [7, 11])),
        ("terminals", 3, 1),
        "must not be set where episode_terminals is not",
        r"terminals \* episode_terminals",
    ),
    "text": (sound(rewards=np.array(["1"] * N)), ("rewards", None, None), "must hold numbers", "np.asarray"),
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
        "must be at most 0, got 0.5",
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


WARNINGS = {
    "terminals at timeouts": (
        sound(
            terminals=np.isin(np.arange(N), [3, 7]),
            timeouts=np.isin(np.arange(N), [3, 7]),
            episode_terminals=np.isin(np.arange(N), [3, 7, 11]),
        ),
        ("terminals", 3, 2),
        "are set at every timeout",
    ),
    "timeouts early": (sound(**ends_at(2, 6, 11)), ("next_observations", 3, 2), "though no episode ends"),
    "two running": (
        sound(
            terminals=np.isin(np.arange(N), [2, 3, 6, 7]),
            timeouts=None,
            next_observations=None,
            final_observations=np.ones((5, 3)),
        ),
        ("terminals", 3, 2),
        "set on two rows running",
    ),
    "no ends": (
        {
            name: np.repeat(column, 100, axis=0)
            for name, column in sound().items()
            if name in ("observations", "actions", "rewards")
        }
        | {"terminals": np.zeros(100 * N), "action_space": BOX},
        ("terminals", None, None),
        "are set at no earlier row than the last: all are one episode",
    ),
    "precision": (sound(rewards=1.7e9 + np.arange(N)), ("rewards", 1, 11), "of which float32 loses up to"),
    "precision of a leaf": (
        sound(
            observations={"clock": 1_700_000_000 + np.arange(2 * N).reshape(N, 2)},
            next_observations=None,
        ),
        ("observations['clock']", 1, 11),
        "are int64, of which float32 loses up to",
    ),
    "gaps": (
        sound(actions=np.arange(N) % 3 * 2, action_space=None),
        ("actions", None, None),
        "skip 2 of the numbers 0 to 4, the first of them 1",
    ),
    "whole floats": (
        sound(actions=np.arange(N) % 3 / 1.0, action_space=None),
        ("actions", None, None),
        "are whole numbers from 0 to 2 of dtype float",
    ),
    "bytes": (
        sound(observations=np.eye(N, dtype=np.uint8), next_observations=None),
        ("observations", None, None),
        "are uint8 vectors of at most 1, which networks divide by 255",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_doubts_are_warned_of_when_a_dataset_is_built(case: str) -> None:
    columns, place, message = WARNINGS[case]
    assert find_faults(columns) == []
    (found,) = find_doubts(columns)
    assert (found.severity, found.field, found.row, found.n_rows) == ("warning", *place)
    assert message in found.message
    with pytest.warns(DatasetWarning) as caught:
        MDPDataset(**columns)
    assert [str(one.message) for one in caught] == [found.text]
    assert caught[0].filename == __file__  # Where the dataset is built.


@pytest.mark.parametrize("case", WARNINGS)
def test_doubts_are_warned_of_at_every_door(case: str, tmp_path: Path) -> None:
    columns, _, message = WARNINGS[case]
    text = re.escape(message)
    register_dataset("doubtful")(lambda: dict(columns))
    try:
        with pytest.warns(DatasetWarning, match=text) as caught:
            get_dataset("doubtful")
    finally:
        unregister_dataset("doubtful")
    assert len(caught) == 1
    flat = {name: column for name, column in columns.items() if name != "action_space" and column is not None}
    if any(isinstance(column, dict) for column in flat.values()):
        return
    np.savez(tmp_path / "x.npz", **flat)
    with pytest.warns(DatasetWarning, match=text):
        get_dataset(tmp_path / "x.npz", action_space=columns["action_space"])
    report = examine(tmp_path / "x.npz", action_space=columns["action_space"])
    assert [message in finding.message for finding in report.warnings] == [True]
    result = CliRunner().invoke(main, ["datasets", "validate", str(tmp_path / "x.npz")])
    assert result.exit_code == 0
    assert re.search(f"WARNING  .*{text}", result.output)


def test_tables_warn_of_doubts() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"clock": 1_700_000_000 + np.arange(N), "a": np.arange(N) % 2, "r": np.ones(N)})
    with pytest.warns(DatasetWarning, match="observations are int64, of which float32 loses up to 11"):
        from_dataframe(frame, observations=["clock"], action="a", reward="r", bandit=False)


SILENT = {
    "a timeout that is a terminal among others": sound(timeouts=np.isin(np.arange(N), [3, 7, 11])),
    "bandits": sound(terminals=np.ones(N), timeouts=None, next_observations=None),
    "few rows without an end": sound(terminals=np.zeros(N), timeouts=None, next_observations=None),
    "transitions in no order": sound(next_observations=np.ones((N, 3))),
    "small numbers of 64 bits": sound(rewards=np.arange(N) / 3),
    "large numbers far apart": sound(rewards=1e9 * np.arange(N)),
    "a constant": sound(rewards=np.full(N, 1.7e9 + 1)),
    "a declared space": sound(actions=np.arange(N) % 3 * 2, action_space=spaces.Discrete(5)),
    "declared floats": sound(actions=np.arange(N) % 3 / 1.0, action_space=spaces.Box(0, 2, (1,))),
    "floats below 0": sound(actions=np.arange(N) % 3 - 1.0, action_space=None),
    "zeros": sound(actions=np.zeros(N), action_space=None),
    "memory of a console": sound(observations=np.full((N, 4), 64, np.uint8), next_observations=None),
    "dark pictures": sound(observations=np.zeros((N, 1, 4, 4), np.uint8), next_observations=None),
}


@pytest.mark.parametrize("case", SILENT)
def test_no_doubt_without_a_reason(case: str) -> None:
    assert find_doubts(SILENT[case]) == []
    MDPDataset(**SILENT[case])


NOTES = {
    "both flags": (
        sound(timeouts=np.isin(np.arange(N), [3, 7, 11])),
        ("terminals", 3, 1),
        "and timeouts are set on the same row",
    ),
    "timeouts late": (
        sound(**ends_at(4, 8, 11)),
        ("terminals", 4, 2),
        "mark an end where",
    ),
    "unordered": (sound(next_observations=np.ones((N, 3))), ("next_observations", 0, 9), "are not those of"),
    "no ends": (
        sound(terminals=np.zeros(N), timeouts=None, next_observations=None),
        ("terminals", 0, N),
        "leave the rows after the last end open",
    ),
    "open tail": (
        sound(timeouts=np.arange(N) == 7),
        ("terminals", 8, 4),
        "leave the rows after the last end open",
    ),
    "one row": (
        sound(timeouts=np.isin(np.arange(N), [7, 8, 11])),
        ("terminals", 8, 1),
        "leave episodes of one row",
    ),
    "repeated": (repeated(), ("rewards", 12, 12), "all other columns repeat an earlier row"),
    "constant observation": (
        changed(
            "observations", (slice(None), 1), 4.0, next_observations=None, final_observations=np.ones((3, 3))
        ),
        ("observations", None, None),
        "never change in dimension 1 (of 3) (always 4)",
    ),
    "constant reward": (sound(rewards=np.ones(N)), ("rewards", None, None), "never change (always 1)"),
    "never taken": (
        sound(actions=np.arange(N) % 2 * 2, action_space=spaces.Discrete(4)),
        ("actions", None, None),
        "1, 3 of 4 never occur",
    ),
    "no range": (sound(action_space=None), ("actions", None, None), "have no declared range; they reach"),
    "unknown ends": (sound(next_observations=None), ("timeouts", 7, 2), "last next observation is unknown"),
}


@pytest.mark.parametrize("case", NOTES)
def test_notes(case: str) -> None:
    columns, place, message = NOTES[case]
    assert find_faults(columns) == []
    found = [finding for finding in notes_of(Draft(columns)) if message in finding.message]
    assert [(one.severity, one.field, one.row, one.n_rows) for one in found] == [("note", *place)]
    assert found[0].fix


@pytest.mark.parametrize(("rows", "text"), [((2, 6, 10), "1 row too early"), ((5, 9, 11), "2 rows too late")])
def test_flags_that_are_out_of_step_by_the_same_number_of_rows(rows: tuple[int, ...], text: str) -> None:
    columns = sound(**ends_at(*rows))
    found = [*find_doubts(columns), *notes_of(Draft(columns))]
    fixes = [finding.fix for finding in found if "next observation" in finding.text]
    assert [f"(flags are {text})" in fix for fix in fixes[:1]] == [True]


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
        "message": "must be finite, got nan",
        "fix": "drop those episodes, as nonfinite='drop' does, or repair the values",
        "row": 2,
        "n_rows": 1,
        "episode": 0,
    }
    good = MDPDataset(**sound(rewards=np.ones(N))).save(tmp_path / "good.h5")
    report = examine(good)
    assert report.is_sound
    assert report.dataset is not None
    assert report.warnings == []
    assert [finding.field for finding in report.notes] == ["rewards"]
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:600])
    with pytest.raises(FileFormatError):
        examine(tmp_path / "cut.h5")


def test_real_antmaze_marks_its_goals_twice(real_data: Callable[[str], Path]) -> None:
    report = examine(real_data("d4rl/antmaze-medium-diverse-v0.hdf5"))
    found = {finding.message.split(",")[0]: finding.n_rows for finding in report.warnings}
    assert [one.n_rows for one in report.notes if "episodes of one row" in one.message] == [2]
    assert any("timeouts are out of step" in text for text in found)  # What the reader knows of this dataset.
    report = examine(real_data("d4rl/hopper_medium-v2.hdf5"))
    assert report.warnings + report.notes == []

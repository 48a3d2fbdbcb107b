from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import from_dataframe, get_dataset
from offlinekit.datasets.inspection.examining import examine
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError, MissingExtraError

pandas = pytest.importorskip("pandas")

NAMES: dict[str, Any] = {
    "observations": ["pulse", "age"],
    "action": "dose",
    "reward": "score",
    "episode": "patient",
}


def table(**columns: Any) -> Any:
    """Patients b (2 rows) and a (3 rows), interleaved and not in order of time."""
    return pandas.DataFrame(
        {
            "patient": ["b", "a", "a", "b", "a"],
            "day": [2, 3, 1, 1, 2],
            "pulse": [20, 13, 11, 10, 12],
            "age": [5.5] * 5,
            "dose": [1, 0, 1, 0, 2],
            "score": [2.0, 30.0, 10.0, 1.0, 20.0],
            "died": [0, 1, 0, 0, 0],
            **columns,
        }
    )


def test_rows_are_put_in_order() -> None:
    dataset = from_dataframe(table(), **NAMES, time="day", terminal="died", name="ward")
    assert dataset.name == "ward"
    assert dataset.rewards.tolist() == [1, 2, 10, 20, 30]
    assert dataset.observations[:, 0].tolist() == [10, 20, 11, 12, 13]
    assert dataset.actions.tolist() == [0, 1, 1, 2, 0]
    assert dataset.episode_ends.tolist() == [2, 5]
    assert np.flatnonzero(dataset.terminals).tolist() == [4]
    assert np.flatnonzero(dataset.timeouts).tolist() == [1]
    assert dataset.action_space == spaces.Discrete(3)


def test_without_time_the_order_of_the_table_counts() -> None:
    assert from_dataframe(table(), **NAMES).rewards.tolist() == [2, 1, 30, 10, 20]


def test_without_episodes_the_flags_cut() -> None:
    names = {**NAMES, "episode": None}
    dataset = from_dataframe(table(cut=[0, 0, 0, 1, 0]), **names, terminal="died", timeout="cut")
    assert dataset.episode_ends.tolist() == [2, 4, 5]


def test_several_action_columns_are_continuous() -> None:
    names = {**NAMES, "action": ["age", "score"]}
    dataset = from_dataframe(table(), **names)
    assert dataset.actions[0].tolist() == [5.5, 2.0]
    box = spaces.Box(np.zeros(2, np.float32), np.array([5, 10], np.float32))
    dataset = from_dataframe(table(), **names, action_space=box, clip_actions=True)
    assert dataset.actions.max(axis=0).tolist() == [5, 10]


def test_times_may_be_dates() -> None:
    days = pandas.to_datetime(["2024-01-02", "2024-03-01", "2024-01-01", "2024-01-01", "2024-02-01"])
    dataset = from_dataframe(table(day=days), **NAMES, time="day")
    assert dataset.rewards.tolist() == [1, 2, 10, 20, 30]


def test_csv_by_path(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "ward.csv", index=False)
    dataset, env = get_dataset(tmp_path / "ward.csv", **NAMES, time="day", terminal="died")
    expected = from_dataframe(table(), **NAMES, time="day", terminal="died")
    np.testing.assert_array_equal(dataset.observations, expected.observations)
    np.testing.assert_array_equal(dataset.rewards, expected.rewards)
    assert (dataset.name, env) == ("ward", None)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"reward": "scor"}, "the table has no column 'scor'; did you mean 'score'"),
        ({"day": [2, 3, 1, 1, 1]}, {"time": "day"}, "column 'day' repeats 1 within an episode, at row 4"),
        ({"patient": ["b", None, "a", "b", "a"]}, {}, "column 'patient' has no value at row 1"),
        ({"day": [2, None, 1, 1, 2]}, {"time": "day"}, "column 'day' has no value at row 1"),
        (
            {"pulse": [20, None, 11, 10, 12]},
            {},
            "observations must be finite, got nan at row 1, in episode 1",
        ),
        ({"dose": ["x"] * 5}, {}, "column 'dose' must hold numbers"),
        (
            {"died": [1, 0, 0, 0, 0]},
            {"terminal": "died"},
            "column 'died' says that an episode ends where column 'patient' goes on at row 0",
        ),
    ],
)
def test_wrong_tables_are_named(changes: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        from_dataframe(table(**changes), **{**NAMES, **options})


def test_empty_tables() -> None:
    with pytest.raises(DatasetError, match="the table is empty"):
        from_dataframe(table()[:0], **NAMES)


def test_options_of_csv_are_checked(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        TypeError,
        match=r"without a schema needs the option 'observations', .*; its options are: schema, observations, action",
    ):
        get_dataset(tmp_path / "x.csv")
    with pytest.raises(TypeError, match="has no option 'rewards'; did you mean 'reward'"):
        get_dataset(tmp_path / "x.csv", rewards="b")


def test_files_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"")
    with pytest.raises(FileFormatError, match="is not a CSV table"):
        get_dataset(tmp_path / "x.csv", **NAMES)
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe,\x80\n")
    with pytest.raises(FileFormatError, match="is not a CSV table"):
        get_dataset(tmp_path / "x.csv", **NAMES)


def test_without_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offlinekit\[pandas\]'"):
        get_dataset(tmp_path / "x.csv", **NAMES)


def test_parquet_and_propensities(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {
            "stay": [2, 2, 1],
            "pulse": [70.0, 80.0, 90.0],
            "dose": [0, 1, 1],
            "gain": [1.0, 2.0, 3.0],
            "p": [0.5, 1, 0.25],
        }
    )
    frame.to_parquet(tmp_path / "ward.parquet")
    names = {
        "observations": ["pulse"],
        "action": "dose",
        "reward": "gain",
        "episode": "stay",
        "propensity": "p",
    }
    dataset, _ = get_dataset(tmp_path / "ward.parquet", **names)
    assert dataset.rewards.tolist() == [1, 2, 3]
    assert dataset.episode_ends.tolist() == [2, 3]
    assert dataset.behavior_log_probs is not None
    np.testing.assert_allclose(dataset.behavior_log_probs, np.log([0.5, 1, 0.25]), rtol=1e-6)
    (tmp_path / "ward.parquet").write_bytes(b"PAR1 but not at all PAR1")
    with pytest.raises(FileFormatError, match=r"ward.parquet is no Parquet file, or is damaged"):
        get_dataset(tmp_path / "ward.parquet", **names)
    with pytest.raises(DatasetError, match=r"column 'p' must be positive, got 0.0 at row 1"):
        from_dataframe(frame.assign(p=[0.5, 0, 1]), **names)


def clocked(times: Any, **more: Any) -> Any:
    return pandas.DataFrame({"t": times, "x": np.arange(float(len(times))), "a": 0, "r": 1.0, **more})


CLOCKED: dict[str, Any] = {"observations": ["x"], "action": "a", "reward": "r", "time": "t"}


def test_texts_are_no_order_of_time() -> None:
    for times in ([f"{month}/1/2020" for month in range(1, 13)], ["step2", "step10"], ["9:00", "10:00"]):
        with pytest.raises(
            DatasetError, match=r"column 't' must hold numbers, or times of ISO 8601.*to_datetime"
        ):
            from_dataframe(clocked(times), **CLOCKED)
    mixed = ["2020-01-01T09:00+01:00", "2020-01-01T09:30+02:00"]
    with pytest.raises(DatasetError, match="in one offset, got '2020-01-01T09:00"):
        from_dataframe(clocked(mixed), **CLOCKED)


@pytest.mark.parametrize(
    "times",
    [
        ["2020-10-01", "2020-09-01", "2020-11-01"],
        ["2020-01-01T10:00+01:00", "2020-01-01T09:00+01:00", "2020-01-01T10:30+01:00"],
        pandas.to_datetime(["10/1/2020", "9/1/2020", "11/1/2020"]),
        pandas.to_datetime(["2020-10-01", "2020-09-01", "2020-11-01"]).tz_localize("Europe/Berlin"),
        pandas.to_timedelta([10, 9, 11], unit="h"),
        [10.5, 9.0, 11.0],
    ],
)
def test_times_that_have_an_order(times: Any) -> None:
    assert from_dataframe(clocked(times), **CLOCKED, bandit=False).observations[:, 0].tolist() == [1, 0, 2]


def test_missing_steps_are_warned_of() -> None:
    times = np.delete(np.arange(41), 20)  # 39 steps: 38 of 1 and one of 2.
    with pytest.warns(DatasetWarning, match="column 't' rises by 1, but misses steps in 1 places"):
        from_dataframe(clocked(times), **CLOCKED, bandit=False)
    from_dataframe(
        clocked(np.cumsum(np.arange(40) % 3 + 1)), **CLOCKED, bandit=False
    )  # Irregular: no count of steps.
    from_dataframe(clocked(times.astype(float)), **CLOCKED, bandit=False)


def test_episodes_of_a_file_are_named_by_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("e,x,a,r\n007,1,0,1\n7,2,0,1\n007,3,0,1\n")
    dataset, _ = get_dataset(tmp_path / "x.csv", observations=["x"], action="a", reward="r", episode="e")
    assert dataset.episode_ends.tolist() == [2, 3]
    assert dataset.observations[:, 0].tolist() == [1, 3, 2]


TEXT = "who,x,dose,gain\n007,1.5,0,1\n7,2.5,1,2\n007,3.5,1,3\n"
OPTIONS = {"observations": ["x"], "action": "dose", "reward": "gain", "episode": "who"}


@pytest.mark.parametrize(
    ("name", "separator"),
    [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ";"), ("a.tsv.gz", "\t")],
)
def test_text_tables_of_any_separator(name: str, separator: str, tmp_path: Path) -> None:
    content = TEXT.replace(",", separator).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    dataset, _ = get_dataset(tmp_path / name, **OPTIONS)
    assert dataset.observations[:, 0].tolist() == [1.5, 3.5, 2.5]  # 007 and 7 are two episodes.
    assert dataset.episode_ends.tolist() == [2, 3]


def test_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TEXT.replace(",", ";").replace(".", ","))
    assert get_dataset(path, decimal=",", **OPTIONS)[0].observations[:, 0].tolist() == [1.5, 3.5, 2.5]
    with pytest.raises(DatasetError, match="column 'x' has numbers such as '1,5'; give decimal=','"):
        get_dataset(path, **OPTIONS)


def test_a_damaged_gzip_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(FileFormatError, match="is not a CSV table with a header line, or is damaged"):
        get_dataset(tmp_path / "a.csv.gz", **OPTIONS)


def test_columns_of_lists(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"s": [[1.0, 2.0], [3.0, 4.0]], "a": [[0.5], [0.25]], "r": [1, 2], "x": [9, 8]})
    named: dict[str, Any] = {"observations": ["s", "x"], "action": "a", "reward": "r", "bandit": False}
    (tmp_path / "a.csv").write_text('s,a,r,x\n"[1, 2]",[0.5],1,9\n"[3, 4]",[0.25],2,8\n')
    frame.to_parquet(tmp_path / "a.parquet")
    read = [get_dataset(tmp_path / name, **named)[0] for name in ("a.csv", "a.parquet")]
    for dataset in (from_dataframe(frame, **named), *read):
        assert dataset.observations.tolist() == [[1, 2, 9], [3, 4, 8]]
        assert dataset.actions.tolist() == [[0.5], [0.25]]
    with pytest.raises(DatasetError, match="column 's' must hold lists of one length"):
        from_dataframe(frame.assign(s=[[1.0], [1.0, 2.0]]), **named)
    (tmp_path / "a.csv").write_text('s,a,r,x\n"[1, 2]",[0.5],1,9\n"[3, 4",[0.25],2,8\n')
    with pytest.raises(DatasetError, match=r"column 's' must hold lists as JSON, got '\[3, 4' at row 1"):
        get_dataset(tmp_path / "a.csv", **named)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who,x,x,dose,gain\na,1,5,0,1\na,2,6,1,1\n", "the table has 2 columns 'x'; rename all but one"),
        ("who,x,dose,gain\na,1,0,1,9\na,2,1,1,9\n", "is not a CSV table .*Length of header"),
    ],
)
def test_headers_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises((DatasetError, FileFormatError), match=message):
        get_dataset(tmp_path / "a.csv", **OPTIONS)


def test_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeff" + TEXT)
    assert get_dataset(tmp_path / "a.csv", **OPTIONS)[0].n_episodes == 2


def test_times_are_finite_and_names_are_one() -> None:
    with pytest.raises(DatasetError, match="column 'day' must be finite, got inf at row 2"):
        from_dataframe(table(day=[2, 3, np.inf, 1, 2]), time="day", **NAMES)
    twice = pandas.concat([table(), table()[["pulse"]]], axis=1)
    with pytest.raises(DatasetError, match="the table has 2 columns 'pulse'"):
        from_dataframe(twice, **NAMES)


def test_labels_say_how_they_are_numbered() -> None:
    frame = table(dose=["low", "high", "low", "high", "low"])
    with pytest.raises(
        DatasetError, match=r"column 'dose' must hold numbers.* np.unique\(x, return_inverse=True\)"
    ):
        from_dataframe(frame, **NAMES)
    frame["dose"] = np.unique(frame["dose"], return_inverse=True)[1]  # The remedy.
    assert from_dataframe(frame, **NAMES).action_space == spaces.Discrete(2)


COMMAS = [
    ("1,234", "give thousands=',' if this is 1234, or decimal=',' if it is 1.234"),
    ("1,234,567", "give thousands=',' to read them"),
    ("1,234.5", "give thousands=',' to read them"),
    ("0,234", "give decimal=',' to read them"),
    ("2,5", "give decimal=',' to read them"),
]


@pytest.mark.parametrize(("cell", "remedy"), COMMAS)
def test_numbers_with_commas_say_how_they_are_read(cell: str, remedy: str, tmp_path: Path) -> None:
    # The comma stands in the second row, behind a number without one.
    path = tmp_path / "x.csv"
    path.write_text(f'id,x,a,r\n1,15,0,1\n1,"{cell}",1,1\n')
    named = {"observations": ["x"], "action": "a", "reward": "r", "episode": "id"}
    with pytest.raises(DatasetError, match=re.escape(f"has numbers such as {cell!r}; {remedy}")):
        get_dataset(path, **named)
    for option, mark in (("thousands", ""), ("decimal", ".")):
        if option in remedy:
            expected = [15, float(cell.replace(",", mark))]
            assert get_dataset(path, **named, **{option: ","})[0].observations[
                :, 0
            ].tolist() == pytest.approx(expected)


def test_a_schema_goes_with_thousands(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('id,x,a,r\n1,15,0,1\n1,"1,234",1,1\n')
    actions = [{"name": "a", "kind": "category", "categories": ["0", "1"]}]
    schema = {"observations": [{"name": "x"}], "actions": actions, "reward": "r", "episode": "id"}
    dataset, _ = get_dataset(tmp_path / "x.csv", schema=schema, thousands=",")
    assert dataset.observations[:, 0].tolist() == [15, 1234]


@pytest.mark.parametrize("name", ["NA", "None", "nan", "null", "007"])
def test_names_of_episodes_are_texts_with_a_schema_and_without(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"id,x,a,r\n{name},1,0,1\n{name},2,1,1\nb,3,0,1\n")
    actions = [{"name": "a", "kind": "category", "categories": ["0", "1"]}]
    schema = {"observations": [{"name": "x"}], "actions": actions, "reward": "r", "episode": "id"}
    for options in (
        {"observations": ["x"], "action": "a", "reward": "r", "episode": "id"},
        {"schema": schema},
    ):
        assert get_dataset(path, **options)[0].episode_ends.tolist() == [2, 3]
        path.write_text(path.read_text().replace("\nb,3", "\n,3"))
        with pytest.raises(DatasetError, match="column 'id' has no value at row 2"):
            get_dataset(path, **options)
        path.write_text(path.read_text().replace("\n,3", "\nb,3"))


def test_a_table_without_episodes_is_warned_of(tmp_path: Path) -> None:
    """In Python, from a file, by a schema and by `examine`; not where an end is flagged or the caller knows."""
    frame = table().drop(columns="day")
    seen: dict[str, Any] = {"observations": ["pulse"], "action": "dose", "reward": "score"}
    said = r"no column says where episodes begin: 5 rows are taken as one episode.* such as 'patient'"
    with pytest.warns(DatasetWarning, match=said) as caught:
        assert from_dataframe(frame, **seen).n_episodes == 1
    assert caught[0].filename == __file__
    (remedy,) = re.findall(r"\((episode=.*?)\)", str(caught[0].message))
    assert from_dataframe(frame, **seen, **eval(f"dict({remedy})")).n_episodes == 2
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.warns(DatasetWarning, match=said):
        get_dataset(tmp_path / "x.csv", **seen)
    report = examine(tmp_path / "x.csv", **seen)
    assert [w.message for w in report.warnings if "no column says" in w.message]
    column = {"name": "pulse", "kind": "number"}
    actions = [{"name": "dose", "kind": "category", "categories": ["0", "1", "2"]}]
    schema: dict[str, Any] = {"observations": [column], "actions": actions, "reward": "score"}
    with pytest.warns(DatasetWarning, match=rf"{said}.*\(episode: patient in the schema\)"):
        from_dataframe(frame, schema=schema)
    assert from_dataframe(frame, schema={**schema, "episode": "patient"}).n_episodes == 2
    assert from_dataframe(frame, schema=schema, bandit=False).n_episodes == 1
    assert from_dataframe(frame, **seen, bandit=True).n_episodes == 5
    assert from_dataframe(frame, **seen, terminal="died").n_episodes == 2


def test_one_column_may_be_a_text() -> None:
    dataset = from_dataframe(table(), **{**NAMES, "observations": "pulse"})
    assert dataset.observations.shape == (5, 1)


def test_an_end_within_an_episode_is_said_in_words_of_the_table() -> None:
    frame = table(died=[0, 0, 1, 0, 1]).drop(columns="day")
    with pytest.raises(DatasetError, match=r"column 'died' .* column 'patient' goes on at row 2") as raised:
        from_dataframe(frame, **NAMES, terminal="died")
    remedies = re.findall(r"leave (\w+)=", str(raised.value))
    given = {**NAMES, "terminal": "died"}
    ends = [from_dataframe(frame, **{**given, name: None}).episode_ends.tolist() for name in remedies]
    assert (remedies, ends) == (["terminal", "episode"], [[2, 5], [3, 5]])

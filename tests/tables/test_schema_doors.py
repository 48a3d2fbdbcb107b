"""A schema from a table to a decision, through every door: files, policies, exports."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

import offlinekit
from offlinekit import deploy
from offlinekit.algos import BC, DiscreteBC, DiscreteCQL
from offlinekit.datasets import MDPDataset, from_dataframe, get_dataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError, UnsupportedError
from offlinekit.tables.schema_files import as_schema, read_schema
from offlinekit.tables.table_schema import TableError, TableSchema

pandas = pytest.importorskip("pandas")

TINY: dict[str, Any] = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 0}
QUIET: dict[str, Any] = {"out": None, "progress": False}
DATA: dict[str, Any] = {
    "observations": [
        {"name": "pulse", "gaps": "median"},
        {"name": "ward", "kind": "category", "categories": ["None", "B"]},
        {"name": "admitted", "kind": "time"},
    ],
    "actions": [{"name": "dose", "kind": "category", "categories": ["None", "low", "high"]}],
    "reward": "score",
    "episode": "patient",
    "time": "hour",
    "terminal": "died",
}
YAML = """
# As a person may write it: labels are texts, whatever YAML takes them for.
observations:
  - {name: pulse, gaps: median}
  - {name: ward, kind: category, categories: [None, B]}
  - {name: admitted, kind: time}
actions:
  - {name: dose, kind: category, categories: [None, low, high]}
reward: score
episode: patient
time: hour
terminal: died
timeout: null
propensity:
"""


def frame() -> Any:
    """Two patients of three rows, in no order; None is the name of a ward and of a dose."""
    return pandas.DataFrame(
        {
            "patient": ["b", "a", "b", "a", "b", "a"],
            "hour": [2, 0, 0, 1, 1, 2],
            "pulse": [90.0, 60, np.nan, 70, 80, 100],
            "ward": ["B", "None", "None", "B", "B", "None"],
            "admitted": ["2024-01-02T12:00"] + ["2024-01-01", "2024-01-02"] * 2 + ["2024-01-01"],
            "dose": ["low", "None", "high", "None", "low", "high"],
            "score": [0.5, 1, 2, 3, 4, 5],
            "died": ["yes", "no", "no", "no", "no", "no"],
        }
    )


# By episode of the first row, then by hour: b at 0, 1, 2, then a. The median of 60, 70, 80, 90, 100 is 80.
OBSERVATIONS = [
    [80, 1, 1, 0, 0, 1],
    [80, 0, 0, 1, 0, 1],
    [90, 0, 0, 1, 0, 1.5],
    [60, 0, 1, 0, 0, 0],
    [70, 0, 0, 1, 0, 0],
    [100, 0, 1, 0, 0, 0],
]


def by_frame(folder: Path) -> MDPDataset:
    return from_dataframe(frame(), schema=DATA)


def by_csv(folder: Path) -> MDPDataset:
    frame().to_csv(folder / "x.csv", index=False)
    (folder / "x.yaml").write_text(YAML)
    return get_dataset(folder / "x.csv", schema=str(folder / "x.yaml"))[0]


def by_tsv(folder: Path) -> MDPDataset:
    frame().to_csv(folder / "x.tsv.gz", index=False, sep="\t", decimal=",")
    (folder / "x.json").write_text(json.dumps(DATA))
    return get_dataset(folder / "x.tsv.gz", schema=folder / "x.json", decimal=",")[0]


def by_parquet(folder: Path) -> MDPDataset:
    pytest.importorskip("pyarrow")
    dated = frame().assign(admitted=pandas.to_datetime(frame()["admitted"], format="ISO8601"))
    dated.to_parquet(folder / "x.parquet")
    return get_dataset(folder / "x.parquet", schema=TableSchema.from_json(DATA))[0]


def by_own_file(folder: Path) -> MDPDataset:
    return MDPDataset.load(by_frame(folder).save(folder / "x.h5"))


def by_slices(folder: Path) -> MDPDataset:
    dataset = by_frame(folder)
    return dataset[:1].concat(dataset[1:])


@pytest.mark.parametrize("read", [by_frame, by_csv, by_tsv, by_parquet, by_own_file, by_slices])
def test_every_door_to_a_dataset(read: Any, tmp_path: Path) -> None:
    dataset = read(tmp_path)
    assert dataset.observations.tolist() == OBSERVATIONS
    assert dataset.actions.tolist() == [2, 1, 1, 0, 0, 2]
    assert dataset.rewards.tolist() == [2, 4, 0.5, 1, 3, 5]
    assert dataset.terminals.tolist() == [0, 0, 1, 0, 0, 0]
    assert dataset.extras["hour"].tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.action_space.n == 3
    assert dataset.schema.observations[0].fill == 80.0
    assert dataset.schema.observations[2].origin == "2024-01-01T00:00:00"


@pytest.fixture(scope="module")
def algo() -> DiscreteCQL:
    return DiscreteCQL(**TINY, batch_size=4).fit(from_dataframe(frame(), schema=DATA), 5, **QUIET)


LABELS = np.array(["None", "low", "high"])


def as_it_is(algo: Any, folder: Path) -> Any:
    return algo.predict


def drawn(algo: Any, folder: Path) -> Any:
    return algo.sample_action


def loaded(algo: Any, folder: Path) -> Any:
    return offlinekit.load(algo.save(folder / "x.okt")).predict


def of_numpy(algo: Any, folder: Path) -> Any:
    return NumpyPolicy.load(algo.export(folder / "x.safetensors")).predict


@pytest.mark.parametrize("make", [as_it_is, drawn, loaded, of_numpy])
def test_every_door_to_a_decision(algo: DiscreteCQL, make: Any, tmp_path: Path) -> None:
    predict = make(algo, tmp_path)
    rows = frame().drop(columns=["dose", "score", "died", "patient", "hour"])
    numbers = algo.scaling.schema.encode(rows)  # type: ignore[union-attr]
    expected = algo.predict(numbers)
    assert predict(rows).tolist() == expected.tolist()
    assert predict(rows, labels=True).tolist() == LABELS[expected].tolist()
    assert predict(numbers, labels=True).tolist() == LABELS[expected].tolist()
    assert predict(rows.to_dict("records"), labels=True).tolist() == LABELS[expected].tolist()
    assert predict(rows.iloc[2].to_dict(), labels=True) == LABELS[expected][2]
    with pytest.raises(ValueError, match="column 'ward' has no value at row 0"):
        predict({"pulse": 3, "ward": None, "admitted": "2024-01-01"})


def schema_in_onnx(path: Path) -> str:
    runtime = pytest.importorskip("onnxruntime")
    notes: dict[str, str] = runtime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return notes["schema"]


def schema_in_torchscript(path: Path) -> str:
    notes = {"offlinekit": ""}
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        torch.jit.load(path, _extra_files=notes)  # type: ignore[no-untyped-call]
    return str(json.loads(notes["offlinekit"])["schema"])


def schema_in_torch_export(path: Path) -> str:
    notes = {"offlinekit": ""}
    torch.export.load(path, extra_files=notes)
    return str(json.loads(notes["offlinekit"])["schema"])


def schema_in_numpy(path: Path) -> str:
    return json.dumps(NumpyPolicy.load(path).description["schema"])


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".onnx", schema_in_onnx),
        (".pt", schema_in_torchscript),
        (".pt2", schema_in_torch_export),
        (".safetensors", schema_in_numpy),
    ],
)
def test_every_export_keeps_the_schema(algo: DiscreteCQL, suffix: str, read: Any, tmp_path: Path) -> None:
    text = read(algo.export(tmp_path / f"x{suffix}"))
    assert (
        TableSchema.from_json(json.loads(text)) == algo.schema == from_dataframe(frame(), schema=DATA).schema
    )


ALONE = """
import sys
import warnings
sys.modules["offlinekit"] = sys.modules["torch"] = None  # Any import of them raises.
from deploy import NumpyPolicy
policy = NumpyPolicy.load("x.safetensors")
print(policy.predict({"pulse": None, "ward": "elsewhere", "admitted": "2024-02-01"}, labels=True))
"""


def test_a_robot_needs_the_folder_tables(algo: DiscreteCQL, tmp_path: Path) -> None:
    algo.export(tmp_path / "x.safetensors")
    source = Path(deploy.__file__)
    shutil.copy(source, tmp_path)
    shutil.copytree(source.parent / "tables", tmp_path / "tables")
    shown = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    row = {"pulse": None, "ward": "elsewhere", "admitted": "2024-02-01"}
    assert (shown.stdout.strip(), shown.stderr) == (algo.predict(row, labels=True), "")


def test_dates_put_rows_in_order() -> None:
    dates = [
        "03.01.1970 12:00",
        "02.01.1970 00:00",
        "02.01.1970 00:00",
        *["04.01.1970 00:00"] * 2,
        "05.01.1970 00:00",
    ]
    rows = frame().assign(hour=dates)
    schema = {
        **DATA,
        "observations": DATA["observations"][:2],
        "time_format": "%d.%m.%Y %H:%M",
        "terminal": None,
    }
    dataset = from_dataframe(rows, schema=schema)
    # Days since 1970: b at 1, 2.5 and 3, a at 1, 3 and 4, so that its scores are 2, 0.5, 4 and 1, 3, 5.
    assert dataset.extras["hour"].tolist() == [1, 2.5, 3, 1, 3, 4]
    assert dataset.rewards.tolist() == [2, 0.5, 4, 1, 3, 5]


def test_rows_of_an_episode_step_by_step(algo: DiscreteCQL) -> None:
    actor = algo.as_stateful()
    rows = frame().drop(columns=["dose"])
    assert [actor.predict(row) for row in rows.to_dict("records")] == algo.predict(rows).tolist()


def in_a_population(dataset: MDPDataset, folder: Path) -> Any:
    return DiscreteBC(**TINY, batch_size=4).fit(dataset, 2, seeds=2, **QUIET).algos[1]


def without_some_rows(dataset: MDPDataset, folder: Path) -> Any:
    return DiscreteBC(**TINY, batch_size=4).fit(dataset, 2, weights=[0, 1, 1, 1, 1, 1], **QUIET)


def from_a_mapped_file(dataset: MDPDataset, folder: Path) -> Any:
    opened = MDPDataset.open(dataset.save(folder / "x.h5", compress=False))
    return DiscreteBC(**TINY, batch_size=4).fit(opened, 2, **QUIET)


def copied(dataset: MDPDataset, folder: Path) -> Any:
    return copy.deepcopy(DiscreteBC(**TINY).build(dataset))


@pytest.mark.parametrize("learn", [in_a_population, without_some_rows, from_a_mapped_file, copied])
def test_every_way_to_learn_keeps_the_schema(learn: Any, tmp_path: Path) -> None:
    dataset = from_dataframe(frame(), schema=DATA)
    algo = learn(dataset, tmp_path)
    assert algo.schema == dataset.schema
    assert set(algo.predict(frame(), labels=True)) <= set(LABELS)


def test_values_of_labels(algo: DiscreteCQL) -> None:
    rows = frame()[:3]
    values = algo.predict_value(rows, ["low", "None", "high"])
    np.testing.assert_array_equal(values, algo.predict_value(rows, [1, 0, 2]))
    with pytest.raises(ValueError, match="'dose' must hold one of None, low, high, got 'hihg' at row 0"):
        algo.predict_value(rows[:1], ["hihg"])


def test_legal_actions_of_a_table(tmp_path: Path) -> None:
    rows = frame().assign(may_none=1, may_low=["yes", "no"] * 3, may_high=1)
    schema = {**DATA, "legal_actions": ["may_none", "may_low", "may_high"]}
    dataset = from_dataframe(rows, schema=schema)
    assert dataset.observations["legal_actions"].tolist() == [[1, 1, 1]] * 3 + [[1, 0, 1]] * 3
    algo = DiscreteCQL(**TINY, batch_size=4).fit(dataset, 5, **QUIET)
    only_low = rows.assign(may_none="no", may_low="yes", may_high="no")
    policy = NumpyPolicy.load(algo.export(tmp_path / "x.safetensors"))
    for predict in (algo.predict, policy.predict):
        assert predict(only_low, labels=True).tolist() == ["low"] * 6
        assert predict(frame(), legal_actions=[[0, 0, 1]] * 6, labels=True).tolist() == ["high"] * 6
    with pytest.raises(ValueError, match="needs those of these observations"):
        algo.predict(frame())
    with pytest.raises(DatasetError, match="legal_actions"):
        from_dataframe(rows.assign(may_high=0), schema=schema)


def test_continuous_actions_with_a_range() -> None:
    schema = {**DATA, "actions": [{"name": "score", "unit": "mg", "low": 0, "high": 5}], "reward": "hour"}
    dataset = from_dataframe(frame(), schema=schema)
    assert (dataset.action_space.low.tolist(), dataset.action_space.high.tolist()) == ([0.0], [5.0])
    algo = BC(**TINY).fit(dataset, 2, **QUIET)
    assert algo.predict(frame()).shape == (6, 1)
    with pytest.raises(ValueError, match="actions are numbers"):
        algo.predict(frame(), labels=True)


def test_two_discrete_parts() -> None:
    actions = [*DATA["actions"], {"name": "died", "kind": "yes/no"}]
    dataset = from_dataframe(frame(), schema={**DATA, "actions": actions, "terminal": None})
    algo = DiscreteBC(**TINY).fit(dataset, 2, **QUIET)
    expected = [[LABELS[a], ("no", "yes")[b]] for a, b in algo.predict(frame())]
    assert algo.predict(frame(), labels=True).tolist() == expected


def test_other_data_are_read_by_the_schema_of_the_policy(algo: DiscreteCQL, tmp_path: Path) -> None:
    later = frame().assign(pulse=50.0, admitted="2025-01-01")
    with pytest.raises(
        UnsupportedError, match=r"another schema than 'custom': .*'fill': 80.0.*schema='policy.okt'"
    ):
        algo.check(from_dataframe(later, schema=DATA))
    files = (algo.save(tmp_path / "x.okt"), algo.export(tmp_path / "x.safetensors"), algo.scaling.schema)
    for schema in files:
        dataset = from_dataframe(later, schema=schema)
        algo.check(dataset)
        assert dataset.observations[0].tolist() == [50, 0, 1, 0, 0, 366]
    with pytest.raises(DatasetError, match="need one schema of their tables"):
        dataset.concat(from_dataframe(later, schema=DATA))


def test_labels_that_are_not_declared_are_warned_of() -> None:
    wards = {"name": "ward", "kind": "category", "categories": ["None"]}
    schema = {**DATA, "observations": [wards]}
    with pytest.warns(DatasetWarning, match="column 'ward' has 3 rows of labels that are none .*such as 'B'"):
        dataset = from_dataframe(frame(), schema=schema)
    assert dataset.observations.sum(0).tolist() == [3, 3]
    from_dataframe(frame().replace({"ward": {"B": "unknown"}}), schema=schema)  # Which says it itself.


def test_a_space_of_fewer_actions_than_labels_is_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"action_space Discrete\(2\) is not that of the labels in the schema"
    ):
        from_dataframe(frame(), schema=DATA, action_space=Discrete(2))
    assert from_dataframe(frame(), schema=DATA, action_space=Discrete(3)).action_space == Discrete(3)


def test_without_a_schema_there_are_no_labels(tmp_path: Path) -> None:
    dataset = MDPDataset(np.zeros((4, 2)), np.array([0, 1, 0, 1]), np.zeros(4), np.array([0, 1, 0, 1]))
    algo = DiscreteBC(**TINY).build(dataset)
    assert dataset.schema is None
    path = algo.export(tmp_path / "x.safetensors")
    for policy in (algo, NumpyPolicy.load(path)):
        with pytest.raises(ValueError, match="did not learn from a table with a schema"):
            policy.predict(np.zeros(2), labels=True)
    with pytest.raises(FileFormatError, match=r"x\.safetensors has no schema"):
        read_schema(path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schema": DATA, "reward": "score"}, TypeError, "the schema says .*; leave the option 'reward' out"),
        (
            {},
            TypeError,
            "a table without a schema needs the option 'observations', .*; its options are: schema",
        ),
        ({"schema": {**DATA, "reward": None}}, DatasetError, "the schema names no reward"),
        (
            {"schema": {**DATA, "reward": "scor"}},
            DatasetError,
            "the table has no column 'scor'; did you mean",
        ),
        ({"schema": {**DATA, "reward": "ward"}}, DatasetError, "column 'ward' must hold numbers"),
        ({"schema": {**DATA, "terminal": "hour"}}, DatasetError, "column 'hour' must hold one of yes, no"),
        ({"schema": {**DATA, "time": "ward"}}, DatasetError, "column 'ward' must hold times"),
        ({"schema": {**DATA, "rewrad": "x"}}, TableError, "has no field 'rewrad'; did you mean 'reward'"),
        (
            {"schema": "none.yaml"},
            FileNotFoundError,
            "there is no schema none.yaml; `offlinekit datasets init",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_dataframe(frame(), **options)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.yaml", "reward: score", "observations must be a list"),
        ("x.yaml", "a: !!python/name:os.system", "a schema has no field 'a'"),
        ("x.json", "{", "x.json is no schema of a table: JSONDecodeError"),
        ("x.okt", "damaged....", r"x\.okt is no policy file"),
    ],
)
def test_files_that_are_no_schema(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match=message):
        as_schema(tmp_path / name)


def test_a_forged_schema_in_a_dataset_is_refused(tmp_path: Path) -> None:
    dataset = from_dataframe(frame(), schema=DATA)
    dataset.metadata["table_schema"]["actions"] = []
    with pytest.raises(FileFormatError, match=r"damaged header .actions must be columns"):
        MDPDataset.load(dataset.save(tmp_path / "x.h5"))


def test_scales_far_apart_are_warned_of() -> None:
    seconds = [{"name": "admitted", "kind": "time", "unit": "seconds"}, DATA["observations"][1]]
    dataset = from_dataframe(frame(), schema={**DATA, "observations": seconds})
    # Days 0, 0, 0, 1, 1, 1.5 after the first vary by 0.6067 days = 52,417 s; a ward that half of the rows have, by 0.5.
    words = (
        r"'admitted' has a standard deviation of 5.24e\+04, 'ward=.*' of 0.5, .*observation_scaler='standard'"
    )
    with pytest.warns(DatasetWarning, match=words):
        DiscreteBC(**TINY).fit(dataset, 1, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DiscreteBC(**TINY, observation_scaler="standard").fit(dataset, 1, **QUIET)
        DiscreteBC(**TINY).fit(from_dataframe(frame(), schema=DATA), 1, **QUIET)

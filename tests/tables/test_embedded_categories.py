"""Categories that networks embed: their arithmetic, and the doors that they pass; labels of single steps."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces

import offlinekit
from offlinekit.algos import DiscreteBC, DiscreteCQL
from offlinekit.core.export import FORMATS
from offlinekit.datasets import MDPDataset, from_dataframe
from offlinekit.datasets.inspection.examining import examine
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.ground.category_space import CategorySpace
from offlinekit.nn.trunks import Embeddings, Trunk
from offlinekit.tables.schema_files import as_schema
from offlinekit.tables.table_columns import TableColumn, TableError
from offlinekit.tables.table_schema import TableSchema

N = 80
RNG = np.random.default_rng(0)
QUIET = {"out": None, "progress": False}
TINY = {"encoder": [8], "batch_size": 16, "seed": 0}
WARDS, DRUGS = ["A", "B", "C"], ["low", "high"]
TABLE = pd.DataFrame(
    {
        "age": RNG.normal(size=N),
        "ward": RNG.choice(WARDS, N),
        "drug": RNG.choice(DRUGS, N),
        "score": RNG.normal(size=N),
        "stay": np.arange(N) // 8,
    }
)
SCHEMA = {
    "observations": [{"name": "ward", "kind": "category", "categories": WARDS, "embed": 2}, {"name": "age"}],
    "actions": [{"name": "drug", "kind": "category", "categories": DRUGS}],
    "reward": "score",
    "episode": "stay",
}


def data(**changed):
    return from_dataframe(TABLE, schema={**SCHEMA, **changed})


@pytest.fixture(scope="module")
def algo():
    return DiscreteCQL(**TINY).fit(data(), 20, **QUIET)


def test_embeddings_by_hand():
    """Classes A, B, unknown in columns 1 to 3 with rows (1, 2), (3, 4), (0, 0); columns 0 and 4 stay.

    (9, B, 7): 9, then 3 and 4, then 7. An unknown label: 9, 0, 0, 7.
    """
    space = CategorySpace(5, [(1, 3, 2)])
    module = Embeddings(space)
    assert module.tables[0][:, -1].tolist() == [0, 0]
    module.tables[0].data = torch.tensor([[1.0, 3.0, 0.0], [2.0, 4.0, 0.0]])
    rows = torch.tensor([[9.0, 0, 1, 0, 7], [9.0, 0, 0, 1, 7]])
    assert module(rows).tolist() == [[9, 3, 4, 7], [9, 0, 0, 7]]
    assert module.size == Trunk(space, {}).size == 4
    together = Embeddings(CategorySpace(4, [(0, 2, 1), (2, 2, 2)]))
    for table, rows_of in zip(together.tables, ([[5.0, 6.0]], [[1.0, 2.0], [3.0, 4.0]]), strict=True):
        table.data = torch.tensor(rows_of)
    assert together(torch.tensor([[0.0, 1, 1, 0]])).tolist() == [[6, 1, 3]]
    together(torch.tensor([[0.0, 1, 1, 0]])).sum().backward()
    assert together.tables[0].grad.tolist() == [[0, 1]]  # Of the class that was there alone.


def test_the_schema_says_what_is_embedded(algo):
    dataset = data()
    assert dataset.observation_space == CategorySpace(5, [(0, 4, 2)])
    assert "4 classes from column 0 in 2" in repr(dataset.observation_space)
    shapes = [tuple(p.shape) for name, p in algo.impl.named_parameters() if "tables" in name]
    assert shapes
    assert all(shape[-2:] == (2, 4) for shape in shapes)
    plain = DiscreteCQL(**TINY).build(
        data(observations=[{**SCHEMA["observations"][0], "embed": 0}, {"name": "age"}])
    )
    assert not [name for name, _ in plain.impl.named_parameters() if "tables" in name]


def test_files_keep_it(algo, tmp_path):
    read = MDPDataset.load(data().save(tmp_path / "x.h5"))
    assert read.observation_space == data().observation_space
    loaded = offlinekit.load(algo.save(tmp_path / "p.okt"))
    rows = TABLE[:6].assign(ward=["A", "B", "C", "D", "A", "?"])
    np.testing.assert_array_equal(loaded.predict_value(rows), algo.predict_value(rows))
    assert loaded.schema.to_json() == read.schema.to_json()
    assert CategorySpace(5, [(0, 4, 2)]) != CategorySpace(5, [(0, 4, 1)])
    forged = {**space_to_json(read.observation_space), "embedded": [[0, 4, 9]]}
    with pytest.raises(FileFormatError, match="with widths from 1 to the classes"):
        space_from_json(forged)


@pytest.mark.parametrize("form", FORMATS)
def test_exports_do_the_same(algo, form, tmp_path):
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    seen = np.asarray(data().observations)
    np.testing.assert_array_equal(act(seen), algo.predict(seen))


def test_classes_without_rows_act_as_an_average(algo):
    """The row of unknown labels stays at zero, as no gradient reaches it: it is one policy, whatever the label."""
    for name, parameter in algo.impl.named_parameters():
        if "tables" in name:
            assert torch.equal(parameter[..., -1], torch.zeros_like(parameter[..., -1]))
    other = algo.predict_value([{"age": 0.0, "ward": "D"}, {"age": 0.0, "ward": "E"}])
    assert other[0] == other[1]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "number", "embed": 2}, "of kind number with 0 categories; embed a category"),
        ({"kind": "category", "categories": ("A", "B"), "embed": 4}, "at most as many numbers"),
        ({"kind": "category", "categories": ("A", "B"), "embed": -1}, "expected a whole number"),
        ({"kind": "category", "categories": ("A", "B"), "embed": "2"}, "expected a whole number"),
    ],
)
def test_embeddings_of_nothing_are_refused(facts, message):
    with pytest.raises(TableError, match=message):
        TableColumn("ward", **facts)


def test_actions_and_histories_are_not_embedded():
    with pytest.raises(ValueError, match="has embed, which is for categories of an observation"):
        data(actions=[{**SCHEMA["actions"][0], "embed": 1}])
    with pytest.raises(UnsupportedError, match="with embedded categories"):
        DiscreteCQL(**TINY, history_length=3).build(data())


def test_a_refit_with_another_embedding_is_refused(algo):
    other = data(observations=[{**SCHEMA["observations"][0], "embed": 3}, {"name": "age"}])
    with pytest.raises(UnsupportedError, match="another schema"):
        algo.fit(other, 1, **QUIET)


def test_labels_of_single_steps(algo, tmp_path):
    row = {"age": 0.3, "ward": "B"}
    actor = algo.as_stateful()
    assert actor.predict(row, labels=True) == algo.predict(row, labels=True)
    assert DRUGS[int(actor.predict(row))] == actor.predict(row, labels=True)
    exported = NumpyPolicy.load(algo.export(tmp_path / "p.safetensors")).as_stateful()
    assert exported.predict(row, labels=True) == actor.predict(row, labels=True)
    remembers = DiscreteBC(**TINY, history_length=2).fit(
        data(observations=[{"name": "ward", "kind": "category", "categories": WARDS}, {"name": "age"}]),
        5,
        **QUIET,
    )
    steps = remembers.as_stateful()
    exported = NumpyPolicy.load(remembers.export(tmp_path / "h.safetensors")).as_stateful()
    for _ in range(3):
        assert steps.predict(row, labels=True) == exported.predict(row, labels=True)
    arrays = MDPDataset(np.zeros((8, 2)), np.arange(8) % 2, np.zeros(8), np.arange(8) == 7)
    with pytest.raises(ValueError, match="labels=True needs the labels of the actions"):
        DiscreteBC(**TINY).build(arrays).as_stateful().predict(np.zeros(2), labels=True)


def test_legal_actions_of_single_steps():
    legal = np.tile([1, 0], (8, 1))
    arrays = MDPDataset(
        np.zeros((8, 2)),
        np.zeros(8, int),
        np.zeros(8),
        np.arange(8) == 7,
        legal_actions=legal,
        action_space=spaces.Discrete(2),
    )
    actor = DiscreteBC(**TINY).build(arrays).as_stateful()
    assert [int(actor.predict(np.zeros(2), legal_actions=only)) for only in np.eye(2)] == [0, 1]
    with pytest.raises(ValueError, match="needs those of these observations"):
        actor.predict(np.zeros(2))


def test_time_is_the_column_that_the_schema_calls_so():
    """Two ways to name the column of times; a column that is called time itself comes first."""
    dated = TABLE.assign(day=pd.date_range("2024-01-01", periods=N).astype(str))
    dataset = from_dataframe(dated, schema={**SCHEMA, "time": "day"})
    by_role, by_name = (dataset.split(by=name) for name in ("time", "day"))
    assert [len(part) for part in by_role] == [len(part) for part in by_name]
    np.testing.assert_array_equal(by_role[0].rewards, by_name[0].rewards)
    assert [len(early) for early, _ in dataset.walk_forward(by="time")] == [
        len(early) for early, _ in dataset.walk_forward(by="day")
    ]
    with pytest.raises(ValueError, match="by must be one of"):
        data().split(by="time")


def test_classes_for_unknown_labels_are_no_constants(tmp_path):
    """Of a column that never changes there is a note, of the class that no row of the table has there is none."""
    for table, expected in ((TABLE.assign(age=1.0), ["in dimension 4 (of 5)"]), (TABLE, [])):
        table.to_csv(tmp_path / "x.csv", index=False)
        findings = examine(tmp_path / "x.csv", schema=SCHEMA).notes
        notes = [finding.text for finding in findings if "never change" in finding.text]
        assert len(notes) == len(expected)
        assert all(part in note for part, note in zip(expected, notes, strict=True))


def test_a_schema_of_yaml_is_that_of_json_and_of_a_dict(tmp_path):
    given = {
        **SCHEMA,
        "observations": [
            {"name": "ward", "kind": "category", "categories": WARDS, "embed": 2},
            {"name": "age", "low": -9.5, "high": 9.0, "gaps": "constant", "fill": 0.5, "unit": "years"},
        ],
    }
    expected = TableSchema.from_json(given)
    varied = [dataclasses.asdict(column) for column in expected.observations]
    for field in dataclasses.fields(TableColumn):
        if field.name not in ("name", "kind", "origin"):  # Texts; a time alone has an origin.
            assert any(column[field.name] != field.default for column in varied), field.name
    (tmp_path / "s.json").write_text(json.dumps(given))
    (tmp_path / "s.yaml").write_text(yaml_of(given))
    for name in ("s.json", "s.yaml"):
        assert as_schema(tmp_path / name) == expected
    (tmp_path / "s.yaml").write_text(yaml_of(given).replace("embed: 2", "embed: two"))
    with pytest.raises(FileFormatError, match="'ward' must have numbers as low, high, fill and embed"):
        as_schema(tmp_path / "s.yaml")


def yaml_of(schema):
    columns = {key: schema[key] for key in ("observations", "actions")}
    lines = [f"{key}: {value}" for key, value in schema.items() if key not in columns]
    for key, own in columns.items():
        lines += [f"{key}:", *("  - {" + ", ".join(f"{k}: {v}" for k, v in c.items()) + "}" for c in own)]
    return "\n".join(lines).replace("'", "") + "\n"

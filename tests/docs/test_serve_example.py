"""The example that serves a policy over HTTP: actions, labels, legal actions, refusals, latency."""

from __future__ import annotations

import runpy
import threading
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

from offlinekit.algos import DiscreteBC
from offlinekit.datasets import MDPDataset, from_dataframe

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")
EXAMPLE = Path(__file__).parents[2] / "examples" / "serve.py"
N = 60
LEGAL = np.tile([[1, 1, 0], [0, 1, 1]], (N // 2, 1))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yields the names of the example, the policy, its data and the address that it answers at."""
    states = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    ends = np.arange(N) % 10 == 9
    given = {"legal_actions": LEGAL, "action_space": Discrete(3)}
    data = MDPDataset(states, LEGAL.argmax(1), np.ones(N), ends, **given)
    algo = DiscreteBC(seed=0, encoder={"type": "mlp", "hidden_sizes": [8]}).fit(
        data, 5, out=None, progress=False
    )
    path = algo.export(tmp_path_factory.mktemp("served") / "p.safetensors", dataset=data)
    names = runpy.run_path(str(EXAMPLE))
    app = names["application"](names["Service"](path, ["wait", "low", "high"]))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield names, algo, states, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_answers_are_the_policys_with_labels(served):
    names, algo, states, url = served
    body = {"observations": states.tolist(), "legal_actions": LEGAL.tolist()}
    answers = names["call"](f"{url}/predict", body)
    expected = algo.predict(states, legal_actions=LEGAL)
    assert [answer["action"] for answer in answers] == expected.tolist()
    assert [answer["label"] for answer in answers] == [["wait", "low", "high"][i] for i in expected]
    assert LEGAL[np.arange(N), expected].all()


def test_rows_unlike_the_data_get_no_action(served):
    names, _, states, url = served
    body = {"observations": [states[0].tolist(), [90.0, 0.0]], "legal_actions": LEGAL[:2].tolist()}
    near, far = names["call"](f"{url}/predict", body)
    assert (near["refused"], far["action"], far["label"]) == (None, None, None)
    assert "standard deviations from the nearest row of the data, at most" in far["refused"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"observations": [[0.0]], "legal_actions": [[1, 1, 1]]}, "must have shape"),
        ({"observations": [[0.0, 0.0]]}, "legal_actions"),
        ({"observations": [[0.0, None]], "legal_actions": [[1, 1, 1]]}, "must be finite"),
        ({"observations": [["a", "b"]], "legal_actions": [[1, 1, 1]]}, "could not convert"),
        ({"observations": [[0.0, 0.0]] * 1001, "legal_actions": [[1, 1, 1]] * 1001}, "at most 1000 rows"),
    ],
)
def test_wrong_requests_are_told_why(served, body, message):
    names, _, _, url = served
    with pytest.raises(urllib.error.HTTPError) as error:
        names["call"](f"{url}/predict", body)
    with error.value as answer:
        assert answer.code == 422
        assert message in answer.read().decode()


def test_the_client_measures_and_the_schema_says_the_rule(served, capsys):
    names, _, _, url = served
    schema = names["call"](f"{url}/schema")
    assert schema["labels"] == ["wait", "low", "high"]
    assert "standard deviations of one of 60 kept rows" in schema["rule"]
    assert "# DiscreteBC" in names["call"](f"{url}/card")["card"]
    assert len(names["measure"](url, 5)) == 5
    assert "5 requests of one row: median" in capsys.readouterr().out


def test_a_policy_without_its_rule_is_not_served(served, tmp_path):
    names, algo, _, _ = served
    with pytest.raises(SystemExit, match="export the policy with --dataset"):
        names["Service"](algo.export(tmp_path / "p.safetensors"))


def test_rows_of_a_table_come_in_as_they_are_and_labels_go_out(tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"pulse": rng.normal(80, 9, N), "dose": rng.choice(["low", "high"], N), "gain": 1.0}
    )
    schema = {
        "observations": [{"name": "pulse", "gaps": "median"}],
        "actions": [{"name": "dose", "kind": "category", "categories": ["low", "high"]}],
        "reward": "gain",
    }
    data = from_dataframe(frame, schema=schema, bandit=False)
    algo = DiscreteBC(seed=0, encoder={"type": "mlp", "hidden_sizes": [8]}).fit(
        data, 5, out=None, progress=False
    )
    names = runpy.run_path(str(EXAMPLE))
    service = names["Service"](algo.export(tmp_path / "p.safetensors", dataset=data))
    rows = [{"pulse": 80.0}, {"pulse": 900.0}]
    near, far = service.predict(names["Request"](observations=rows))
    assert near.label == algo.predict(rows[0], labels=True)
    assert far.action is None
    assert service.schema()["labels"] == ["low", "high"]


def policy_of(folder, states, actions, front=DiscreteBC, **given):
    data = MDPDataset(states, actions, np.ones(N), np.arange(N) % 10 == 9, **given)
    algo = front(seed=0, encoder={"type": "mlp", "hidden_sizes": [8]}).fit(data, 60, out=None, progress=False)
    return algo, algo.export(folder / "p.safetensors", dataset=data)


@pytest.mark.parametrize("start", [-1, 0, 1])
def test_labels_go_by_place_from_the_first_action(start, tmp_path):
    states = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    actions = np.digitize(states[:, 0], [-0.5, 0.5]) + start
    algo, path = policy_of(tmp_path, states, actions, action_space=Discrete(3, start=start))
    names = runpy.run_path(str(EXAMPLE))
    labels = ["low", "mid", "high"]
    answers = names["Service"](path, labels).predict(names["Request"](observations=states.tolist()))
    expected = algo.predict(states)
    assert len(set(expected.tolist())) > 1
    assert [answer.label for answer in answers] == [labels[action - start] for action in expected]
    for wrong in (["low", "mid"], [*labels, "highest"]):
        with pytest.raises(SystemExit, match="must name each of the 3 actions in order, got"):
            names["Service"](path, wrong)


def test_labels_are_of_one_choice(tmp_path):
    states = np.zeros((N, 2), np.float32) + np.arange(N)[:, None]
    _, path = policy_of(tmp_path, states, np.ones((N, 2), int), action_space=MultiDiscrete([2, 2]))
    with pytest.raises(SystemExit, match="names the actions of one discrete choice"):
        runpy.run_path(str(EXAMPLE))["Service"](path, ["a", "b"])


SHAPES = {"list": [[0.1, 0.2]], "dict": {"a": [[0.1]], "b": [[0.2]]}, "tuple": [[[0.1]], [[0.2]]]}


@pytest.mark.parametrize("kind", SHAPES)
def test_requests_of_another_structure_are_told_what_is_expected(kind, tmp_path):
    from fastapi.testclient import TestClient

    states = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    parts = (states[:, :1].copy(), states[:, 1:].copy())
    seen = {"list": states, "dict": dict(zip("ab", parts, strict=True)), "tuple": parts}[kind]
    algo, path = policy_of(tmp_path, seen, np.arange(N) % 3)
    names = runpy.run_path(str(EXAMPLE))
    client = TestClient(names["application"](names["Service"](path)), raise_server_exceptions=False)
    good = client.post("/predict", json={"observations": SHAPES[kind]})
    one = {"list": np.float32([0.1, 0.2]), "dict": {"a": np.float32([0.1]), "b": np.float32([0.2])}}
    given = one.get(kind, (np.float32([0.1]), np.float32([0.2])))
    assert (good.status_code, good.json()[0]["action"]) == (200, int(algo.predict(given)))
    large = str(SHAPES[kind]).replace("0.2", "1" + "0" * 400).replace("'", '"')
    wrong = [
        "3",
        "null",
        "[]",
        "{}",
        "[[0.1, 0.2, 0.3]]",
        "[0.1, 0.2]",
        '[{"a": 0.1}]',
        '{"a": 3, "b": 3}',
        large,
    ]
    for text in wrong:
        body = f'{{"observations": {text}}}'
        answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (text[:40], answer.text)
        assert "unsized" not in answer.text

"""What every way to act refuses and returns alike: legal actions, steps that are refused, labels of one row."""

from __future__ import annotations

import runpy
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_text import trained

import offlinekit
from offlinekit.algos import BC, QC, DiscreteBC, DiscreteDecisionTransformer
from offlinekit.datasets import MDPDataset, from_dataframe
from offlinekit.deploy import NumpyPolicy
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.envs.legal_actions import LegalActions
from offlinekit.tables.table_columns import TableError

QUIET = {"out": None, "progress": False}
TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 0}
N = 60
STATES = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
LEGAL = np.tile([[1, 1, 0], [0, 1, 1]], (N // 2, 1))
ENDS = np.arange(N) % 10 == 9
ALL = [1, 1, 1]
BAD = [
    ([0, 0, 0], "has no legal action at row 0"),
    ([0.5, 0.5, 0.5], "must be booleans, or 0 and 1"),
    ([2, 0, 0], "must be booleans, or 0 and 1"),
    ([-1, 0, 0], "must be booleans, or 0 and 1"),
    ([np.nan, 1, 1], "must be booleans, or 0 and 1"),
    ([1, 1], r"must have shape \['batch', 3\], an entry for each action, got \[.*2\]"),
]


def learned(front=DiscreteBC, **options):
    data = MDPDataset(
        STATES,
        LEGAL.argmax(1),
        np.ones(N),
        ENDS,
        legal_actions=LEGAL,
        action_space=spaces.Discrete(3),
    )
    return front(**{**TINY, **options}).fit(data, 2, **QUIET)


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Returns a policy of rows and one of histories, each as it was learned and as it is exported."""
    folder, made = tmp_path_factory.mktemp("doors"), {}
    for n_rows in (1, 3):
        algo = learned(history_length=n_rows)
        made["algo", n_rows] = algo
        made["loaded", n_rows] = offlinekit.load(algo.save(folder / f"{n_rows}.okt"))
        made["numpy", n_rows] = NumpyPolicy.load(algo.export(folder / f"{n_rows}.safetensors"))
    return made


def actor_of(policies, door):
    if door == "sequences":
        return learned(DiscreteDecisionTransformer, context=3, batch_size=4).as_stateful()
    kind, n_rows = door.split()
    return policies[kind, int(n_rows)].as_stateful()


STEPS = ["algo 1", "algo 3", "loaded 3", "numpy 1", "numpy 3", "sequences"]


def by_keyword(act, row, legal):
    return act(row, legal_actions=legal)


def in_the_dict(act, row, legal):
    return act({"observations": row, "legal_actions": legal})


@pytest.mark.parametrize("give", [by_keyword, in_the_dict])
@pytest.mark.parametrize(("legal", "message"), BAD, ids=lambda value: str(value))
def test_legal_actions_that_are_none(policies, give, legal, message):
    doors = [policies[kind, 1].predict for kind in ("algo", "loaded", "numpy")]
    doors += [policies["algo", 1].sample_action]
    doors += [
        actor_of(policies, f"{kind} {n_rows}").predict for kind in ("algo", "numpy") for n_rows in (1, 3)
    ]
    for act in doors:
        with pytest.raises(ValueError, match=message):
            give(act, STATES[0], legal)
    for act in doors[:4]:
        with pytest.raises(ValueError, match=message.replace("row 0", "row 1")):
            give(act, STATES[:2], [legal, legal] if len(legal) == 2 else [ALL, legal])


@pytest.mark.parametrize("door", STEPS)
def test_a_missing_word_on_legal_actions_is_asked_for(policies, door):
    with pytest.raises(ValueError, match=r"needs those of these observations: give legal_actions=\[B, A\]"):
        actor_of(policies, door).predict(STATES[0])


def test_numpy_asks_for_them_too_and_refuses_them_where_none_were_learned(policies, tmp_path):
    with pytest.raises(ValueError, match=r"give legal_actions=\[B, A\], 1 where an action is legal"):
        policies["numpy", 1].predict(STATES)
    algo = DiscreteBC(**TINY).build(MDPDataset(STATES, LEGAL.argmax(1), np.ones(N), ENDS))
    for policy in (algo, NumpyPolicy.load(algo.export(tmp_path / "x.safetensors"))):
        with pytest.raises(ValueError, match="learned from data without legal actions"):
            policy.predict(STATES, legal_actions=LEGAL)


class Masked(gymnasium.Env):
    """Says in its info which actions are legal."""

    observation_space, action_space = spaces.Box(-9, 9, (4,), np.float32), spaces.Discrete(3)

    def __init__(self, legal):
        self.legal = legal

    def reset(self, *, seed=None, options=None):
        return STATES[0], {"action_mask": self.legal}


@pytest.mark.parametrize(("legal", "message"), BAD[1:5], ids=lambda value: str(value))
def test_an_environment_may_not_say_such_things(legal, message):
    with pytest.raises(ValueError, match=rf"info\['action_mask'\] {message}"):
        LegalActions(Masked(legal)).reset()


def test_random_actions_are_not_drawn_where_none_is_legal():
    # The last observation of an episode may have none; whoever acts on it is told.
    observation, _ = LegalActions(Masked([0, 0, 0])).reset()
    with pytest.raises(ValueError, match="no legal action at row 0"):
        RandomPolicy(spaces.Discrete(3))({key: leaf[None] for key, leaf in observation.items()})


def test_a_served_policy_answers_422(tmp_path):
    fastapi = pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    names = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "serve.py"))
    algo = DiscreteBC(**TINY)
    given = {"legal_actions": LEGAL, "action_space": spaces.Discrete(3)}
    data = MDPDataset(STATES, LEGAL.argmax(1), np.ones(N), ENDS, **given)
    path = algo.fit(data, 2, **QUIET).export(tmp_path / "x.safetensors", dataset=data)
    service = names["Service"](path)
    rows = STATES[:1].tolist()
    for request in (
        {"observations": rows, "legal_actions": [[0, 0, 0]]},
        {"observations": {"observations": rows, "legal_actions": [[2, 0, 0]]}},
        {"observations": {"observations": rows, "legal_actions": [[0.5, 0.5, 0.5]]}},
        {"observations": rows},
    ):
        with pytest.raises(fastapi.HTTPException, match="legal") as refused:
            service.predict(names["Request"](**request))
        assert refused.value.status_code == 422


# Steps.

REFUSED = {
    "not finite": lambda row: ((row * np.nan,), {"legal_actions": ALL}),
    "too short": lambda row: ((row[:2],), {"legal_actions": ALL}),
    "a batch": lambda row: ((np.stack([row, row]),), {"legal_actions": [ALL, ALL]}),
    "nothing legal": lambda row: ((row,), {"legal_actions": [0, 0, 0]}),
    "legal actions lack": lambda row: ((row,), {}),
    "another key": lambda row: (({"observations": row, "legal_actions": ALL, "more": row},), {}),
    "no key": lambda row: (({"more": row},), {"legal_actions": ALL}),
    "labels": lambda row: ((row,), {"legal_actions": ALL, "labels": True}),
}


@pytest.mark.parametrize("door", STEPS)
def test_a_step_that_is_refused_is_not_remembered(policies, door):
    """Before the first step, amid the episode and behind its end, with the row of the next step far from it."""
    disturbed, smooth = actor_of(policies, door), actor_of(policies, door)
    for _ in range(2):
        for row in STATES[:5]:
            for make in REFUSED.values():
                arguments, options = make(50.0 * STATES[9])
                with pytest.raises(ValueError):
                    disturbed.predict(*arguments, **options)
            acted = disturbed.predict(row, legal_actions=ALL)
            assert acted == smooth.predict({"observations": row, "legal_actions": ALL})
            assert _memory(disturbed) == _memory(smooth)
        disturbed.reset()
        smooth.reset()


def _memory(actor):
    """Returns all numbers that an actor has kept, as text."""
    kept = actor._memories if hasattr(actor, "_memories") else actor._seen
    with np.printoptions(threshold=10**6, precision=4):
        return str(kept)


@pytest.mark.parametrize("door", STEPS)
def test_an_array_that_is_written_again_changes_no_memory(policies, door):
    """As of environments that hold one array and write each observation into it."""
    one, other, shared = actor_of(policies, door), actor_of(policies, door), np.zeros(4, np.float32)
    for row in STATES[:5]:
        shared[:] = row
        one.predict(shared, legal_actions=ALL)
        other.predict(row.copy(), legal_actions=ALL)
    assert _memory(one) == _memory(other)


def test_chunks_go_on_behind_a_step_that_is_refused():
    data = MDPDataset(STATES, np.tanh(STATES[:, :2]), np.ones(N), ENDS)
    actor = QC(**TINY, n_step=3, batch_size=4).fit(data, 1, **QUIET).as_stateful()
    first = actor.predict(STATES[0])
    before = _memory(actor)
    for row, reward in ((STATES[1] * np.nan, 0.0), (STATES[1][:2], 0.0), (STATES[1], np.nan)):
        with pytest.raises(ValueError):
            actor.predict(row, reward)
        assert _memory(actor) == before
    assert not np.array_equal(actor.predict(STATES[1]), first)


def test_a_dialogue_goes_on_behind_a_token_that_is_none():
    """Its keys and values are kept from step to step; 99 is no token."""
    algo = trained()
    disturbed, smooth = algo.as_stateful(), algo.as_stateful()
    for token in (1, *algo.tokenizer.encode("abba"), 2, 3):
        for wrong, reward in ((99.0, 0.0), (np.nan, 0.0), (1.5, 0.0), (1.0, np.nan)):
            with pytest.raises(ValueError):
                disturbed.predict(np.array([wrong], np.float32), reward)
        acted = [actor.predict(np.array([token], np.float32)) for actor in (disturbed, smooth)]
        assert acted[0] == acted[1]
        seen, other = (actor._memories[None] for actor in (disturbed, smooth))
        assert torch.equal(seen.seen, other.seen)
        for name, past in seen.pasts.items():
            assert past.length == other.pasts[name].length


@pytest.mark.parametrize("kind", ["algo", "loaded", "numpy"])
@pytest.mark.parametrize("rows", [STATES[0], STATES[:5]], ids=["one", "several"])
def test_rows_without_their_history_are_shown_the_way(policies, kind, rows):
    legal = np.ones((*rows.shape[:-1], 3), int)
    message = r"must have shape \[3, 4\] .*; give single rows to as_stateful\(\)\.predict, which remembers the last 3"
    with pytest.raises(ValueError, match=message):
        policies[kind, 3].predict(rows, legal_actions=legal)
    with pytest.raises(ValueError, match=r"got \[.*2\]$"):
        policies[kind, 1].predict(rows[..., :2], legal_actions=legal)


# Labels.


def table(actions):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "x": rng.normal(size=N),
            "dose": rng.choice(["low", "high"], N),
            "stop": rng.choice(["no", "yes"], N),
            "amount": rng.random(N),
            "gain": 1.0,
            "who": np.arange(N) // 10,
        }
    )
    kinds = {
        "dose": {"name": "dose", "kind": "category", "categories": ["low", "high"]},
        "stop": {"name": "stop", "kind": "yes/no"},
        "amount": {"name": "amount"},
    }
    schema = {
        "observations": [{"name": "x"}],
        "actions": [kinds[name] for name in actions],
        "reward": "gain",
        "episode": "who",
    }
    return from_dataframe(frame, schema=schema)


def acting(algo, folder):
    """Yields each way to act on one row."""
    exported = NumpyPolicy.load(algo.export(folder / "x.safetensors"))
    for policy in (algo, exported):
        if algo.history_length == 1:
            yield policy.predict
        yield policy.as_stateful().predict
    if algo.history_length == 1:
        yield algo.sample_action


@pytest.mark.parametrize("n_rows", [1, 3])
def test_the_label_of_one_row_is_a_text(n_rows, tmp_path):
    algo = DiscreteBC(**TINY, history_length=n_rows).fit(table(["dose"]), 2, **QUIET)
    doors = list(acting(algo, tmp_path))
    assert len(doors) == (5 if n_rows == 1 else 2)
    for act in doors:
        label = act({"x": 0.3}, labels=True)
        assert type(label) is str
        assert {label: 1}.keys() <= {"low", "high"}
        assert isinstance(act({"x": 0.3}), np.int64)
    assert isinstance(algo.schema.decode(np.int64(1)), str)


def test_the_labels_of_several_rows_are_an_array(tmp_path):
    algo = DiscreteBC(**TINY).fit(table(["dose"]), 2, **QUIET)
    for policy in (algo, NumpyPolicy.load(algo.export(tmp_path / "x.safetensors"))):
        labels = policy.predict([{"x": 0.3}], labels=True)
        assert (labels.shape, labels.dtype) == ((1,), object)


def test_the_labels_of_several_columns_are_one_each(tmp_path):
    """[k] for one row, [N, k] for several, both of the same kind."""
    algo = DiscreteBC(**TINY).fit(table(["dose", "stop"]), 2, **QUIET)
    for act in acting(algo, tmp_path):
        labels = act({"x": 0.3}, labels=True)
        assert (labels.shape, labels.dtype) == ((2,), object)
        assert labels[0] in ("low", "high")
        assert labels[1] in ("no", "yes")
    assert algo.predict([{"x": 0.3}] * 3, labels=True).dtype == object


def test_labels_of_numbers_are_refused_before_the_step_is_remembered(tmp_path):
    algo = BC(**TINY, history_length=2).fit(table(["amount"]), 2, **QUIET)
    exported = NumpyPolicy.load(algo.export(tmp_path / "x.safetensors"))
    for policy in (algo, exported):
        disturbed, smooth = policy.as_stateful(), policy.as_stateful()
        with pytest.raises(TableError, match="have no labels"):
            disturbed.predict({"x": 50.0}, labels=True)
        for actor in (disturbed, smooth):
            actor.predict({"x": 0.3})
        assert _memory(disturbed) == _memory(smooth)

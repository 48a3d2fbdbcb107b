"""Implicit language Q-learning: every term of its losses by hand, targets, decoding by advantages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses, total
from small_text import END, QUIET, TINY, A, Always, B, Places, Times, both, set_heads, talks

from offlinekit.algos import ILQL, DiscreteBC, TextBC
from offlinekit.core.bases.text_decoding import Decoding
from offlinekit.core.bases.text_model import STATE_STEPS, state_columns
from offlinekit.datasets import MDPDataset, text_dataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.evaluators.perplexity import perplexity
from offlinekit.metrics.evaluators.token_cross_entropy import token_cross_entropy
from offlinekit.metrics.evaluators.token_value import token_value

SAID = {**dict.fromkeys(range(9), -50.0), A: math.log(0.3), B: math.log(0.5), END: math.log(0.2)}
SETTINGS = {"gamma": 0.9, "expectile": 0.7, "alpha": 0.5, "temperature": 2.0}
Q = ({A: 0.2, B: 0.5, END: 1.0}, {A: 0.4, B: 0.1, END: 0.8})
TARGETS = ({A: 0.3, B: 0.6, END: 0.9}, {A: 0.7, B: 0.2, END: 1.1})  # The lower ones: a 0.3, b 0.2, </a> 0.9.


def build(**options):
    """Returns a model of known values: V is 0.1 times the number of the row, Q is the same in every row."""
    algo = ILQL(**{**TINY, **SETTINGS, **options}).build(talks())
    impl = algo.impl
    impl.trunk, impl.target_trunk = Places(), Places()
    impl.value.heads[0] = Times(0.1)
    set_heads(impl.q.heads, Q)
    set_heads(impl.target_q.heads, TARGETS)
    return algo


# Rows of the agent's tokens, V, and the lower target of their tokens:
#   first dialogue    row 3: b     V 0.3  0.2     row 4: </a>  V 0.4  0.9
#   second dialogue   row 0: b     V 0.0  0.2     row 1: </a>  V 0.1  0.9
#                     row 6: a     V 0.6  0.3     row 7: </a>  V 0.7  0.9
VALUE_TERMS = [
    [0.3 * 0.1**2, 0.7 * 0.5**2],
    [0.7 * 0.2**2, 0.7 * 0.8**2, 0.3 * 0.3**2, 0.7 * 0.2**2],
]
# Targets: 0.9 * 0.4 = 0.36, and 1 at the end; 0.9 * 0.1 = 0.09, 0.5 + 0.9 * 0.6 = 1.04 behind the environment's turn,
# 0.9 * 0.7 = 0.63, and none behind the last token of a recording that was cut.
Q_TERMS = [
    [0.14**2 + 0.26**2, 0.0**2 + 0.2**2],
    [0.41**2 + 0.01**2, 0.04**2 + 0.24**2, 0.43**2 + 0.23**2, 0.0],
]
# log of the sum of exp(Q / 2) over 9 tokens, 6 of which have Q = 0, less Q / 2 of the token that was said.
LOG_SUMS = [math.log(6 + sum(math.exp(q / 2) for q in each.values())) for each in Q]
CROSS = {
    token: sum(s - each[token] / 2 for s, each in zip(LOG_SUMS, Q, strict=True)) for token in (A, B, END)
}
CONSERVATIVE_TERMS = [[CROSS[B], CROSS[END]], [CROSS[B], CROSS[END], CROSS[A], CROSS[END]]]


def test_losses_of_the_values_by_hand():
    impl = build().impl
    returned = impl.compute_values_loss(both_of(impl))
    loss, metrics = total(returned)
    terms = {"value": VALUE_TERMS, "q": Q_TERMS, "conservative": CONSERVATIVE_TERMS}
    for name, rows in terms.items():
        close(metrics[f"{name}_loss"], sum(map(sum, rows)) / 6)
    close(metrics["value"], (0.3 + 0.4 + 0.0 + 0.1 + 0.6 + 0.7) / 6)
    close(
        loss,
        sum(sum(map(sum, rows)) * (0.5 if name == "conservative" else 1) for name, rows in terms.items()) / 6,
    )
    first = (sum(VALUE_TERMS[0]) + sum(Q_TERMS[0]) + 0.5 * sum(CONSERVATIVE_TERMS[0])) / 2
    close(row_losses(returned)[0], first)


def both_of(impl):
    return both(impl.config)


def test_gradients_of_the_values_by_hand():
    impl = build().impl
    loss, _ = total(impl.compute_values_loss(both_of(impl)))
    factor, q = impl.value.heads[0].factor, impl.q.heads[0].numbers
    by_factor, by_q = torch.autograd.grad(loss, [factor, q])
    # -2 * weight * error * row: 0.3 * 0.1 * 3 upwards, 0.7 * 0.5 * 4 downwards, ...; through V as target nothing comes.
    close(by_factor, 2 * (0.3 * 0.1 * 3 - 0.7 * 0.5 * 4 - 0.7 * 0.8 * 1 + 0.3 * 0.3 * 6 - 0.7 * 0.2 * 7) / 6)
    # b is said twice, with the errors 0.5 - 0.36 and 0.5 - 0.09; its softmax stands in all six rows.
    share = math.exp(0.25 - LOG_SUMS[0])
    close(by_q[B], (2 * (0.14 + 0.41) + 0.5 * (6 * share - 2) / 2) / 6)
    close(by_q[0], 0.5 * 6 * math.exp(-LOG_SUMS[0]) / 2 / 6)  # A token that nobody said: Q falls.


def test_policy_is_weighted_by_bounded_advantages():
    algo = build(policy_beta=2.0, max_weight=1.5)
    algo.impl.policy.head = Always(SAID)
    returned = algo.impl.compute_weighted_loss(both(algo))
    loss, metrics = total(returned)
    # min Q - V: -0.1 and 0.5; 0.2, 0.8, -0.3 and 0.2. exp(2 * 0.5) and exp(2 * 0.8) are above 1.5.
    weights = [math.exp(-0.2), 1.5, math.exp(0.4), 1.5, math.exp(-0.6), math.exp(0.4)]
    said = [0.5, 0.2, 0.5, 0.2, 0.3, 0.2]
    close(loss, -sum(w * math.log(p) for w, p in zip(weights, said, strict=True)) / 6)
    close(metrics["weight"], sum(weights) / 6)
    close(metrics["advantage"], (-0.1 + 0.5 + 0.2 + 0.8 - 0.3 + 0.2) / 6)
    assert [objective.name for objective in algo.impl.objectives] == ["critic", "weighted"]


def test_without_weights_the_policy_is_a_language_model():
    algo = build()
    assert [objective.name for objective in algo.impl.objectives] == ["critic", "actor"]
    owners = [{id(p) for p in objective.parameters} for objective in algo.impl.objectives]
    assert owners[1] == {id(p) for p in algo.impl.policy.parameters()}
    assert not owners[0] & owners[1]


def test_scores_are_log_probabilities_and_advantages():
    algo = build(beta=3.0)
    algo.impl.policy.head = Always(SAID)
    batch = both(algo)
    scores = algo.impl.scores(batch.observations, batch.valid)[1]
    # In row 6 V is 0.6: log 0.3 + 3 (0.3 - 0.6), log 0.5 + 3 (0.2 - 0.6), log 0.2 + 3 (0.9 - 0.6).
    close(scores[6][[A, B, END]], [math.log(0.3) - 0.9, math.log(0.5) - 1.2, math.log(0.2) + 0.9])


def test_temperature_divides_the_logits_and_not_the_advantage():
    algo = build(beta=3.0)
    algo.impl.policy.head = Always(SAID)
    batch = both(algo)
    scores = algo.impl.scores(batch.observations, batch.valid, None, Decoding(temperature=0.5, beta=1.0))[
        1, 6
    ]
    squares = 0.09 + 0.25 + 0.04
    close(scores[[A, END]], [math.log(0.09 / squares) - 0.3, math.log(0.04 / squares) + 0.3])


def test_beta_0_is_the_language_model_alone():
    algo = build()
    batch = both(algo)
    logits = algo.impl.sayable(algo.impl.logits(batch.observations, batch.valid))
    scores = algo.impl.scores(batch.observations, batch.valid, None, Decoding(beta=0.0))
    close(scores[batch.valid].exp(), logits[batch.valid].softmax(-1).detach())
    plain = build(beta=0.0).impl
    assert torch.equal(
        plain.scores(batch.observations, batch.valid)[batch.valid].exp(), scores[batch.valid].exp()
    )


def test_targets_have_a_trunk_of_their_own():
    algo = build()
    batch = both(algo)
    heads = algo.impl.target_q.heads
    heads[0], heads[1] = Times(1.0), Times(2.0)
    algo.impl.trunk = Always({}, 1)
    found = algo.impl.target_values(batch.observations, batch.valid)
    close(found[1, :, 0], list(range(8)))  # The numbers of the rows, of the head that multiplies by 1.


def test_evaluators_by_hand():
    algo, data = build(), talks()
    algo.impl.policy.head = Always(SAID)
    close(perplexity(algo, data), math.exp(-math.log(0.5**2 * 0.2**3 * 0.3) / 6))
    close(token_value(algo, data), (0.3 + 0.4 + 0.0 + 0.1 + 0.6 + 0.7) / 6)
    close(token_cross_entropy(algo, data), sum(map(sum, CONSERVATIVE_TERMS)) / 6)
    values, outputs = algo.value_rows(data)
    chosen = data.extras["is_action"]
    close(values[chosen], [0.3, 0.4, 0.0, 0.1, 0.6, 0.7])
    close(outputs[chosen], [0.3, 0.9, 0.3, 0.9, 0.3, 0.9])  # Means: b 0.3, a 0.3, </a> 0.9.
    for measure, other in ((token_value, TextBC), (token_cross_entropy, TextBC), (perplexity, DiscreteBC)):
        with pytest.raises(UnsupportedError, match=other.__name__):
            measure(other(seed=0), data)


def test_values_of_first_tokens():
    algo = build()
    found = algo.impl.predict_value(torch.tensor([[1.0], [7.0]]), torch.tensor([A, END]))
    close(found, [0.3, 0.9])


def test_targets_follow_trunk_and_q_and_are_saved(tmp_path):
    algo = ILQL(**{**TINY, "tau": 0.25}).build(talks())
    impl = algo.impl
    before = {name: value.clone() for name, value in impl.state_dict().items()}
    algo.fit(talks(), 1, **QUIET)
    now = impl.state_dict()
    for online, target in (("trunk", "target_trunk"), ("q", "target_q")):
        names = [name for name in now if name.startswith(f"{online}.")]
        assert names
        for name in names:
            own = name.replace(online, target, 1)
            torch.testing.assert_close(now[own], 0.75 * before[own] + 0.25 * now[name])
            assert torch.equal(before[own], before[name])
    loaded = ILQL.load(algo.save(tmp_path / "talk.okt"), device="cpu").impl.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in now.items())
    assert {f"target_q.heads.{i}.0.weight" for i in (0, 1)} < loaded.keys()


def test_what_decides_the_loss_is_refused_later():
    algo = ILQL(**TINY).fit(talks(), 1, **QUIET)
    with pytest.raises(ValueError, match="policy_beta"):
        algo.policy_beta = 1.0


def test_a_dialogue_cut_behind_the_environments_answer_counts_with_the_value_of_that_answer():
    def full(answer, reward):
        return {"dialogue": [["q", None], ["a", 0.0], [answer, None], ["a", reward]]}

    cut = {"dialogue": [["q", None], ["a", 0.0], ["g", None]], "terminal": False}
    data = text_dataset([full("g", 1.0), full("b", -1.0), cut, cut])
    small = {**TINY, "width": 16, "max_length": 20, "batch_size": 8, "learning_rate": 1e-2}
    algo = ILQL(**small, tau=0.2, expectile=0.5, alpha=0.0, gamma=1.0).fit(data, n_steps=500, **QUIET)
    values, taken = algo.value_rows(data)
    # Behind "g" 1 is earned, -1 behind "b"; the first answer is worth the mean of 1, -1, 1 and 1.
    assert values[data.episode_ends[2] - 1] == pytest.approx(1.0, abs=0.2)
    assert taken[data.extras["is_action"]][:2] == pytest.approx([0.5, 0.5], abs=0.2)


def test_a_recording_that_ends_in_a_token_of_the_environment_ends_in_no_state():
    """No loss trains V there, so that the last action of the agent has no target."""
    cut = {"dialogue": [["q", None], ["a", 0.0], ["g", None]], "terminal": False}
    whole = text_dataset([cut])
    kept = slice(0, len(whole) - 1)  # Without the row of <a>.
    data = MDPDataset(
        whole.observations[kept],
        whole.actions[kept],
        whole.rewards[kept],
        np.zeros(len(whole) - 1),
        extras={"is_action": whole.extras["is_action"][kept]},
        observation_space=whole.observation_space,
        action_space=whole.action_space,
    )
    last = np.flatnonzero(data.extras["is_action"])[-1]
    assert state_columns(whole)[STATE_STEPS][last] == len(whole) - 1 - last
    assert state_columns(data)[STATE_STEPS][last] == 0


def test_rewards_of_others_than_the_agent_are_refused():
    rows = np.arange(4)
    columns = rows[:, None], rows % 2, [0.0, 5.0, 0.0, 0.0], rows == 3
    data = MDPDataset(*columns, extras={"is_action": rows % 2 == 0})
    with pytest.raises(
        UnsupportedError, match=r"1 rows of 'custom' have one where is_action is False, .* row 1"
    ):
        ILQL(**TINY).fit(data, n_steps=1, **QUIET)
    TextBC(**TINY).fit(data, n_steps=1, **QUIET)  # Which learns no rewards.


def test_dialogues_none_of_whose_tokens_has_a_target_are_refused():
    cut = {"dialogue": [["b", None], ["", 1.0]], "terminal": False}  # Its only token, </a>, is its last row.
    with pytest.raises(UnsupportedError, match="critics of ILQL would learn from none of the 2 rows"):
        ILQL(**TINY).fit(text_dataset([cut, cut]), n_steps=1, **QUIET)

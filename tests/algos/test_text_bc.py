"""Cloning of text: loss, what is learned and what is only seen, decoding."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses, total
from small_text import END, QUIET, TALKS, TINY, A, Always, B, both, talks, trained

from offlinekit.algos import ILQL, TextBC
from offlinekit.core.bases.text_decoding import Decoding
from offlinekit.core.bases.text_model import state_columns
from offlinekit.core.bases.token_transformer import TokenEmbedding
from offlinekit.datasets import MDPDataset, text_dataset
from offlinekit.envs.text import CharTokenizer
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.nn.transformer import KeyValues
from offlinekit.sampling.loss_weights import weighted
from offlinekit.testing import small_dataset

SAID = {END: math.log(0.2), A: math.log(0.3), B: math.log(0.5)}


def build(front=TextBC, **options):
    return front(**{**TINY, **options}).build(talks())


def speaking(**options):
    """Returns a model that says </a>, a and b with the probabilities 0.2, 0.3 and 0.5, whatever was said."""
    algo = build(**options)
    algo.impl.policy.head = Always(dict.fromkeys(range(9), -50.0) | SAID)
    return algo


def test_loss_by_hand():
    algo = speaking()
    # The first dialogue says b and </a>, the second b, </a>, a, </a>; other tokens are nobody's choice.
    # -(log 0.5 + log 0.2) / 2 = 1.151, -(log 0.5 + 2 log 0.2 + log 0.3) / 4 = 1.279; the mean over all 6 tokens.
    returned = algo.impl.compute_actor_loss(both(algo))
    close(row_losses(returned), [-math.log(0.5 * 0.2) / 2, -math.log(0.5 * 0.2 * 0.2 * 0.3) / 4])
    loss = total(returned)
    close(loss, -math.log(0.5**2 * 0.2**3 * 0.3) / 6)
    # Gradient by the logits: softmax less the shares of tokens, a 1 / 6, b 2 / 6, </a> 3 / 6.
    (gradient,) = torch.autograd.grad(loss, [algo.impl.policy.head.numbers])
    close(gradient[[END, A, B]], [0.2 - 3 / 6, 0.3 - 1 / 6, 0.5 - 2 / 6])


def test_tokens_of_the_environment_are_seen_and_never_learned():
    algo = build()
    batch = both(algo)
    other = batch.actions.clone()
    other[~batch.is_action] = 0
    losses = [algo.impl.compute_actor_loss(b) for b in (batch, batch._replace(actions=other))]
    assert torch.equal(total(losses[0]), total(losses[1]))
    seen = batch.observations.clone()
    seen[0, 3] = B  # The prompt of the first dialogue.
    changed = algo.impl.compute_actor_loss(batch._replace(observations=seen))
    assert not torch.equal(row_losses(losses[0])[0], row_losses(changed)[0])
    assert torch.equal(row_losses(losses[0])[1], row_losses(changed)[1])


def test_nothing_looks_ahead_and_padding_is_not_seen():
    algo = build()
    batch = both(algo)
    before = algo.impl.logits(batch.observations, batch.valid)
    seen = batch.observations.clone()
    seen[:, 6] = 1.0
    seen[0, :2] = 6.0  # Padding: the first dialogue has 6 rows, the second 8.
    after = algo.impl.logits(seen, batch.valid)
    assert torch.equal(before[1, :6], after[1, :6])
    assert torch.equal(before[0, 2:6], after[0, 2:6])
    assert not torch.equal(before[:, 6], after[:, 6])


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_of_0_draws_nothing(rate):
    algo = build(dropout=rate)
    algo.impl.train()
    before = algo.impl.random.state()
    algo.impl.compute_actor_loss(both(algo))
    assert torch.equal(before, algo.impl.random.state()) == (rate == 0.0)


def test_beta_0_says_what_a_language_model_of_equal_numbers_says():
    steered, plain = trained(ILQL), trained()
    plain.impl.policy.load_state_dict(steered.impl.policy.state_dict())
    said = []
    for algo in (steered, plain):
        algo.impl.random.generator.manual_seed(3)
        said.append(algo.respond(["a", "b", "ab"] * 20, method="sample", beta=0.0, max_tokens=4))
    assert said[0] == said[1]
    assert len(set(said[0])) > 5


def test_where_the_next_state_is():
    algo = build()
    batch = both(algo)
    assert batch.valid.tolist() == [[False] * 2 + [True] * 6, [True] * 8]
    # b is followed by </a>, the end of the ended dialogue by nothing.
    assert batch.state_steps[0, 5:7].tolist() == [1, 0]
    # b, </a>, then behind <s> a </s> <a> the next choice; behind the last nothing was recorded.
    assert batch.state_steps[1][batch.is_action[1]].tolist() == [1, 5, 1, 0]
    # <a> b </a> <s> a </s>, cut when the agent was to speak: the state behind </a> is the <a> that follows.
    cut = text_dataset([{"dialogue": [["b", 0.5], ["a", None]], "terminal": False}])
    assert cut.observation_space.tokenizer.decode(cut.observations[:, 0]) == "<a>b</a><s>a</s><a>"
    columns = state_columns(cut)
    assert columns["state_steps"].tolist() == [1, 5, 4, 3, 2, 1, 0]
    assert columns["is_action"].tolist() == [True, True, *[False] * 5]
    assert state_columns(small_dataset("discrete"))["is_action"].all()


def test_a_last_row_that_is_no_action_of_the_agent_is_no_state():
    numbers = np.arange(4)
    ends = {"terminals": np.zeros(4), "timeouts": numbers == 3}
    extras = {"is_action": numbers % 2 == 0}
    data = MDPDataset(numbers[:, None], numbers % 3, np.zeros(4), **ends, extras=extras)
    assert state_columns(data)["state_steps"][[0, 2]].tolist() == [2, 0]


def test_dialogues_weigh_as_their_rows_and_rows_of_weight_0_are_only_seen():
    algo, data = build(), talks()
    weights = np.ones(len(data))
    weights[4] = 0.0  # </a> of the first dialogue, whose mean is then 5 / 6; of the second it is 1.
    sampler = algo.make_sampler(weighted(data, weights))
    batch = sampler.gather(torch.tensor([0, 6]))
    close(batch.weights, np.array([5 / 6, 1.0]) / (11 / 12))
    assert batch.is_action[0].tolist() == [False] * 5 + [True, False, False]
    weights[:6] = 0.0
    assert algo.make_sampler(weighted(data, weights), needs=["rows"]).sample().rows.tolist() == [6] * 4


@pytest.mark.parametrize("front", [TextBC, ILQL])
def test_weights_that_leave_no_token_of_the_agent_are_refused(front):
    data = talks()
    with pytest.raises(DatasetError, match="no token of the agent to learn from"):
        build(front).fit(data, 1, weights=~data.extras["is_action"] + 0.0, **QUIET)


def test_whole_dialogues_are_drawn_equally_often():
    algo = build(batch_size=4_000)
    sampler = algo.make_sampler(talks(), needs=["rows"])
    rows = sampler.sample().rows
    assert set(rows.tolist()) == {0, 6}
    assert abs(float((rows == 0).float().mean()) - 0.5) < 0.04


def test_long_dialogues_are_refused_by_name():
    with pytest.raises(
        UnsupportedError, match=r"max_length=7 rows, but 'custom' has one of 8; set max_length=8"
    ):
        build(max_length=7)
    data = talks()
    short = data[data.episode_lengths() <= 7]
    assert TextBC(**{**TINY, "max_length": 7}).build(short).impl.policy.trunk.places.num_embeddings == 7


def test_other_text_is_refused():
    algo = build()
    other = text_dataset([{"prompt": "x", "response": "y", "reward": 0}])
    with pytest.raises(
        UnsupportedError, match=r"built for text of another tokenizer.*tokenizer=algo\.tokenizer"
    ):
        algo.fit(other, 1, **QUIET)
    algo.fit(text_dataset(TALKS[:1], tokenizer=algo.tokenizer), 1, **QUIET)


def test_tokens_have_a_table_and_vectors_a_map():
    assert isinstance(build().impl.policy.trunk.embedding, TokenEmbedding)
    algo = TextBC(**{**TINY, "max_length": 20}).build(small_dataset("discrete"))
    assert not isinstance(algo.impl.policy.trunk.embedding, TokenEmbedding)
    with pytest.raises(UnsupportedError, match=r"respond\(\) needs observations that are text"):
        algo.respond("a")


def test_tokens_are_not_scaled():
    with pytest.raises(
        UnsupportedError, match=r"^TextBC reads tokens of .*observation_scaler must be None, got 'stand"
    ):
        TextBC(**TINY, observation_scaler="standard").fit(talks(), 1, **QUIET)
    algo = build()
    with pytest.raises(ValueError, match="observation_scaler"):
        algo.observation_scaler = "minmax"
    others = TextBC(**{**TINY, "max_length": 20}, observation_scaler="standard")
    assert others.build(small_dataset("discrete")).scaling.observation is not None


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match="n_heads must divide width=4, got 3"):
        TextBC(**{**TINY, "n_heads": 3})
    with pytest.raises(ValueError, match="n_step must be 1, got 2"):
        TextBC(n_step=2)
    with pytest.raises(UnsupportedError, match="leave out priorities"):
        build().fit(talks(), 1, priorities="actor", **QUIET)


# Decoding.


@pytest.mark.parametrize("front", [TextBC, ILQL])
def test_going_on_from_keys_and_values_equals_computing_all_again(front):
    algo = trained(front)
    batch = both(algo)
    whole = algo.impl.scores(batch.observations, batch.valid)
    pasts: dict[str, KeyValues] = {}
    parts = [
        algo.impl.scores(batch.observations[:, i:j], batch.valid[:, i:j], pasts)
        for i, j in ((0, 4), (4, 5), (5, 8))
    ]
    together = torch.cat(parts, 1)
    for row in range(2):
        at = batch.valid[row]
        torch.testing.assert_close(together[row][at], whole[row][at], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("front", [TextBC, ILQL])
def test_an_utterance_is_what_acting_step_by_step_says(front):
    algo = trained(front)
    prompts = ["a", "abba", ""]
    said = algo.respond(prompts, max_tokens=5)
    for prompt, answer in zip(prompts, said, strict=True):
        actor, tokens = algo.as_stateful(), algo.tokenizer
        for token in (1, *tokens.encode(prompt), 2, 3):
            action = int(actor.predict(np.array([token], np.float32), 0.0))
        own = []
        while action != END and len(own) < 5:
            own.append(action)
            action = int(actor.predict(np.array([action], np.float32), 0.0))
        assert tokens.decode(own) == answer
        assert algo.respond(prompt, max_tokens=5) == answer


@pytest.mark.parametrize("front", [TextBC, ILQL])
def test_acting_goes_on_from_keys_and_values(front):
    """Two episodes side by side, the second one a step behind; the dialogue's 16 tokens are outgrown at step 16."""
    algo = trained(front)
    impl, trunk = algo.impl, algo.impl.policy.trunk
    tokens = torch.tensor([1, *[A, B, B] * 6], dtype=torch.float32)
    lengths, memories, logits = [], [None], []
    handle = trunk.register_forward_hook(lambda _, given, out: lengths.append(given[1].shape[1]))
    kept = impl.scores
    impl.scores = lambda *given: logits.append(kept(*given)) or logits[-1]
    with torch.no_grad():
        for step in range(18):
            newest = tokens[[step] if step == 0 else [step, step - 1]].unsqueeze(1)
            memories = [*memories, None][: len(newest)] if step < 2 else memories
            chosen, memories = impl.take_steps(newest, torch.zeros(len(newest)), memories, False)
            found = logits[-1][:, -1]
            for row, end in enumerate((step + 1, step)[: len(newest)]):
                seen = tokens[max(end - 16, 0) : end].view(1, -1, 1)
                wanted = kept(seen, torch.ones(seen.shape[:2], dtype=torch.bool))[0, -1]
                torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)
                assert chosen[row] == found[row].argmax()
            if step == 9:
                trunk.places.weight.mul_(1.1)
                impl.grad_step += 1  # As an update would.
    handle.remove()
    # Acting is the first of the calls in each step: anew with the second episode, after the update, and at the end.
    assert [lengths[0], *lengths[2::3]] == [1, 2, *[1] * 8, 11, *[1] * 5, 16, 16]


def test_dialogues_are_turns_and_end_at_the_models_length():
    algo = trained()
    assert algo.respond([[("b", 0.5), ("a", None)]]) == [algo.respond([[("b", -3.0), ("a", None)]])[0]]
    algo.impl.policy.head = Always({A: 5.0})
    # <s> b </s> <a> are 4 of 16 tokens; 12 more are seen, and what follows the last of them is said as well.
    assert algo.respond("b") == "a" * 13
    assert algo.respond(["b", "abab"]) == ["a" * 13, "a" * 10]
    with pytest.raises(DatasetError, match="dialogue 0 has 17 tokens, but the model takes max_length=16"):
        algo.respond("b" * 14)
    with pytest.raises(DatasetError, match="no character 'x'"):
        algo.respond("x")


def test_an_agent_says_no_marks():
    algo = build()
    algo.impl.policy.head = Always(dict.fromkeys(range(7), 9.0))
    scores = algo.impl.scores(both(algo).observations, both(algo).valid)
    assert torch.isinf(scores[..., [0, 1, 2, 3, 5, 6]]).all()
    close(
        scores[0, 0].exp()[[END, A]],
        [1 / (1 + 2 * math.exp(-9.0)), math.exp(-9.0) / (1 + 2 * math.exp(-9.0))],
    )
    assert set("".join(algo.respond(["a"] * 50, method="sample", temperature=100.0))) <= {"a", "b"}


def test_drawn_utterances_follow_the_models_probabilities():
    """They are sequences of a and b before the first </a>: of no letter 0.2, "b" 0.5 * 0.2."""
    said = Counter(speaking().respond(["a"] * 4_000, method="sample"))
    for text, probability in (("", 0.2), ("a", 0.06), ("b", 0.1), ("ab", 0.03)):
        deviation = math.sqrt(probability * (1 - probability) / 4_000)
        assert abs(said[text] / 4_000 - probability) < 4 * deviation


def test_rules_of_decoding_by_hand():
    logits = torch.tensor([math.log(p) for p in (0.5, 0.3, 0.15, 0.05)])
    probabilities = {
        "top_k 2": (Decoding(top_k=2), [0.625, 0.375, 0, 0]),
        "top_k beyond all": (Decoding(top_k=9), [0.5, 0.3, 0.15, 0.05]),
        # 0.5 alone is less than 0.6: the second token is needed too.
        "top_p 0.6": (Decoding(top_p=0.6), [0.625, 0.375, 0, 0]),
        "top_p 0.5": (Decoding(top_p=0.5), [1, 0, 0, 0]),
        # Squares of the probabilities, over their sum 0.365.
        "temperature": (
            Decoding(temperature=0.5),
            [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365],
        ),
    }
    for name, (rule, expected) in probabilities.items():
        np.testing.assert_allclose(rule.log_probs(logits).exp(), expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be in \(0, inf\)"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"n_beams": 0}, "n_beams"),
        ({"method": "beams"}, "did you mean 'beam'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build().respond("a", **options)
    with pytest.raises(TypeError, match="has no option 'topk'; did you mean 'top_k'"):
        build().respond("a", topk=3)


def test_one_beam_is_greedy():
    algo = trained()
    prompts = ["a", "b", "ab", ""]
    assert algo.respond(prompts, method="beam", n_beams=1) == algo.respond(prompts)


def test_a_beam_gives_up_a_good_first_token_for_a_better_utterance():
    """b is likelier than </a> by itself; but </a> ends at log 0.4, b</a> at log 0.6 + log 0.4."""
    algo = build()
    algo.impl.policy.head = Always(dict.fromkeys(range(9), -50.0) | {END: math.log(0.4), B: math.log(0.6)})
    assert algo.respond("a", max_tokens=3) == "bbb"
    assert algo.respond("a", max_tokens=3, method="beam", n_beams=2) == ""


@pytest.mark.parametrize(
    ("dialogues", "message"),
    [
        (3, "takes a prompt, or a list of dialogues, got 3"),
        ([3], "dialogue 0 must be a prompt, or turns of text and reward, got 3"),
        ([[("a", None), ("a",)]], "dialogue 0: a turn must be a pair of text and reward"),
        ([("a", None)], "dialogue 0: a turn must be a pair"),  # One dialogue, in place of a list of them.
    ],
)
def test_what_is_no_dialogue_is_refused(dialogues, message):
    with pytest.raises((TypeError, DatasetError), match=message):
        trained().respond(dialogues)


def test_values_and_predictions_are_of_the_same_text():
    other = text_dataset([{"prompt": "x", "response": "y", "reward": 0}])
    for measure in (ILQL.value_rows, ILQL.predict_rows):
        with pytest.raises(
            UnsupportedError, match=r"built for text of another tokenizer.*tokenizer=algo\.tokenizer"
        ):
            measure(trained(ILQL), other)


@pytest.mark.parametrize("number", [9, -1, 1.5])
def test_numbers_that_are_no_tokens_are_refused_where_a_policy_acts(number):
    algo = trained(ILQL)
    wrong = np.array([[7], [number]], np.float32)
    acts = [
        algo.predict,
        algo.sample_action,
        algo.predict_value,
        lambda rows: algo.as_stateful().predict(rows[1]),
    ]
    for act in acts:
        with pytest.raises(ValueError, match=rf"whole numbers below 9, .* got {number:g}; .* algo.tokenizer"):
            act(wrong)


def test_a_saved_model_speaks_with_its_tokenizer(tmp_path):
    algo = trained()
    loaded = TextBC.load(algo.save(tmp_path / "talk.okt"), device="cpu")
    assert loaded.tokenizer == CharTokenizer("ab")
    assert loaded.respond(["a", "ab"]) == algo.respond(["a", "ab"])


def test_a_dialogue_is_learned():
    data = text_dataset([{"prompt": p, "response": p[::-1], "reward": 0} for p in ("ab", "ba", "aab")])
    algo = TextBC(**{**TINY, "width": 16, "batch_size": 8}, learning_rate=1e-2).fit(data, 120, **QUIET)
    assert algo.respond(["ab", "ba", "aab"]) == ["ba", "ab", "baa"]
    np.testing.assert_array_equal(
        algo.predict_rows(data)[data.extras["is_action"]], data.actions[data.extras["is_action"]]
    )


@pytest.mark.parametrize("letters", ["xy", "xyz"])
def test_text_of_another_tokenizer_is_refused_with_the_way_to_read_it(letters):
    other = text_dataset([{"prompt": letters, "response": "y", "reward": 1}])
    with pytest.raises(UnsupportedError, match=r"text of another tokenizer.*tokenizer=algo\.tokenizer"):
        build().fit(other, n_steps=1, **QUIET)


def test_beta_is_refused_where_there_are_no_values():
    with pytest.raises(UnsupportedError, match=r"TextBC has no values .* got beta=50"):
        build().respond("a", beta=50.0)

"""Beams beside an enumeration of all utterances, under every rule of what may be said; where tokens are chosen."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from small_text import END, A, B, trained

from offlinekit.algos import ILQL, TextBC
from offlinekit.envs.text.tokenizers import AGENT_BEGIN

MOST = 4
RULES = [
    {},
    {"top_k": 1},
    {"top_k": 2},
    {"top_p": 0.6},
    {"top_p": 0.9, "temperature": 2.0},
    {"top_k": 2, "top_p": 0.7, "beta": 0.5},
]


@pytest.fixture(scope="module", params=[TextBC, ILQL])
def algo(request):
    return trained(request.param)


@functools.cache
def outputs(impl, tokens):
    """Returns the logits of what may follow tokens, and the advantages, 0 if there are none."""
    seen = torch.tensor(tokens, dtype=torch.float32)[None, :, None]
    valid = torch.ones(seen.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        logits, advantages = impl.logits(seen, valid), impl.advantages(seen, valid)
    gains = torch.zeros_like(logits) if advantages is None else advantages
    return logits[0, -1].tolist(), gains[0, -1].tolist()


def next_scores(algo, tokens, temperature=1.0, top_k=None, top_p=1.0, beta=None):
    """Returns what each token that may follow scores, in plain arithmetic."""
    logits, gains = outputs(algo.impl, tuple(tokens))
    shares = {token: math.exp(logits[token] / temperature) for token in (END, A, B)}
    likely = sorted(shares, key=lambda token: -shares[token])[:top_k]
    allowed, before = [], 0.0
    for token in likely:
        if before < top_p:
            allowed.append(token)
        before += shares[token] / sum(shares[t] for t in likely)
    total = sum(shares[token] for token in allowed)
    weight = algo.impl.beta if beta is None else beta
    return {token: math.log(shares[token] / total) + weight * gains[token] for token in allowed}


def best_utterance(algo, prompt, **rule):
    """Returns the utterance of the largest sum among all that end; among those cut after `MOST` tokens if none does."""
    start = [1, *algo.tokenizer.encode(prompt), 2, AGENT_BEGIN]
    ended, cut = {}, {}
    for letters in itertools.chain(*(itertools.product((A, B), repeat=n) for n in range(MOST + 1))):
        steps = [next_scores(algo, [*start, *letters[:i]], **rule) for i in range(len(letters) + 1)]
        said = sum(scores.get(token, -math.inf) for scores, token in zip(steps, letters, strict=False))
        if len(letters) < MOST:
            ended[letters] = said + steps[-1].get(END, -math.inf)
        else:
            cut[letters] = said
    own = ended if max(ended.values()) > -math.inf else cut
    return algo.tokenizer.decode(max(own, key=own.get))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_wide_beams_find_the_best_of_all_utterances(algo, rule):
    if not algo.has_value:
        rule = {name: value for name, value in rule.items() if name != "beta"}
    prompts = ["ab", "b", ""]
    found = algo.respond(prompts, method="beam", n_beams=64, max_tokens=MOST, **rule)
    assert found == [best_utterance(algo, prompt, **rule) for prompt in prompts]


def test_rules_change_what_beams_find():
    """Otherwise the test above would hold for beams that read no rule."""
    algo = trained(TextBC)
    prompts = ["".join(letters) for n in range(3) for letters in itertools.product("ab", repeat=n)]
    found = [algo.respond(prompts, method="beam", n_beams=64, max_tokens=MOST, **rule) for rule in RULES[:3]]
    assert found[0] != found[1]


@pytest.mark.parametrize("rule", [{"top_k": 2}, {"top_p": 0.5}, {"top_k": 2, "top_p": 0.7}], ids=str)
def test_drawn_utterances_hold_what_may_be_said(algo, rule):
    for said in set(algo.respond(["ab"] * 200, method="sample", max_tokens=MOST, **rule)):
        tokens = [1, *algo.tokenizer.encode("ab"), 2, AGENT_BEGIN]
        letters = algo.tokenizer.encode(said)
        for token in [*letters, END][:MOST]:
            assert token in next_scores(algo, tokens, **rule)
            tokens = [*tokens, token]


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_tokens_are_chosen_in_utterances_of_the_agent_alone(algo, method, monkeypatch):
    """Behind <a> first, then behind letters: never in the prompt, behind an end, or of a dialogue that is done."""
    chosen_behind, kept = [], algo.impl.scores

    def scores(seen, valid, pasts, decoding):
        chosen_behind.append(seen[:, -1, 0][valid[:, -1]].tolist())
        return kept(seen, valid, pasts, decoding)

    monkeypatch.setattr(algo.impl, "scores", scores)
    said = algo.respond(["ab", [("b", 0.5), ("a", None)]], method=method, max_tokens=MOST)
    assert len(said) == 2
    starts = [behind for behind in chosen_behind if AGENT_BEGIN in behind]
    assert [len(behind) for behind in starts] == ([1, 1] if method == "beam" else [2])
    rest = [behind for behind in chosen_behind if AGENT_BEGIN not in behind]
    assert {token for behind in [*starts, *rest] for token in behind} <= {AGENT_BEGIN, A, B}
    if method != "beam":
        assert sum(map(len, rest)) == sum(min(len(text), MOST - 1) for text in said)

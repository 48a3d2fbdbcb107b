"""Environments of text: their rules, their optimum, and playing them by utterances and by tokens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from small_text import QUIET, TINY, talks

from offlinekit.algos import TextBC
from offlinekit.datasets import get_dataset
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.envs.text import CharTokenizer, RandomWalks, TextEnv, Wordle, play, returns_of
from offlinekit.envs.text.random_walks import GOAL, _expectile
from offlinekit.envs.text.wordle import WORDS, marks
from offlinekit.errors import UnsupportedError


@pytest.mark.parametrize("seed", range(40))
def test_the_goal_can_be_reached_from_every_node(seed):
    """A row without edges is not the fault of trlx's check: the goal's column is, which no edge may enter."""
    task = RandomWalks(graph_seed=seed)
    reachable = {GOAL}
    for _ in range(task.longest):
        reachable |= {node for node in range(21) if any(task.edges[node, to] for to in reachable)}
    assert reachable == set(range(21))
    assert not task.edges[GOAL].any()
    assert task.edges[1:].any(1).all()


def test_shortest_walks_are_shortest():
    task = RandomWalks()
    for node in range(1, 21):
        length = task.shortest[node]
        walks = walks_of(task, node, length)
        assert any(task.length(walk) == length for walk in walks)
        assert not any(task.length(walk[:n]) for walk in walks for n in range(1, length))


def walks_of(task, node, length):
    walks = [task.letters[node]]
    for _ in range(length - 1):
        walks = [
            walk + task.letters[to]
            for walk in walks
            for to in np.flatnonzero(task.edges[task.letters.index(walk[-1])])
        ]
    return walks


def test_walks_are_worth_their_shortness():
    task = RandomWalks()
    node = task.shortest.index(3)
    walk = next(walk for walk in walks_of(task, node, 3) if walk[-1] == "a")
    # 3 nodes of 10: (10 - 3) / 10, which is the best from there.
    assert (task.length(walk), task.worth(walk), task.optimality(walk)) == (3, 0.7, 1.0)
    for wrong in (walk[:-1], walk[0] + "a", walk + "a", walk[0] + "?" + walk[1:], walk[0]):
        assert (task.length(wrong), task.worth(wrong), task.optimality(wrong)) == (None, 0.0, 0.0)
    task.seed(0)
    first, reward, is_over = task(None)
    assert (len(first), reward, is_over) == (1, 0.0, False)
    task._node = node
    assert task(walk[1:]) == ("", 0.7, True)


def test_random_walks_follow_edges_and_stop():
    task = RandomWalks()
    walks = task.walks(300, seed=3)
    assert walks == task.walks(300, seed=3) != task.walks(300, seed=4)
    for walk in walks:
        nodes = [task.letters.index(letter) for letter in walk]
        assert all(task.edges[a, b] for a, b in itertools.pairwise(nodes))
        assert GOAL not in nodes[:-1]
        assert len(walk) == 10 or nodes[-1] == GOAL
    assert abs(np.mean([task.optimality(walk) for walk in task.walks(4_000)]) - 0.13) < 0.02
    with pytest.raises(ValueError, match="n_nodes must be from 2 to 26"):
        RandomWalks(n_nodes=27)


def test_exact_values_are_means_at_a_half_and_those_of_shortest_walks_at_one():
    task = RandomWalks()
    means, best = task.exact_values(0.5, 0.9), task.exact_values(1.0 - 1e-9, 1.0)
    for node in range(1, 21):
        following = [0.9 * means[to, 4] for to in np.flatnonzero(task.edges[node])]
        assert means[node, 3] == pytest.approx(np.mean(following))
        assert best[node, 1] == pytest.approx((10 - task.shortest[node]) / 10, abs=1e-5)
    # Of 0 and 1 the expectile 0.7 is 0.7: 0.7 * (1 - m) = 0.3 * m.
    assert _expectile(np.array([0.0, 1.0]), 0.7) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("guess", "secret", "expected"),
    [
        ("crane", "crane", "22222"),
        ("crane", "trace", "12202"),
        ("eerie", "crane", "00102"),  # The one e of the secret is in place at the end.
        ("shape", "gripe", "00022"),
        ("blade", "flame", "02202"),
    ],
)
def test_marks_by_hand(guess, secret, expected):
    assert marks(guess, secret) == expected


def test_games_cost_their_wrong_guesses():
    game = Wordle(secret="crane")
    assert game(None) == ("", 0.0, False)
    assert game("trace") == ("t0r2a2c1e2", -1.0, False)
    assert game("zzz") == ("unknown", -1.0, False)
    assert game("crane") == ("", 0.0, True)
    game(None)
    assert [game("brace")[2] for _ in range(6)] == [False] * 5 + [True]


def test_the_optimum_is_that_of_all_games():
    """Two words that differ need 1 and 2 guesses. Three, whose first guess tells the others apart, 1, 2 and 2."""
    assert Wordle(["crane", "blade"]).optimum() == 1.5
    assert Wordle(["crane", "crate", "blade"]).optimum() == pytest.approx(5 / 3)
    # No guess tells two others apart if each differs from all in one place: 1, 2, 3 guesses.
    assert Wordle(["aaaab", "aaaac", "aaaad"]).optimum() == 2.0
    assert Wordle().optimum() == pytest.approx(best_by_play(WORDS) / 20)


def best_by_play(words):
    """Returns the fewest guesses in all of a player who looks through all first and second guesses."""

    def total(left, depth):
        if len(left) <= 2:
            return 2 * len(left) - 1
        best = 99
        for guess in words:
            parts = {}
            for secret in left:
                parts.setdefault(marks(guess, secret), []).append(secret)
            if len(parts) > 1:
                best = min(
                    best,
                    len(left) + sum(total(p, depth + 1) for m, p in parts.items() if m != "22222"),
                )
        return best

    return total(list(words), 0)


class Script(StatefulPolicy):
    """Says the same letters and ends its utterance, over and over."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def begin(self):
        return 0

    def choose(self, observations, rewards, memories):
        actions, after = [], []
        for seen, memory in zip(observations[:, 0], memories, strict=True):
            step = 0 if seen == 3 else memory  # <a>
            actions.append(self.tokens[min(step, len(self.tokens) - 1)])
            after.append(step + 1)
        return np.array(actions), after


def echo(text):
    """Three turns; an utterance is worth its length."""
    if text is None:
        echo.left = 3
        return "ab", 0.0, False
    echo.left -= 1
    return text, float(len(text)), echo.left == 0


def test_utterances_and_tokens_play_the_same_game():
    tokenizer = CharTokenizer("ab")
    result = evaluate(Script([7, 8, 4]), TextEnv(echo, tokenizer), 2)
    assert result.returns.tolist() == [6.0, 6.0]
    # <s> a b </s> <a>, a b </a> twice each with an answer <s> a b </s> <a> behind it, and a last a b </a>.
    assert result.lengths.tolist() == [4 + 3 + 5 + 3 + 5 + 3] * 2
    (said,) = play(lambda dialogues: ["ab"] * len(dialogues), [echo])
    assert said == [
        ("ab", None),
        ("ab", 2.0),
        ("ab", None),
        ("ab", 2.0),
        ("ab", None),
        ("ab", 2.0),
        ("ab", None),
    ]
    assert returns_of([said]).tolist() == [6.0]


def test_utterances_without_an_end_are_ended():
    env = TextEnv(echo, CharTokenizer("ab"), max_tokens=2)
    result = evaluate(Script([7]), env, 1)
    assert result.returns.tolist() == [6.0]
    assert result.lengths.tolist() == [4 + 3 + 5 + 3 + 5 + 3]  # As if it had ended by itself.
    env.reset()
    seen = [int(env.step(np.int64(7))[0][0]) for _ in range(6)]
    assert seen == [7, 8, 2, 3, 7, 7]  # <s> a b </s> <a>, then a and a are shown.
    assert int(env.step(np.int64(7))[0][0]) == 4
    assert len(play(lambda dialogues: ["a"], [lambda text: ("b", 0.0, False)], max_turns=4)[0]) == 9


@pytest.mark.parametrize("answer", ["ab", ("a", 1.0), ("a", float("nan"), False), (1, 1.0, False)])
def test_answers_that_are_none_are_refused(answer):
    with pytest.raises(TypeError, match=r"must return \(text, reward, whether it is over\)"):
        TextEnv(lambda text: answer, CharTokenizer("ab")).reset()


@pytest.mark.parametrize(("name", "rows"), [("random-walks", 1_000), ("wordle-20", 10_000)])
def test_tasks_come_with_their_environment(name, rows):
    dataset, env = get_dataset(name)
    assert len(dataset) > rows
    assert env.observation_space == dataset.observation_space
    again = get_dataset(name)[0]
    assert np.array_equal(dataset.actions, again.actions)
    assert env.reset(seed=3)[0] == env.reset(seed=3)[0]


def test_one_environment_has_one_place():
    game = Wordle()
    with pytest.raises(ValueError, match="environments of their own, got 2 of which some are one object"):
        play(lambda dialogues: ["ab"] * len(dialogues), [game, game])


def test_a_function_that_speaks_is_no_function_that_makes_an_environment():
    for game in (echo, Wordle()):
        with pytest.raises(
            UnsupportedError, match=r"needs text; an environment of text is given as TextEnv\("
        ):
            evaluate(Script([4]), game, 1)
    tokenizer = CharTokenizer("ab")
    assert evaluate(Script([4]), lambda max_tokens=2: TextEnv(echo, tokenizer, max_tokens), 1).mean == 0.0


def test_text_of_another_tokenizer_is_refused():
    algo = TextBC(**TINY).fit(talks(), 1, **QUIET)  # Of a and b.
    with pytest.raises(
        UnsupportedError, match=r"another CharTokenizer\(9 tokens\); .*TextEnv\(game, algo\.tok"
    ):
        evaluate(algo, TextEnv(echo, CharTokenizer("xy")), 1)
    with pytest.raises(UnsupportedError, match=r"TextEnv\(game, algo\.tokenizer\)"):
        algo.fit(talks(), 1, eval_env=TextEnv(echo, CharTokenizer("abc")), **QUIET)
    assert evaluate(algo, TextEnv(echo, CharTokenizer("ab"), max_tokens=2), 1).lengths[0] > 0

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.envs.text import CharTokenizer, Tokenizer, TokenSpace, WordTokenizer
from offlinekit.envs.text.token_space import tokenizer_in
from offlinekit.envs.text.tokenizers import SPECIALS, tokenizer_of
from offlinekit.errors import DatasetError, FileFormatError, UnsupportedError


@given(st.text())
@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])
def test_text_comes_back_as_it_was(kind, text):
    made = kind.of([text])
    assert made.decode(made.encode(text)) == text
    assert len(made) == len(SPECIALS) + len(set(kind.cut(text)))


def test_numbers_follow_the_special_ones_in_order():
    made = CharTokenizer("ba")
    assert made.encode("ab") == [8, 7]
    assert made.decode([1, 7, 2, 3, 8, 4, 5]) == "<s>b</s><a>a</a></eod>"
    assert WordTokenizer.cut("So, what  now?") == ["So", ",", " ", "what", "  ", "now", "?"]


def test_unknown_text_is_refused_or_marked():
    with pytest.raises(DatasetError, match=r"no character 'c', which stands in 'abc'.*has_unknown=True"):
        CharTokenizer("ab").encode("abc")
    assert CharTokenizer("ab", has_unknown=True).encode("cab") == [6, 7, 8]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [(["a", "b", "a"], "must differ, got 'a' twice"), (["ab"], "one character, got 'ab'"), ([""], "got ''")],
)
def test_pieces_are_different_pieces(pieces, message):
    with pytest.raises(ValueError, match=message):
        CharTokenizer(pieces)


def test_numbers_beyond_the_vocabulary_are_no_tokens():
    for number in (-1, 8):
        with pytest.raises(ValueError, match=rf"must lie in \[0, 8\), got {number}"):
            CharTokenizer("a").decode([number])


def test_names_make_tokenizers_of_all_texts():
    assert tokenizer_of("word", ["b a", "c"]).pieces == (" ", "a", "b", "c")
    made = CharTokenizer("x")
    assert tokenizer_of(made, ["y"]) is made
    with pytest.raises(
        ValueError, match=r"'char', 'word', a Tokenizer or the Path .* got 'chars'; did you mean 'char'"
    ):
        tokenizer_of("chars", [])
    with pytest.raises(TypeError, match="make a CharTokenizer or a WordTokenizer"):
        Tokenizer.cut("x")


@pytest.mark.parametrize("made", [CharTokenizer("ab"), WordTokenizer(["no", " "], has_unknown=True)])
def test_a_space_of_tokens_is_data(made):
    space = TokenSpace(made)
    again = space_from_json(space_to_json(space))
    assert again == space == copy.deepcopy(space)
    assert hash(again) == hash(space)
    assert again.tokenizer.has_unknown == made.has_unknown
    assert again != TokenSpace(CharTokenizer("xy"))
    assert (space.n, space.shape, space.low.item(), space.high.item()) == (9, (1,), 0.0, 8.0)


def test_drawn_tokens_are_tokens():
    space = TokenSpace(CharTokenizer("ab"))
    space.seed(0)
    drawn = np.array([space.sample() for _ in range(200)])
    assert set(drawn.ravel()) == set(range(9))
    assert all(space.contains(token) for token in drawn)


@pytest.mark.parametrize(
    "damaged",
    [
        {"kind": "x"},
        {"kind": "word", "pieces": "ab"},
        {"kind": "word", "pieces": [1]},
        {"kind": "character", "pieces": ["ab"]},
    ],
)
def test_damaged_tokenizers_are_refused(damaged):
    with pytest.raises(FileFormatError, match="expected a tokenizer as JSON"):
        space_from_json({"kind": "tokens", "tokenizer": damaged})


def test_vectors_are_no_text():
    from gymnasium.spaces import Box

    with pytest.raises(UnsupportedError, match=r"respond\(\) needs observations that are text, got Box"):
        tokenizer_in(Box(0, 1, (1,)), "respond()")

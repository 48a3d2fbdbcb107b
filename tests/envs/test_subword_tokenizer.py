"""Tokenizers of a local `tokenizer.json`."""

from __future__ import annotations

import copy
import json
import sys

import pytest

from offlinekit.datasets import MDPDataset, get_dataset, text_dataset
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.envs.text import SubwordTokenizer, TokenSpace
from offlinekit.errors import DatasetError, FileFormatError, MissingExtraError

ROWS = [{"prompt": "hot or cold?", "response": "hot é", "reward": 0.5}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A byte-level BPE of two words more than bytes, with truncation and padding switched on."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=262, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    made.train_from_iterator(["hot or cold?"] * 3, trainer)
    made.enable_truncation(2)
    made.enable_padding(length=9)
    path = tmp_path_factory.mktemp("tokenizer")
    made.save(str(path / "tokenizer.json"))
    return path


def test_text_comes_back_as_it_was(folder):
    made = SubwordTokenizer.from_folder(folder)
    for text in ("", "hot or cold?", "tea, é ☕ <|end|>", "  two  spaces\n"):
        assert made.decode(made.encode(text)) == text
        assert all(7 <= number < len(made) for number in made.encode(text))
    assert len(made.encode("hot")) < 3 < len(made.encode("tea time"))
    assert made.decode([1, *made.encode("hot"), 2, 3, 4]) == "<s>hot</s><a></a>"
    with pytest.raises(ValueError, match=rf"must lie in \[0, {len(made)}\)"):
        made.decode([len(made)])


def test_datasets_and_files_hold_it(folder, tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    read, _ = get_dataset(path, tokenizer=folder)
    made = text_dataset(ROWS, tokenizer=SubwordTokenizer.from_folder(folder))
    again = MDPDataset.load(made.save(tmp_path / "talks.h5"))
    for data in (read, again):
        assert data.observation_space == made.observation_space
        assert data.actions.tolist() == made.actions.tolist()
    tokens = again.observation_space.tokenizer
    assert tokens.decode(again[0].actions[again[0].extras["is_action"]]) == "hot é</a>"


def test_it_is_plain_data(folder):
    space = TokenSpace(SubwordTokenizer.from_folder(folder, has_unknown=True))
    again = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert again == space == copy.deepcopy(space)
    assert hash(again) == hash(space)
    assert again.tokenizer.has_unknown
    assert repr(space) == f"TokenSpace(SubwordTokenizer({len(space.tokenizer)} tokens))"


def test_text_that_would_change_is_refused():
    tokenizers = pytest.importorskip("tokenizers")
    letters = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, [])).to_str()
    with pytest.raises(DatasetError, match=r"makes 'a b' of 'acb'; .*has_unknown=True"):
        SubwordTokenizer(letters).encode("acb")
    assert SubwordTokenizer(letters, has_unknown=True).encode("acb") == [7, 8]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*tokenizer\.json; .*save_pretrained\(folder\)"):
        SubwordTokenizer.from_folder(tmp_path)
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected the text of a tokenizer\.json"):
        SubwordTokenizer.from_folder(tmp_path)
    with pytest.raises(FileFormatError, match="expected a tokenizer as JSON, but expected the text"):
        space_from_json({"kind": "tokens", "tokenizer": {"kind": "subword", "description": "{}"}})


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'offlinekit\[transformers\]'"):
        SubwordTokenizer.from_folder(tmp_path)

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, get_dataset, text_dataset
from offlinekit.datasets.families.dialogue_columns import Dialogue
from offlinekit.datasets.schema import columns_of
from offlinekit.envs.text import CharTokenizer
from offlinekit.errors import DatasetError, FileFormatError

TALK = {"dialogue": [["b", None], ["ab", -0.5], ["a", None], ["b", 2]], "terminal": False}
ROWS = [TALK, {"prompt": "a", "response": "bb", "reward": 0.25}]


def written(folder: Path, *lines: object) -> Path:
    path = folder / "talks.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_a_row_is_a_token_and_its_action_the_next_one(tmp_path: Path) -> None:
    """Tokens: <s> 1, </s> 2, <a> 3, </a> 4, </eod> 5, a 7, b 8.

    TALK is <s>b</s> <a>ab</a> <s>a</s> <a>b</a>, of 13 tokens, so 12 rows; what is left of it is its last token. Its
    agent's tokens are a, b, </a> and b, </a>; -0.5 and 2 are earned by the ends of its utterances.
    """
    dataset, env = get_dataset(written(tmp_path, *ROWS, "\n"))
    assert env is None
    tokens = [1, 8, 2, 3, 7, 8, 4, 1, 7, 2, 3, 8, 4]
    talk, answer = dataset
    assert talk.observations[:, 0].tolist() == tokens[:-1]
    assert talk.actions.tolist() == tokens[1:]
    assert talk.extras["is_action"].tolist() == [False] * 3 + [True] * 3 + [False] * 4 + [True] * 2
    assert talk.rewards.tolist() == [0, 0, 0, 0, 0, -0.5, 0, 0, 0, 0, 0, 2]
    assert talk.timeouts.tolist() == [False] * 11 + [True]
    assert not talk.terminals.any()
    assert talk.final_observations.tolist() == [[4]]
    # <s>a</s> <a>bb</a> </eod>: the end is nobody's choice.
    assert answer.actions.tolist() == [7, 2, 3, 8, 8, 4, 5]
    assert answer.extras["is_action"].tolist() == [False, False, False, True, True, True, False]
    assert answer.rewards.tolist() == [0, 0, 0, 0, 0, 0.25, 0]
    assert answer.terminals.tolist() == [False] * 6 + [True]
    assert dataset.action_space.n == dataset.observation_space.n == 9
    assert dataset.name == "talks"


def test_gzipped_lines_read_as_plain_ones(tmp_path: Path) -> None:
    plain = written(tmp_path, *ROWS)
    packed = tmp_path / "talks.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(get_dataset(packed)[0].actions, get_dataset(plain)[0].actions)
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(FileFormatError, match=r"talks\.jsonl\.gz is damaged .* fetch it again"):
        get_dataset(packed)


def test_lists_files_and_readers_agree(tmp_path: Path) -> None:
    read, _ = get_dataset(written(tmp_path, *ROWS))
    made = text_dataset(ROWS, name="talks")
    again = MDPDataset.load(made.save(tmp_path / "talks.h5"))
    for other in (made, again):
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            np.testing.assert_array_equal(getattr(read, name), getattr(other, name))
        assert read.observation_space == other.observation_space
    assert made.concat(made).n_episodes == 4
    with pytest.raises(DatasetError, match="space"):
        made.concat(text_dataset([{"prompt": "x", "response": "y", "reward": 0}]))


def test_fractions_of_rewards_are_kept_and_tokens_may_have_their_own() -> None:
    dataset = text_dataset([{"prompt": "", "response": "ab", "reward": [0.25, -0.75]}])
    assert dataset.rewards[dataset.extras["is_action"]].tolist() == [0.25, -0.75, 0.0]


@pytest.mark.parametrize("reward", [np.float32(0.5), np.int64(2), np.array([0.25, 0.5])])
def test_numbers_of_numpy_are_rewards(reward) -> None:
    dataset = text_dataset([{"prompt": "", "response": "ab", "reward": reward}])
    assert dataset.rewards.sum() == np.sum(reward)


def test_blank_lines_are_none(tmp_path: Path) -> None:
    dataset, _ = get_dataset(written(tmp_path, "\n", "  \n", ROWS[1], "\n", ROWS[1]))
    assert dataset.n_episodes == 2


def test_tokenizers_are_those_named_or_given(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "go on", "response": "on we go", "reward": 1})
    words = get_dataset(path, tokenizer="word")[0].observation_space.tokenizer
    assert words.pieces == (" ", "go", "on", "we")
    with pytest.raises(DatasetError, match="no character 'g'"):
        get_dataset(path, tokenizer=CharTokenizer("ab"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, r'dialogue 0: expected \{"dialogue"'),
        (3, r'expected \{"dialogue"'),
        ({"prompt": "a", "response": "b"}, "a response must have a reward"),
        ({"prompt": "a", "response": "b", "reward": True}, "got .*True"),
        ({"prompt": "a", "response": "b", "reward": float("nan")}, "a finite number"),
        ({"prompt": "a", "response": "b", "reward": "1"}, "a finite number"),
        ({"prompt": "a", "response": "b", "reward": 1e39}, "a finite number"),
        ({"prompt": "a", "response": "b", "reward": 10**400}, "a finite number"),
        ({"prompt": "a", "response": "b", "reward": np.bool_(True)}, "a finite number"),
        (Dialogue([("a", None), (3, 1.0)]), "pair of text and reward"),
        (Dialogue([("a", None), ("b", float("nan"))]), "a finite number"),
        ({"dialogue": [["a", 1.0]], "prompt": "b"}, r'dialogue 0: expected \{"dialogue"'),
        ({"prompt": 1, "response": "b", "reward": 1}, "pair of text and reward"),
        ({"dialogue": [["a"]]}, "pair of text and reward"),
        ({"dialogue": [["a", None]]}, "dialogue 0 has no utterance of the agent"),
        ({"dialogue": [["a", 1.0]], "terminal": 1}, "terminal must be true or false, got 1"),
        ({"dialogue": [["ab", [1.0]]]}, "turn 0 of dialogue 0 has 1 rewards for the 2 tokens"),
    ],
)
def test_other_rows_are_refused(row: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        text_dataset([row])


def test_turns_alone_are_a_dialogue() -> None:
    turns = [[("a", None), ("b", 1.0)], (["b", None], ["a", 0.5])]
    alone, named = text_dataset(turns), text_dataset([{"dialogue": each} for each in turns])
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(named, name))
    with pytest.raises(DatasetError, match="dialogue 0: a turn must be a pair of text and reward"):
        text_dataset([("a", None), ("b", 1.0)])  # One dialogue that is no list of dialogues.


def test_no_dialogues_are_no_dataset() -> None:
    with pytest.raises(DatasetError, match="no dialogues"):
        text_dataset([])


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="damaged at line 2"):
        get_dataset(written(tmp_path, ROWS[1], "{"))
    with pytest.raises(DatasetError, match="line 3: a response must have a reward"):
        get_dataset(written(tmp_path, ROWS[1], "\n", {"prompt": "", "response": ""}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": 3}, "actions must be the token of the next row, 8, got 3"),
        ({"observations": 2.5}, "observations must be whole numbers below 9, one a token, got 2.5"),
        ({"observations": 9.0}, "whole numbers below 9"),
        ({"observations": -1.0}, "whole numbers below 9"),
    ],
)
def test_text_that_is_not_its_own_sequel_is_refused(change: dict[str, float], message: str) -> None:
    columns = columns_of(text_dataset(ROWS))
    for name, value in change.items():
        columns[name] = columns[name].copy()
        columns[name][0] = value
    with pytest.raises(DatasetError, match=message):
        MDPDataset(**columns)


def test_actions_count_tokens() -> None:
    from gymnasium.spaces import Discrete

    with pytest.raises(DatasetError, match=r"action_space must be Discrete\(9\), as many as the tokens"):
        MDPDataset(**{**columns_of(text_dataset(ROWS)), "action_space": Discrete(10)})


def test_info_and_validate_describe_text(tmp_path: Path) -> None:
    path = str(written(tmp_path, *ROWS))
    shown = CliRunner().invoke(main, ["datasets", "info", path])
    assert "TokenSpace(CharTokenizer(9 tokens))" in shown.output
    assert "42.1% of the tokens are the agent's; begins '<s>b</s><a>ab</a><s>a</s><a>b'" in shown.output
    assert "is sound" in CliRunner().invoke(main, ["datasets", "validate", path]).output


@pytest.mark.parametrize(
    ("key", "meant"), [("terminall", "terminal"), ("rewards", "reward"), ("Dialogue", "dialogue")]
)
def test_a_key_that_is_nearly_one_is_refused(key: str, meant: str) -> None:
    row = {"prompt": "b", "response": "ab", "reward": 1.0, key: False}
    with pytest.raises(
        DatasetError, match=f"dialogue 0: '{key}' is no key of a dialogue; did you mean '{meant}'"
    ):
        text_dataset([row])


def test_keys_of_others_are_left_out() -> None:
    row = {"prompt": "b", "response": "ab", "reward": 1.0}
    numbered = {**row, "prompt_id": 3, "response_id": 4, "source": "x"}
    assert np.array_equal(text_dataset([row]).observations, text_dataset([numbered]).observations)

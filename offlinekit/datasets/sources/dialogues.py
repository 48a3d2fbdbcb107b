"""Dialogues as JSON lines, or as lists: a dataset with a row a token, whose action is the next token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from offlinekit.datasets.families.dialogue_columns import (
    Dialogue,
    Turn,
    dialogue_columns,
    dialogue_of,
    turns_to_answer,
)
from offlinekit.datasets.formats.gzipped import UNPACKING
from offlinekit.datasets.formats.json_files import parse, read_lines
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.envs.text.tokenizers import TokenizerLike
from offlinekit.errors import FileFormatError
from offlinekit.ground.hints import answers_guesses

Row: TypeAlias = "Dialogue | Mapping[str, object] | Sequence[Turn]"


@answers_guesses
def text_dataset(
    dialogues: Iterable[Row], *, tokenizer: TokenizerLike = "char", name: str = "custom"
) -> MDPDataset:
    """Builds a dataset from dialogues: a row a token, whose action is the next token.

    Args:
        dialogues: Each `{"dialogue": [[text, reward or None], ...]}`, None for what the environment says and a number
            for an utterance of the agent, or a number for each token of it; or `{"prompt": ..., "response": ...,
            "reward": ...}`. With `"terminal": False` the recording ended before the dialogue. The turns alone,
            `[(text, reward or None), ...]`, as `respond` takes them, are a dialogue that ended.
        tokenizer: "char" and "word" make one of all texts; a Tokenizer is used as it is, and the Path of a folder is
            that of its `tokenizer.json`.
        name: Of the dataset.

    Returns:
        Observations are tokens in a `TokenSpace`, which holds the tokenizer; the extra column `is_action` says which
        rows' actions are the agent's.

    Raises:
        DatasetError: For rows that are no dialogues, or text that the tokenizer does not have.
    """
    rows = [dialogue_of(_with_key(row), f"dialogue {number}") for number, row in enumerate(dialogues)]
    return MDPDataset(**dialogue_columns(rows, tokenizer), name=name)


def _with_key(row: Row) -> object:
    """Returns turns alone as the dialogue that they are; others as is."""
    return {"dialogue": row} if isinstance(row, list | tuple) and not isinstance(row, Dialogue) else row


def read(path: Path, *, tokenizer: TokenizerLike = "char") -> Columns:
    """Reads the columns of a file of JSON lines, one dialogue a line, as `text_dataset` takes them.

    Args:
        path: The file.
        tokenizer: As of `text_dataset`.

    Raises:
        FileFormatError: For a line that is no JSON.
        DatasetError: As `text_dataset`.
    """
    return {**dialogue_columns(list(read_dialogues(path)), tokenizer), "name": path.stem}


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """Yields the dialogues of a file of JSON lines; raises as `read`."""
    for row, where in _parsed(path):
        yield dialogue_of(row, where)


def read_turns_to_answer(path: Path) -> Iterator[list[Turn]]:
    """Yields the turns of prompts and dialogues in a file of JSON lines, up to the agent's turn; raises as `read`."""
    for row, where in _parsed(path):
        yield turns_to_answer(row, where)


def _parsed(path: Path) -> Iterator[tuple[object, str]]:
    """Yields what each line of a file says, and where it stands."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                row = parse(line)
            except (ValueError, *UNPACKING) as error:
                raise FileFormatError(
                    f"{path} is damaged at line {number} ({error}); fetch it again"
                ) from error
            yield row, f"{path}, line {number}"


def recognises(path: Path) -> bool:
    """Returns whether a file begins as dialogues do."""
    head = next((line for line in read_lines(path) if line.strip()), b"")
    try:
        row = parse(head)
    except ValueError:
        return False
    return isinstance(row, dict) and ("dialogue" in row or {"prompt", "response"} <= row.keys())


SOURCE = Source(
    summary="Dialogues of text and reward, or prompts and responses, as JSON lines.",
    suffixes=(".jsonl", ".jsonl.gz"),
    recognises=recognises,
    read=read,
)

"""Tokenizers: text to numbers and back, as plain data that travels with a dataset and a policy file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from offlinekit.errors import DatasetError, FileFormatError, did_you_mean

SPECIALS = ("<pad>", "<s>", "</s>", "<a>", "</a>", "</eod>", "<unk>")
"""Tokens beside those of text; they have the first numbers."""
PAD, ENV_BEGIN, ENV_END, AGENT_BEGIN, AGENT_END, DIALOGUE_END, UNKNOWN = range(len(SPECIALS))

TokenizerName = Literal["char", "word"]


class Tokenizer:
    """A vocabulary: special tokens first, then the pieces of text in the order given.

    Text cut into pieces and joined again is the same text, unless a piece is unknown.

    Args:
        pieces: Different pieces of text, none of them empty.
        has_unknown: Whether unknown pieces become "<unk>", in place of an error.

    Raises:
        ValueError: For a piece that is empty, is there twice, or is not one piece.
    """

    kind: ClassVar[str] = ""

    def __init__(self, pieces: Sequence[str], has_unknown: bool = False) -> None:
        self.pieces, self.has_unknown = tuple(pieces), bool(has_unknown)
        for piece in self.pieces:
            if self.cut(piece) != [piece]:
                raise ValueError(
                    f"each piece of a {type(self).__name__} must be one {self.kind}, got {piece!r}"
                )
        self.numbers = {piece: number for number, piece in enumerate(self.pieces, len(SPECIALS))}
        if len(self.numbers) < len(self.pieces):
            twice = Counter(self.pieces).most_common(1)[0][0]
            raise ValueError(f"pieces must differ, got {twice!r} twice")

    @classmethod
    def of(cls, texts: Iterable[str], has_unknown: bool = False) -> Tokenizer:
        """Makes the tokenizer of all pieces in some texts, in sorted order."""
        return cls(sorted({piece for text in texts for piece in cls.cut(text)}), has_unknown)

    @staticmethod
    def cut(text: str) -> list[str]:
        """Returns the pieces of a text, which joined are the text."""
        raise TypeError("make a CharTokenizer or a WordTokenizer")

    def __len__(self) -> int:
        """Returns the number of tokens, special ones included."""
        return len(SPECIALS) + len(self.pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.kind, self.pieces, self.has_unknown))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens)"

    def encode(self, text: str) -> list[int]:
        """Returns the numbers of the tokens of a text.

        Raises:
            DatasetError: For a piece that is not in the vocabulary.
        """
        pieces = self.cut(text)
        if self.has_unknown:
            return [self.numbers.get(piece, UNKNOWN) for piece in pieces]
        try:
            return [self.numbers[piece] for piece in pieces]
        except KeyError as error:
            unknown = str(error.args[0])
            raise DatasetError(
                f"the tokenizer has no {self.kind} {unknown!r}, which stands in {text[:60]!r}"
                f"{did_you_mean(unknown, self.pieces)}; make it of texts that have it, or with has_unknown=True"
            ) from error

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of tokens, special ones by their names.

        Raises:
            ValueError: For a number that is no token.
        """
        pieces = (*SPECIALS, *self.pieces)
        numbers = [int(token) for token in tokens]
        for number in numbers:
            if not 0 <= number < len(pieces):
                raise ValueError(f"tokens must lie in [0, {len(pieces)}), got {number}")
        return "".join(pieces[number] for number in numbers)

    def to_json(self) -> dict[str, str | bool | list[str]]:
        """Returns the tokenizer as plain data."""
        return {"kind": self.kind, "pieces": list(self.pieces), "has_unknown": self.has_unknown}


class CharTokenizer(Tokenizer):
    """One token a character.

    Args:
        pieces: The characters.
        has_unknown: Whether unknown characters become "<unk>", in place of an error.
    """

    kind = "character"

    @staticmethod
    def cut(text: str) -> list[str]:
        """Returns the characters of a text."""
        return list(text)


class WordTokenizer(Tokenizer):
    """One token a word, a punctuation mark or a run of white space.

    Args:
        pieces: Words, marks and runs of white space.
        has_unknown: Whether unknown ones become "<unk>", in place of an error.
    """

    kind = "word"

    @staticmethod
    def cut(text: str) -> list[str]:
        """Returns the words, marks and runs of white space of a text."""
        return re.findall(r"\w+|\s+|[^\w\s]", text)


TOKENIZERS: dict[str, type[Tokenizer]] = {"char": CharTokenizer, "word": WordTokenizer}


def tokenizer_of(tokenizer: Tokenizer | str, texts: Iterable[str]) -> Tokenizer:
    """Returns a tokenizer as it is, or the one of a name made of texts.

    Raises:
        ValueError: For an unknown name.
    """
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if tokenizer not in TOKENIZERS:
        raise ValueError(
            f"tokenizer must be 'char', 'word' or a Tokenizer, got {tokenizer!r}"
            f"{did_you_mean(str(tokenizer), TOKENIZERS)}"
        )
    return TOKENIZERS[tokenizer].of(texts)


def tokenizer_from_json(data: Mapping[str, object]) -> Tokenizer:
    """Returns the tokenizer that `to_json` wrote.

    Raises:
        FileFormatError: For data that describe none.
    """
    kinds = {made.kind: made for made in TOKENIZERS.values()}
    kind, pieces = data.get("kind"), data.get("pieces")
    if kind in kinds and isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
        try:
            return kinds[str(kind)](pieces, bool(data.get("has_unknown")))
        except ValueError as error:
            raise FileFormatError(f"expected a tokenizer as JSON, but {error}") from error
    raise FileFormatError(f"expected a tokenizer as JSON, got {str(data)[:200]}")

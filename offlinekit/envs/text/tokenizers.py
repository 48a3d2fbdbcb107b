"""Tokenizers: text to numbers and back, as plain data that travels with a dataset and a policy file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from offlinekit.errors import DatasetError, FileFormatError, did_you_mean, require
from offlinekit.ground.hints import answers_keywords

SPECIALS = ("<pad>", "<s>", "</s>", "<a>", "</a>", "</eod>", "<unk>")
"""Tokens beside those of text; they have the first numbers."""
PAD, ENV_BEGIN, ENV_END, AGENT_BEGIN, AGENT_END, DIALOGUE_END, UNKNOWN = range(len(SPECIALS))

TokenizerName = Literal["char", "word"]
TokenizerLike: TypeAlias = "Tokenizer | TokenizerName | Path"


@answers_keywords
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
        return "".join(pieces[number] for number in self._checked(tokens))

    def _checked(self, tokens: Iterable[int]) -> list[int]:
        numbers = [int(token) for token in tokens]
        for number in numbers:
            if not 0 <= number < len(self):
                raise ValueError(f"tokens must lie in [0, {len(self)}), got {number}")
        return numbers

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


@answers_keywords
class SubwordTokenizer(Tokenizer):
    """The tokenizer of a `tokenizer.json`, as the package tokenizers reads it; its tokens follow the special ones here.

    Args:
        description: What the file holds.
        has_unknown: Whether text is taken that does not come back as it was, in place of an error.

    Raises:
        MissingExtraError: Without the package.
        ValueError: For a description of no tokenizer.
    """

    kind = "subword"

    def __init__(self, description: str, has_unknown: bool = False) -> None:
        package = require("tokenizers", "transformers")
        try:
            self.made = package.Tokenizer.from_str(description)
        except Exception as error:  # The package raises no narrower one.
            raise ValueError(f"expected the text of a tokenizer.json, but {error}") from error
        self.made.no_padding()
        self.made.no_truncation()
        self.description, self.has_unknown = description, bool(has_unknown)
        self.n_tokens = len(SPECIALS) + max(self.made.get_vocab().values(), default=-1) + 1

    @classmethod
    def from_folder(cls, folder: str | Path, has_unknown: bool = False) -> SubwordTokenizer:
        """Reads the `tokenizer.json` in a folder; nothing is downloaded.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it describes no tokenizer.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no {path}; where transformers can read the folder, write it by "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
            )
        return cls(path.read_text(encoding="utf-8"), has_unknown)

    def __len__(self) -> int:
        """Returns the number of tokens, special ones included."""
        return self.n_tokens

    def __hash__(self) -> int:
        return hash((self.kind, self.description, self.has_unknown))

    def encode(self, text: str) -> list[int]:
        """Returns the numbers of the tokens of a text.

        Raises:
            DatasetError: For text that would not come back as it was.
        """
        numbers: list[int] = self.made.encode(text, add_special_tokens=False).ids
        tokens = [number + len(SPECIALS) for number in numbers]
        if not self.has_unknown and (back := self.decode(tokens)) != text:
            raise DatasetError(
                f"the tokenizer makes {back[:60]!r} of {text[:60]!r}; take another one, or pass has_unknown=True if "
                "such text may change"
            )
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of tokens, special ones by their names.

        Raises:
            ValueError: For a number that is no token.
        """
        texts = []
        for is_special, part in groupby(self._checked(tokens), lambda number: number < len(SPECIALS)):
            if is_special:
                texts += [SPECIALS[number] for number in part]
            else:
                own = [number - len(SPECIALS) for number in part]
                texts.append(self.made.decode(own, skip_special_tokens=False))
        return "".join(texts)

    def to_json(self) -> dict[str, str | bool | list[str]]:
        """Returns the tokenizer as plain data."""
        return {"kind": self.kind, "description": self.description, "has_unknown": self.has_unknown}


TOKENIZERS: dict[str, type[Tokenizer]] = {"char": CharTokenizer, "word": WordTokenizer}


def tokenizer_of(tokenizer: TokenizerLike, texts: Iterable[str]) -> Tokenizer:
    """Returns a tokenizer as it is, that of a folder, or the one of a name made of texts.

    Raises:
        ValueError: For an unknown name.
    """
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if isinstance(tokenizer, Path):
        return SubwordTokenizer.from_folder(tokenizer)
    if tokenizer not in TOKENIZERS:
        raise ValueError(
            f"tokenizer must be 'char', 'word', a Tokenizer or the Path of a folder, got {tokenizer!r}"
            f"{did_you_mean(str(tokenizer), TOKENIZERS)}"
        )
    return TOKENIZERS[tokenizer].of(texts)


def tokenizer_from_json(data: Mapping[str, object]) -> Tokenizer:
    """Returns the tokenizer that `to_json` wrote.

    Raises:
        FileFormatError: For data that describe none.
        MissingExtraError: For one of subwords without the package tokenizers.
    """
    kinds = {made.kind: made for made in TOKENIZERS.values()}
    kind, pieces, has_unknown = data.get("kind"), data.get("pieces"), bool(data.get("has_unknown"))
    try:
        if kind == SubwordTokenizer.kind and isinstance(description := data.get("description"), str):
            return SubwordTokenizer(description, has_unknown)
        if kind in kinds and isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
            return kinds[str(kind)](pieces, has_unknown)
    except ValueError as error:
        raise FileFormatError(f"expected a tokenizer as JSON, but {error}") from error
    raise FileFormatError(f"expected a tokenizer as JSON, got {str(data)[:200]}")

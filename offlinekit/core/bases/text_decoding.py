"""Utterances of a language model: token after token, by what a rule of decoding prefers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from offlinekit.configured import Configured
from offlinekit.datasets.families.dialogue_columns import (
    Dialogue,
    Turn,
    dialogue_tokens,
    turn_of,
    turns_to_answer,
)
from offlinekit.envs.text.token_space import tokenizer_in
from offlinekit.envs.text.tokenizers import AGENT_BEGIN, AGENT_END, PAD
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.fields import Count, NonNegative, Positive, Rate

if TYPE_CHECKING:
    from offlinekit.core.bases.text_model import Pasts, TextModelImpl

Conversation: TypeAlias = "str | Sequence[Turn] | Mapping[str, object]"
"""What was said: a prompt, or turns of text and reward, None for what the environment said; or as a file says it."""
DIALOGUES_AT_ONCE = 256


class Decoding(Configured):
    """A rule that chooses tokens by log pi + beta (min Q - V)."""

    method: Annotated[
        Literal["greedy", "sample", "beam"],
        "The best token, one drawn by the softmax, or the best utterance found.",
    ] = "greedy"
    temperature: Annotated[Positive, "The language model's logits are divided by it; advantages are not."] = (
        1.0
    )
    top_k: Annotated[Count | None, "So many likely tokens of the language model may be chosen."] = None
    top_p: Annotated[Rate, "Likely tokens that together have this probability may be chosen."] = 1.0
    beta: Annotated[NonNegative | None, "Weight of the advantage; None takes the algorithm's."] = None
    n_beams: Annotated[Count, "Beginnings that a beam search keeps."] = 4
    max_tokens: Annotated[Count | None, "Of an utterance; None goes as far as `max_length` does."] = None

    field_word: ClassVar[str] = "option"

    def log_probs(self, logits: Tensor) -> Tensor:
        """Returns the log-probabilities [..., A] of the tokens that may be chosen, -inf for others."""
        logits = logits / self.temperature
        if self.top_k is not None:
            lowest = logits.topk(min(self.top_k, logits.shape[-1]), -1).values[..., -1:]
            logits = logits.masked_fill(logits < lowest, -torch.inf)
        if self.top_p < 1.0:
            ordered, places = logits.softmax(-1).sort(-1, descending=True)
            before = ordered.cumsum(-1) - ordered
            is_out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, places, before >= self.top_p)
            logits = logits.masked_fill(is_out, -torch.inf)
        return logits.log_softmax(-1)


PLAIN = Decoding()


class _Prompts(NamedTuple):
    """Dialogues up to where the agent begins to speak, padded on the left."""

    tokens: Tensor  # float [B, K, 1].
    valid: Tensor  # bool [B, K].


def respond(impl: TextModelImpl, dialogues: Sequence[Conversation], decoding: Decoding) -> list[str]:
    """Returns the next utterance of the agent in each dialogue.

    Raises:
        UnsupportedError: For a model of observations that are no text, and for `beta` of one without values.
        DatasetError: For a dialogue that leaves no room for a token.
    """
    tokenizer = tokenizer_in(impl.observation_space, "respond()")
    if decoding.beta and not impl.has_value:
        raise UnsupportedError(
            f"{type(impl.config).__name__} has no values for beta to weigh, got beta={decoding.beta}; leave it out"
        )
    answers: list[str] = []
    at_once = 1 if decoding.method == "beam" else DIALOGUES_AT_ONCE
    for start in range(0, len(dialogues), at_once):
        part = dialogues[start : start + at_once]
        prompts = [_prompt(impl, dialogue, start + i) for i, dialogue in enumerate(part)]
        longest = max(map(len, prompts))
        rooms = [
            impl.config.max_length - len(prompt) + 1 for prompt in prompts
        ]  # A last token is never seen.
        limits = [min(room, decoding.max_tokens or room) for room in rooms]
        filled = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        valid = torch.arange(longest) >= longest - lengths.unsqueeze(1)
        given = _Prompts(filled.float().unsqueeze(-1).to(impl.device), valid.to(impl.device))
        choose = _beam if decoding.method == "beam" else _step_by_step
        for tokens in choose(impl, given, decoding, limits):
            answers.append(tokenizer.decode(tokens))
    return answers


def _prompt(impl: TextModelImpl, dialogue: Conversation, number: int) -> list[int]:
    tokenizer, most = tokenizer_in(impl.observation_space, "respond()"), impl.config.max_length
    turns = [(dialogue, None)] if isinstance(dialogue, str) else dialogue
    if isinstance(turns, Mapping | Dialogue):
        turns = turns_to_answer(turns, f"dialogue {number}")
    if not isinstance(turns, Sequence):
        raise DatasetError(f"dialogue {number} must be a prompt, or turns of text and reward, got {turns!r}")
    turns = [turn_of(turn, f"dialogue {number}") for turn in turns]
    tokens = [*dialogue_tokens(tokenizer, turns), AGENT_BEGIN]
    if len(tokens) > most:
        raise DatasetError(
            f"dialogue {number} has {len(tokens)} tokens, but the model takes max_length={most}; leave out its "
            "oldest turns"
        )
    return tokens


def _step_by_step(
    impl: TextModelImpl, prompts: _Prompts, decoding: Decoding, limits: Sequence[int]
) -> Iterator[list[int]]:
    """Yields the tokens of each utterance, chosen one after another."""
    pasts: Pasts = {}
    seen, valid = prompts
    said: list[list[int]] = [[] for _ in range(len(seen))]
    is_speaking, room = torch.ones(len(seen), dtype=torch.bool, device=seen.device), torch.tensor(limits)
    for number in range(1, max(limits) + 1):
        scores = impl.scores(seen, valid, pasts, decoding)[:, -1]
        chosen = impl.random.categorical(scores) if decoding.method == "sample" else scores.argmax(-1)
        is_speaking = is_speaking & (chosen != AGENT_END)
        for tokens, token, speaks in zip(said, chosen.tolist(), is_speaking.tolist(), strict=True):
            tokens.extend([token] if speaks else [])
        is_speaking = is_speaking & (number < room.to(seen.device))
        if not is_speaking.any():
            break
        seen, valid = chosen.float().view(-1, 1, 1), is_speaking.unsqueeze(1)
    yield from said


def _beam(
    impl: TextModelImpl, prompts: _Prompts, decoding: Decoding, limits: Sequence[int]
) -> Iterator[list[int]]:
    """Yields the tokens of the one utterance, among those that were kept, whose scores have the largest sum."""
    pasts: Pasts = {}
    seen, valid = prompts
    beginnings: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for _ in range(limits[0]):
        scores = impl.scores(seen, valid, pasts, decoding)[:, -1]
        sums = scores + torch.tensor([total for total, _ in beginnings], device=scores.device).unsqueeze(1)
        best = sums.flatten().topk(min(decoding.n_beams, sums.numel()))
        rows, tokens = best.indices // sums.shape[1], best.indices % sums.shape[1]
        found = [
            (total, [*beginnings[row][1], token], row)
            for total, row, token in zip(best.values.tolist(), rows.tolist(), tokens.tolist(), strict=True)
            if total > -torch.inf
        ]
        finished += [(total, said[:-1]) for total, said, _ in found if said[-1] == AGENT_END]
        finished = sorted(finished, key=lambda pair: -pair[0])[: decoding.n_beams]
        kept = [(total, said, row) for total, said, row in found if said[-1] != AGENT_END]
        if not kept:
            beginnings = []
            break
        beginnings = [(total, said) for total, said, _ in kept]
        chosen = torch.tensor([row for _, _, row in kept], device=scores.device)
        pasts = {name: past.select(chosen) for name, past in pasts.items()}
        seen = torch.tensor([said[-1] for _, said, _ in kept], device=scores.device).float().view(-1, 1, 1)
        valid = torch.ones((len(kept), 1), dtype=torch.bool, device=scores.device)
    yield max(finished or beginnings, key=lambda pair: pair[0])[1]

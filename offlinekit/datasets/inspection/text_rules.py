"""The rules that columns of text must keep: observations are tokens, and each action is the next one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from offlinekit.datasets.draft import Draft
from offlinekit.datasets.findings import Finding, fault
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.types import Array


def no_tokens(draft: Draft) -> Iterator[Finding]:
    """Finds observations of text that are no numbers of tokens, and actions that do not count them."""
    space, tokens = draft.given.get("observation_space"), _tokens(draft)
    if tokens is None or not isinstance(space, TokenSpace):
        return
    wrong = np.flatnonzero(space.foreign(tokens))
    if len(wrong):
        message = f"must be whole numbers below {space.n}, one a token, got {tokens[wrong[0]]:g}"
        yield fault("observations", message, "encode the text by the tokenizer of its space", wrong)
    n_actions = getattr(draft.action_space, "n", None)
    if n_actions != space.n:
        message = f"must be Discrete({space.n}), as many as the tokens of {space}, got {draft.action_space}"
        yield fault("action_space", message, "leave it to text_dataset, which declares both")


def broken_text(draft: Draft) -> Iterator[Finding]:
    """Finds rows of text whose action is not the token of the next row."""
    tokens, ends, actions = _tokens(draft), draft.ends, draft.columns.get("actions")
    if tokens is None or ends is None or actions is None or actions.ndim != 1:
        return
    following = np.append(tokens[1:], -1.0)
    is_inner = np.ones(len(tokens), np.bool_)
    is_inner[ends - 1] = False
    wrong = np.flatnonzero(is_inner & (following != actions))
    if len(wrong):
        message = f"must be the token of the next row, {following[wrong[0]]:g}, got {actions[wrong[0]]}"
        yield fault("actions", message, "keep rows in order of time, one a token", wrong)


def _tokens(draft: Draft) -> Array | None:
    """Returns the tokens [N], or None for observations that are no text."""
    observations = draft.columns.get("observations")
    if not isinstance(draft.given.get("observation_space"), TokenSpace) or observations is None:
        return None
    tokens: Array = observations[:, 0]
    return tokens

"""Policies for others: cards that describe them, the rows they have seen, folders and hubs that hold them."""

from __future__ import annotations

from offlinekit.core.sharing.beside import card_of
from offlinekit.core.sharing.bundle import pull, push
from offlinekit.core.sharing.card import write_card
from offlinekit.core.sharing.seen_rows import SeenRows

__all__ = ["SeenRows", "card_of", "pull", "push", "write_card"]

"""The log of events: structlog onto the standard logger "offlinekit", configured by the user alone."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog


def in_words(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Returns an event as a line: what happened, facts by name, reason and remedy; warnings say that they are."""
    facts = dict(event)
    said, level = facts.pop("event"), facts.pop("level", "")
    words = "".join(f"; {facts.pop(name)}" for name in ("reason", "remedy") if name in facts)
    named = ", ".join(f"{name} {value}" for name, value in facts.items())
    return f"{'Warning: ' * (level == 'warning')}{said}{f' ({named})' if named else ''}{words}"


def get_logger() -> structlog.stdlib.BoundLogger:
    """Returns a structured logger; `logging.getLogger("offlinekit")` decides what is shown."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger("offlinekit"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            in_words,
        ],
    )
    return logger

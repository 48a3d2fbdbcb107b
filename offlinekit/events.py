"""The log of events: structlog onto the standard logger "offlinekit", configured by the user alone."""

from __future__ import annotations

import logging

import structlog


def get_logger() -> structlog.stdlib.BoundLogger:
    """Returns a structured logger; `logging.getLogger("offlinekit")` decides what is shown."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger("offlinekit"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
    )
    return logger

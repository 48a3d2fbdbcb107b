"""Events of the log are lines that people read."""

from __future__ import annotations

import logging

import pytest

from offlinekit.events import get_logger


def test_an_event_is_a_line_in_words(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "offlinekit"):
        get_logger().warning("objective stays eager", objective="actor", reason="it looked at a number")
        get_logger().info("run finished", step=3)
    assert [record.getMessage() for record in caplog.records] == [
        "Warning: objective stays eager (objective actor); it looked at a number",
        "run finished (step 3)",
    ]

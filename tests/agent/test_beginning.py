"""The agent begins to live as soon as it can."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import cast

import pytest

from kns.agent import agent as agent_module
from kns.agent.agent import Agent
from kns.agent.live import Live


def test_a_lab_that_can_not_begin_to_live_begins_once_it_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full for a while: the lab's API is there afterwards, and told once."""
    monkeypatch.setattr(agent_module, "LIVE_RETRY", 0.001)
    alive = cast("Live", object())
    left = [True] * 5

    async def live(_agent: Agent) -> Live:
        if left:
            left.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        return alive

    monkeypatch.setattr(Agent, "live", live)
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(object.__new__(Agent)._living()) is alive
    assert [record.message for record in caplog.records] == ["the lab does not begin to live yet"]

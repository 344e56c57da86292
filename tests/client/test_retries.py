"""What a client does when connections break: little more than it was asked, and never what does harm twice."""

import asyncio
import time

import pytest
from tests.online.test_remote import HEAD, Odd

from likewise.client import AsyncClient, Client
from likewise.online.base import Disconnected
from likewise.online.deadline import DeadlineExceeded

ROWS = {"driver_id": [1]}


def test_broken_calls_are_tried_again_within_a_budget():
    """A hundred reads whose connections break are at most a hundred and ten calls, and at least a hundred and five."""
    with Odd(b"") as odd, Client(f"http://127.0.0.1:{odd.port}") as client:
        for _ in range(100):
            with pytest.raises(Disconnected):
                client.get_online_features("driver_stats", ROWS)
        assert 105 <= odd.calls <= 110


def test_a_push_is_tried_again_only_by_its_name():
    """A push without an idempotency key is sent once, also when there is a budget for more."""
    with Odd(b"") as odd, Client(f"http://127.0.0.1:{odd.port}") as client:
        for _ in range(50):
            with pytest.raises(Disconnected):
                client.push("cities", ROWS)
        assert odd.calls == 50
        with pytest.raises(Disconnected):
            client.push("cities", ROWS, idempotency_key="a")
        assert odd.calls == 52


@pytest.mark.parametrize("answer", [b"", HEAD + b"x" * 999])
def test_a_call_ends_in_time(answer):
    """However a server is silent or trickles, both clients give up when the time of the call is over."""
    with Odd(answer, pause=0.05 if answer else 30.0) as odd, Client(f"http://127.0.0.1:{odd.port}") as client:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.get_online_features("driver_stats", ROWS, timeout=0.3)
        assert time.monotonic() - began < 1

        async def ask():
            async with AsyncClient(f"http://127.0.0.1:{odd.port}", timeout=0.3) as waiting:
                await waiting.get_online_features("driver_stats", ROWS)

        began = time.monotonic()
        with pytest.raises(TimeoutError):
            asyncio.run(ask())
        assert time.monotonic() - began < 1.5

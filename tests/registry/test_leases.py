"""A lease has one owner at a time, and a late owner is fenced off."""

import pytest

from likewise.registry.base import Registry
from likewise.registry.leases import Lease, LeaseLost, LeaseTaken, acquire, holder, release, renew
from likewise.registry.memory import MemoryRegistry


@pytest.fixture
def registry() -> Registry:
    """Return a registry without leases."""
    return MemoryRegistry()


def test_a_free_lease_is_granted(registry: Registry) -> None:
    """A lease that nobody holds is granted until now + ttl, with token 1."""
    lease = acquire(registry.side, "demo", "job", "ada", ttl=10, now=100)
    assert lease == Lease("demo", "job", "ada", 1, 110)
    assert holder(registry.side, "demo", "job", now=109) == lease
    assert holder(registry.side, "demo", "other", now=109) is None


@pytest.mark.parametrize("owner", ["bob", "ada"])
def test_a_held_lease_is_refused(registry: Registry, owner: str) -> None:
    """A held lease is refused with its owner and its end, to the same owner as well."""
    acquire(registry.side, "demo", "job", "ada", ttl=1_000_000, now=0)
    with pytest.raises(LeaseTaken, match=r"'job' is in the hands of 'ada' until 1970-01-01T00:00:01\+00:00") as caught:
        acquire(registry.side, "demo", "job", owner, ttl=10, now=999_999)
    assert (caught.value.owner, caught.value.until, caught.value.transient) == ("ada", 1_000_000, True)


def test_an_expired_lease_can_be_taken(registry: Registry) -> None:
    """At its end a lease is over: another takes it with a greater token, and the first can neither renew nor end it."""
    first = acquire(registry.side, "demo", "job", "ada", ttl=10, now=0)
    assert holder(registry.side, "demo", "job", now=10) is None
    second = acquire(registry.side, "demo", "job", "bob", ttl=10, now=10)
    assert second.token > first.token
    with pytest.raises(LeaseLost, match="the lease on 'job' of 'ada' is lost"):
        renew(registry.side, first, ttl=10, now=11)
    release(registry.side, first)
    assert holder(registry.side, "demo", "job", now=11) == second


def test_a_renewed_lease_lasts_longer(registry: Registry) -> None:
    """A renewal lasts from now, keeps the token, and is possible after the end while nobody took it."""
    first = acquire(registry.side, "demo", "job", "ada", ttl=10, now=0)
    renewed = renew(registry.side, first, ttl=10, now=50)
    assert (renewed.until, renewed.token) == (60, first.token)
    with pytest.raises(LeaseTaken):
        acquire(registry.side, "demo", "job", "bob", ttl=10, now=59)
    release(registry.side, first)
    with pytest.raises(LeaseLost):
        renew(registry.side, renewed, ttl=10, now=51)


def test_tokens_grow_over_releases(registry: Registry) -> None:
    """A lease that was given back is granted again with a greater token."""
    tokens = []
    for now in range(3):
        lease = acquire(registry.side, "demo", "job", "ada", ttl=10, now=now)
        tokens.append(lease.token)
        release(registry.side, lease)
        release(registry.side, lease)
    assert tokens == [1, 2, 3]

"""likewise keys: make, list and revoke access keys."""

import json
import re

import pytest

from likewise.cli.commands.keys import SCOPES
from likewise.registry import keys as stored

TOKEN = re.compile(r"lw_([0-9]{12})_[A-Za-z0-9_-]{43}")


def made(run, *args, **more):
    """Make a key, and return what is told of it."""
    done = run("keys", "create", *args, "--output", "json", **more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_token_alone_is_on_standard_output(applied):
    """The token is printed once, where a shell can take it; what people read of it is on standard error."""
    done = applied("keys", "create", "web", "--scope", "read")
    assert done.exit_code == 0
    (token,) = done.stdout.splitlines()
    number = TOKEN.fullmatch(token)[1]
    assert token not in done.stderr
    assert f"Access key 'web' (id {number}) for project 'fleet': read: everything." in done.stderr
    assert "It ends: 2024-08-30T12:00:00Z." in done.stderr


def test_a_key_has_what_was_asked_for_and_nothing_else(applied):
    """Scopes, views and services are as given, once each; without --expires a key ends after 90 days."""
    told = made(applied, "shop", "--scope", "write", "--scope", "read", "--scope", "read", "--view", "driver_city")
    assert TOKEN.fullmatch(told.pop("token"))[1] == told.pop("id")
    assert told == {
        "name": "shop",
        "state": "active",
        "scopes": ["write", "read"],
        "views": ["driver_city"],
        "services": [],
        "created": "2024-06-01T12:00:00Z",
        "expires": "2024-08-30T12:00:00Z",
        "revoked": None,
    }
    assert SCOPES == stored.SCOPES


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ("12h", "2024-06-02T00:00:00Z"),
        ("1w", "2024-06-08T12:00:00Z"),
        ("30m", "2024-06-01T12:30:00Z"),
        ("1s", "2024-06-01T12:00:01Z"),
        ("2024-12-24", "2024-12-24T00:00:00Z"),
        ("2024-12-24T18:00:00+01:00", "2024-12-24T17:00:00Z"),
        ("never", None),
    ],
)
def test_a_key_ends_when_it_is_told_to(applied, given, ends):
    """--expires takes a span, a time, or never, which has to be said."""
    assert made(applied, "web", "--scope", "read", "--expires", given)["expires"] == ends


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2024-06-01T12:00:00Z", "has passed already"),
        ("0d", "has passed already"),
        ("-1d", "is no time"),
        ("90", "is no time"),
        ("90 d", "is no time"),
        ("", "is no time"),
        ("999999999w", "is no time"),
        ("3000000d", "is after the year 9999"),
    ],
)
def test_an_end_that_cannot_be_is_refused(applied, given, said):
    """What is no time to come makes no key, and the message says how to write one."""
    done = applied("keys", "create", "web", "--scope", "read", "--expires", given)
    assert done.exit_code == 64
    assert said in done.stderr
    assert json.loads(applied("keys", "list", "--output", "json").stdout) == []


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--scope", "read", "--view", "driver_stat"], 1, "did you mean 'driver_stats' or"),
        (["--scope", "read", "--service", "fleet_v2"], 1, "did you mean 'fleet_v1'?"),
        (["--scope", "read", "--view", "fares"], 1, "add --view driver_stats"),
        (["--scope", "write", "--service", "fleet_v1"], 1, "a key that is limited to services may only read"),
        (["--scope", "all"], 64, "'read', 'write', 'admin'"),
        ([], 64, "--scope"),
    ],
)
def test_a_key_that_could_not_do_its_work_is_refused(applied, options, code, said):
    """Unknown views, services and scopes are refused with near misses, and so is a key that would be of no use."""
    done = applied("keys", "create", "web", *options)
    assert done.exit_code == code
    assert said in done.stderr
    assert json.loads(applied("keys", "list", "--output", "json").stdout) == []


def test_the_list_says_all_but_the_secrets(applied):
    """Each key is listed with its state and what it allows; neither token nor hash is anywhere."""
    assert "has no access keys" in applied("keys", "list").stdout
    first = made(applied, "short", "--scope", "admin", "--expires", "1h")
    limits = ["--service", "pricing_v1", "--view", "driver_stats"]
    second = made(applied, "shop", "--scope", "read", *limits, now="2024-06-01T12:30:00Z")
    applied("keys", "revoke", "shop")
    later = {"now": "2024-06-01T13:00:00Z"}
    table, data = applied("keys", "list", **later), applied("keys", "list", "--output", "json", **later)
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["ID", "NAME", "STATE", "CREATED", "EXPIRES", "ALLOWED"],
        [first["id"], "short", "expired", "2024-06-01T12:00:00Z", "2024-06-01T13:00:00Z", "admin:", "everything"],
        [
            *[second["id"], "shop", "revoked", "2024-06-01T12:30:00Z", "2024-08-30T12:30:00Z", "read:"],
            *["view", "driver_stats,", "service", "pricing_v1"],
        ],
    ]
    assert [key["state"] for key in json.loads(data.stdout)] == ["expired", "revoked"]
    for told in (first, second):
        assert told["token"].rpartition("_")[2] not in table.output + data.output
    assert "hash" not in data.output


def test_a_key_is_revoked_by_id_name_or_token(applied):
    """Revoking says since when; doing it again changes nothing; an unknown name is told with near misses."""
    told = made(applied, "web", "--scope", "read")
    done = applied("keys", "revoke", told["token"])
    assert done.exit_code == 0
    assert f"Access key 'web' (id {told['id']}) is revoked since 2024-06-01T12:00:00Z." in done.stdout
    assert told["token"] not in done.output
    again = applied("keys", "revoke", told["id"], "--output", "json", now="2024-06-02")
    assert json.loads(again.stdout)["revoked"] == "2024-06-01T12:00:00Z"
    missing = applied("keys", "revoke", "wed")
    assert missing.exit_code == 1
    assert "known: 'web'" in missing.stderr


def test_keys_outlive_a_teardown(applied):
    """Tearing down a project does not let in whoever had to show a key before."""
    made(applied, "web", "--scope", "read")
    assert applied("teardown", "--yes").exit_code == 0
    assert [key["name"] for key in json.loads(applied("keys", "list", "--output", "json").stdout)] == ["web"]

"""``likewise audit``: who changed what, and whether the log of it is whole."""

import json


def test_audit_lists_what_was_done_newest_first(applied, monkeypatch):
    """Applies, materializations and deletions are entries, with who and when; kinds and times narrow them."""
    monkeypatch.setenv("LIKEWISE_ACTOR", "ada")
    applied("materialize", "2024-05-01", "2024-06-01")
    applied("delete-online-keys", "driver_stats", "-e", "driver_id=1", "--yes")
    lines = applied("audit").stdout.splitlines()
    assert lines[0].split() == ["NUMBER", "WHEN", "BY", "WHAT", "TO"]
    told = json.loads(applied("audit", "--output", "json").stdout)
    assert [entry["what"] for entry in told] == ["delete", "materialize", "materialize", "apply"]
    assert [entry["number"] for entry in told] == [4, 3, 2, 1]
    assert told[0]["objects"] == ["feature view 'driver_stats'"]
    assert told[0]["who"] == "ada"
    assert "driver_id" not in json.dumps(told[0])
    assert len(json.loads(applied("audit", "--what", "materialize", "--output", "json").stdout)) == 2
    assert json.loads(applied("audit", "--since", "2030-01-01", "--output", "json").stdout) == []


def test_audit_check_says_where_the_log_was_changed(applied):
    """A whole log is told with its newest hash; one that lacks what was noted before ends with exit code 1."""
    done = applied("audit", "--check", "--output", "json")
    noted = json.loads(done.stdout)
    assert (done.exit_code, noted["entries"]) == (0, 1)
    assert applied("audit", "--check", "--hash", noted["hash"]).exit_code == 0
    done = applied("audit", "--check", "--hash", "f" * 64)
    assert done.exit_code == 1
    assert "no entry has the hash" in done.stderr


def test_making_and_ending_a_key_are_entries_without_its_token(applied):
    """The log names the key, its id and its scopes; never the token."""
    token = applied("keys", "create", "web", "--scope", "read", "--output", "json").stdout
    secret = json.loads(token)["token"]
    applied("keys", "revoke", "web")
    told = applied("audit", "--output", "json").stdout
    assert [entry["what"] for entry in json.loads(told)] == ["revoke key", "create key", "apply"]
    assert json.loads(told)[1]["objects"] == ["access key 'web'"]
    assert secret.rpartition("_")[2] not in told

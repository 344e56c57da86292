import json

import pytest

from likewise.cli.commands.explain import one_key
from likewise.core.errors import RequestError


def test_explain_prints_the_value_and_its_row(applied):
    """A value comes with its definition, its catalog, the ttl and the row that it is from."""
    done = applied("explain", "driver_stats:trips", "--key", "driver_id=1", "--at", "2024-05-30")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "driver_stats:trips is 10 (PRESENT)"
    assert lines[1] == "  for driver_id=1 at 2024-05-30T00:00:00Z"
    assert lines[2].endswith(" of catalog 1")
    assert "    2024-05-29T00:00:00Z  10  (row 0 of data/trips.parquet)" in lines
    assert lines[-1] == "  computed again from this: 10"


def test_explain_is_for_now_unless_a_time_is_given(applied):
    """Without --at the value is that of now; an expired row is shown as such."""
    assert applied("explain", "driver_stats:trips", "-k", "driver_id=1").stdout.startswith("driver_stats:trips is 11")
    expired = applied("explain", "driver_stats:rating", "-k", "driver_id=3").stdout
    assert expired.startswith("driver_stats:rating is None (OUTSIDE_MAX_AGE)")
    assert "expired: 2024-05-02T00:00:00Z  1.0" in expired


def test_explain_online_reads_the_online_store(applied):
    """With --online the value is that of the online store, and so is the record that is shown."""
    assert "(NOT_FOUND)" in applied("explain", "driver_stats:trips", "-k", "driver_id=1", "--online").stdout
    applied("materialize-incremental", "2024-06-01")
    found = applied("explain", "driver_stats:trips", "-k", "driver_id=1", "--online").stdout
    assert found.startswith("driver_stats:trips is 11 (PRESENT)")
    assert "(online table fleet/driver_stats@" in found


def test_explain_as_json_has_everything(applied):
    """JSON has the whole record, times as ISO 8601."""
    done = applied("explain", "driver_stats:trips", "-k", "driver_id=1", "--as-of", "2024-05-30", "--output", "json")
    data = json.loads(done.stdout)
    assert (data["value"], data["recomputed"], data["status"], data["key"]) == (10, 10, "PRESENT", {"driver_id": 1})
    assert (data["at"], data["rule"], data["ttl_seconds"]) == ("2024-05-30T00:00:00Z", "latest row", 604800.0)
    assert data["row"]["path"] == "data/trips.parquet"


def test_explain_says_what_is_wrong(applied):
    """A view without a feature, a key that is no key, and an unknown feature are errors with a cure."""
    for given, said in (
        (["driver_stats", "-k", "driver_id=1"], "'driver_stats' is 2 features"),
        (["driver_stats:trip", "-k", "driver_id=1"], "did you mean 'trips'"),
        (["driver_stats:trips", "-k", "driver=1", "-k", "driver=2"], "is 2 keys"),
        (["driver_stats:trips"], "driver_id"),
        (["fares:fare_per_star", "-k", "driver_id=1"], "explain what it is given: driver_stats:trips"),
    ):
        wrong = applied("explain", *given)
        assert (wrong.exit_code, said in wrong.stderr) == (1, True), wrong.output


def test_a_key_may_be_written_in_several_ways():
    """Several options, commas between columns, and JSON give the same key."""
    for given in (["a=1", "b=2"], ["a=1,b=2"], ["a=1, b=2"], ['{"a": "1", "b": "2"}']):
        assert one_key(given) == {"a": "1", "b": "2"}
    assert one_key(["city=Rome, Italy"]) == {"city": "Rome, Italy"}
    assert one_key([]) == {}
    with pytest.raises(RequestError, match="'7' is no key"):
        one_key(["7"])

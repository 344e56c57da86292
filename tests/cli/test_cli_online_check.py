"""``likewise verify-online`` and ``likewise rebuild-online``: what is stored against what the sources say."""

import json

import pyarrow.parquet as pq


def test_a_filled_store_has_no_difference(applied):
    """Every view is told with its watermark, its keys, and how many are equal."""
    applied("materialize", "2024-05-01", "2024-06-01")
    done = applied("verify-online")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["VIEW", "UP", "TO", "KEYS", "EQUAL", "DIFFERENT", "OTHERS"]
    assert ["driver_stats", "2024-06-01T00:00:00Z", "3", "3", "0", "-"] in lines
    assert ["driver_city", "2024-06-01T00:00:00Z", "1", "1", "0", "-"] in lines


def test_what_differs_is_told_with_its_key_and_is_mended(applied, repo):
    """A source that changed since is found with exit code 1, by key and feature; a rebuild stores what it says now."""
    applied("materialize", "2024-05-01", "2024-06-01")
    file = repo / "data" / "trips.parquet"
    table = pq.read_table(file)
    pq.write_table(table.set_column(2, "trips", [[10, 11, 21, None]]), file)
    done = applied("verify-online", "driver_stats", "--output", "json")
    [found] = json.loads(done.stdout)
    assert (done.exit_code, found["differences"], found["counts"]) == (1, 1, {"different": 1, "equal": 2})
    assert found["examples"] == [
        {
            "kind": "different",
            "key": {"driver_id": 2},
            "offline_event_time": "2024-05-30T00:00:00Z",
            "online_event_time": "2024-05-30T00:00:00Z",
            "features": {"trips": {"offline": 21, "online": 20}},
        }
    ]
    told = applied("verify-online", "driver_stats").stdout
    assert "driver_stats: driver_id=2: different; source 2024-05-30" in told
    assert "trips: 21 in the source, 20 online" in told
    assert applied("rebuild-online", "driver_stats", "--no-progress").exit_code == 0
    assert applied("verify-online").exit_code == 0
    said = applied("get-online-features", "-f", "driver_stats:trips", "-e", "driver_id=2", "--output", "json").stdout
    assert 21 in json.loads(said)["results"][1]["values"]


def test_a_view_nobody_has_is_refused_by_name(applied):
    """Near misses are offered."""
    done = applied("verify-online", "driver_stat")
    assert done.exit_code == 1
    assert "driver_stats" in done.stderr

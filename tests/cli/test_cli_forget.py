"""``likewise forget``: an entity is taken out of the store, after asking, and what others still hold is told."""

import json


def test_forget_asks_then_tells_what_was_done_and_what_is_left(applied, repo):
    """Without --yes nothing is done; files that the store does not own are named, with exit code 1."""
    applied("materialize", "2024-05-01", "2024-06-01")
    pushed = '{"driver_id": 1, "city": "Rome", "event_timestamp": "2024-05-31T10:00:00Z"}'
    assert applied("push", "cities", pushed, "--to", "both").exit_code == 0
    assert applied("forget", "--key", "driver_id=1", interactive=False).exit_code == 3
    done = applied("forget", "--key", "driver_id=1", "--yes", "--output", "json")
    told = {each["view"]: each for each in json.loads(done.stdout)}
    assert (done.exit_code, told["driver_city"]["rows"], told["driver_city"]["online_keys"]) == (1, 1, 1)
    assert told["driver_stats"]["left"] == {str(repo / "data" / "trips.parquet"): 2}
    said = applied("get-online-features", "-f", "driver_stats:trips", "-f", "driver_city", "-e", "driver_id=1").stdout
    assert said.count("NOT_FOUND") == 2
    again = applied("forget", "--key", "driver_id=1", "--yes").stdout
    assert "still holds 2 rows; it is not the store's own" in again


def test_a_key_nobody_has_is_refused(applied):
    """With near misses, before anything is asked."""
    done = applied("forget", "--key", "driver=1", "--yes")
    assert done.exit_code == 1
    assert "driver_id" in done.stderr

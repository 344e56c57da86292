import json
import re

import pytest

GROUPS = {
    "feature-views": "driver_stats",
    "on-demand-feature-views": "fares",
    "feature-services": "fleet_v1",
    "entities": "driver",
    "data-sources": "trips",
}


@pytest.mark.parametrize(("group", "name"), GROUPS.items())
def test_every_kind_is_listed_and_described(applied, group, name):
    """Each group lists its definitions as a table or as JSON, and describes one."""
    listed = applied(group, "list")
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert listed.stdout.startswith("NAME ")
    assert any(line.split()[0] == name for line in listed.stdout.splitlines())
    data = json.loads(applied(group, "list", "--output", "json").stdout)
    assert name in [each["name"] for each in data]
    described = applied(group, "describe", name)
    assert described.exit_code == 0
    assert described.stdout.splitlines()[0].endswith(f" {name}")
    whole = json.loads(applied("--output", "json", group, "describe", name).stdout)
    assert whole == next(each for each in data if each["name"] == name)


def test_views_of_all_kinds_are_listed_together(applied):
    """feature-views lists on-demand views as well, each with its type, as Feast does."""
    lines = applied("feature-views", "list").stdout.splitlines()
    assert {line.split()[0]: line.split()[-1] for line in lines[1:]}["fares"] != ""
    assert [line for line in lines if "OnDemandFeatureView" in line and line.startswith("fares")]


def test_a_description_tells_what_a_view_is_and_who_reads_it(applied):
    """A view is described with its keys, ttl, source, version, watermark, readers and features."""
    text = applied("feature-views", "describe", "driver_stats").stdout
    for line in (
        "  description   What drivers did",
        "  keys          driver_id Int64",
        "  ttl           7 days",
        "  version       1, since catalog 1",
        "  materialized  never",
        "  read by       fares, fleet_v1, pricing_v1",
        "rating   Float64",
    ):
        assert line in text
    applied("materialize-incremental", "-v", "driver_stats")
    text = applied("feature-views", "describe", "driver_stats").stdout
    assert "  materialized  up to 2024-06-01T12:00:00Z" in text


def test_an_on_demand_view_is_described_with_its_code(applied):
    """The text of its function is shown."""
    text = applied("on-demand-feature-views", "describe", "fares").stdout
    assert "def fares(inputs):" in text
    assert "fare_per_star  Float64" in text


def test_tags_choose_what_is_listed(applied):
    """--tags takes key:value and key=value, several times or with commas; all must be there."""
    names = applied("feature-views", "list", "--tags", "team:fleet").stdout
    assert ("driver_stats" in names, "driver_city" in names) == (True, False)
    assert "driver_stats" in applied("feature-views", "list", "--tags", "team=fleet,stage=prod").stdout
    assert applied("feature-views", "list", "--tags", "team:x").stdout == "There are no feature views.\n"
    wrong = applied("feature-views", "list", "--tags", "fleet")
    assert (wrong.exit_code, "write key:value" in wrong.stderr) == (64, True)


def test_an_unknown_name_is_told_with_near_misses(applied):
    """Describing what nobody has offers the names that are close."""
    done = applied("feature-views", "describe", "driver_stat")
    assert done.exit_code == 1
    assert "did you mean 'driver_stats' or 'driver_city'?" in done.stderr


def test_before_the_first_apply_lists_say_what_to_do(run):
    """When nothing was applied, a list says so."""
    assert run("entities", "list").stdout == "Nothing was applied yet; run 'likewise apply'.\n"
    assert json.loads(run("entities", "list", "--output", "json").stdout) == []


def test_versions_of_a_view_are_listed(applied, repo):
    """Every content that a view had is a version, with the catalogs that hold it."""
    file = repo / "features.py"
    file.write_text(file.read_text().replace("days=7", "days=8"))
    applied("apply")
    lines = applied("feature-views", "list-versions", "driver_stats").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["v1", "1", "2"], ["v2", "2", "-"]]
    found = json.loads(applied("feature-views", "list-versions", "driver_stats", "--output", "json").stdout)
    assert [each["definition"]["ttl"] for each in found] == [7 * 86_400_000_000, 8 * 86_400_000_000]


def test_features_are_listed_and_described(applied):
    """Every feature is listed with its view and type, and found by its bare or full name."""
    lines = applied("features", "list").stdout.splitlines()
    assert ["rating", "driver_stats", "Float64"] in [line.split() for line in lines]
    assert "feature driver_stats:rating" in applied("features", "describe", "rating").stdout
    assert applied("features", "describe", "driver_stats:rating").exit_code == 0
    wrong = applied("features", "describe", "ratings")
    assert (wrong.exit_code, "did you mean 'rating'?" in wrong.stderr) == (1, True)


def test_projects_are_listed_and_described(applied):
    """The registry's projects are listed; the repo's own is described by default."""
    assert applied("projects", "list").stdout.splitlines()[1].split() == ["fleet", "1", "this", "repo's"]
    assert "feature view            2" in applied("projects", "describe").stdout
    assert applied("projects", "current_project").stdout == "fleet\n"
    assert applied("projects", "describe", "flee").exit_code == 1


def test_the_whole_catalog_is_dumped_as_json(applied):
    """registry-dump prints every definition of the newest or an older catalog."""
    found = json.loads(applied("registry-dump").stdout)
    assert (found["project"], found["catalog"], len(found["definitions"])) == ("fleet", 1, 10)
    assert json.loads(applied("registry-dump", "--catalog", "0").stdout)["definitions"] == []


def test_saved_datasets_are_listed(applied, repo):
    """Saved training sets are listed with their size and what they were made from."""
    from likewise import FeatureStore

    assert applied("saved-datasets", "list").stdout == "There are no saved datasets.\n"
    with FeatureStore(repo) as store:
        job = store.get_historical_features(
            {"driver_id": [1], "event_timestamp": ["2024-06-01"]} | {"event_timestamp": [_day()]}, ["driver_stats"]
        )
        store.create_saved_dataset(job, "may", "data/may.parquet")
    assert applied("saved-datasets", "list").stdout.splitlines()[1].split()[:4] == ["may", "1", "2", "1"]
    described = applied("saved-datasets", "describe", "may").stdout
    for line in ("  join keys           driver_id", "  features            trips, rating", "  full feature names  no"):
        assert f"{line}\n" in described
    assert "catalog 1, driver_stats (" in described
    assert not set("{[(").intersection(described.replace("driver_stats (", ""))


def _day():
    from datetime import datetime

    return datetime(2024, 6, 1)


WINDOWS = """
from datetime import timedelta
from likewise import Aggregation, Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from likewise import StreamFeatureView
from likewise.types import Float64, Int64

driver = Entity(name="driver", join_keys=["driver_id"])
trips = FileSource(name="trips", path="data/trips.parquet", timestamp_field="event_timestamp")
stats = FeatureView(name="driver_stats", entities=[driver], schema=[Field("trips", Int64)], source=trips)
busy = StreamFeatureView(
    name="busy",
    entities=[driver],
    schema=[Field("trips_1h", Int64), Field("best", Float64)],
    source=PushSource(name="live", batch_source=trips),
    aggregations=[
        Aggregation("trips", "sum", timedelta(hours=1), name="trips_1h"),
        Aggregation("rating", "max", timedelta(days=1), timedelta(minutes=5), name="best", where="trips > 0"),
    ],
)
pair = FeatureService(name="pair_v1", features=[stats.with_name("other").with_join_key_map({"driver_id": "other_id"})])
"""


def test_a_view_with_windows_is_described_with_each_aggregation(run, repo):
    """Function, column, window and slide of each aggregation are told; a key of another name is told by its service."""
    (repo / "features.py").write_text(WINDOWS)
    assert run("apply").exit_code == 0
    text = run("stream-feature-views", "describe", "busy").stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["AGGREGATION", "FUNCTION", "COLUMN", "WINDOW", "SLIDE", "WHERE"] in lines
    assert ["trips_1h", "sum", "trips", "1", "hour", "-", "-"] in lines
    assert ["best", "max", "rating", "1", "day", "5", "minutes", "trips", ">", "0"] in lines
    assert "  keys of other  driver_id from other_id" in run("feature-services", "describe", "pair_v1").stdout


def test_a_view_is_disabled_and_enabled_again(applied):
    """A disabled view is refused by name and described as such, until it is enabled; the catalog's number is told."""
    done = applied("feature-views", "disable", "driver_stats")
    assert done.stdout == "driver_stats is disabled; catalog 2 stands now.\n"
    assert re.search(r"^ +enabled +no$", applied("feature-views", "describe", "driver_stats").stdout, re.MULTILINE)
    refused = applied("get-online-features", "-f", "driver_stats:trips", "-e", "driver_id=1")
    assert refused.exit_code == 1
    assert "driver_stats" in refused.output
    again = json.loads(applied("feature-views", "enable", "driver_stats", "--output", "json").stdout)
    assert again == {"name": "driver_stats", "enabled": True, "catalog": 3}
    assert applied("plan").exit_code == 0

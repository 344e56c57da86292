import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = (
    '[{"driver_id": 2, "event_timestamp": "2024-05-31"}, {"driver_id": 1, "event_timestamp": "2024-06-01T00:00:00Z"}]'
)


@pytest.fixture
def served(applied):
    """The command line on the repo as it is applied and materialized."""
    done = applied("materialize-incremental", "2024-06-01")
    assert done.exit_code == 0, done.output
    return applied


def test_materialize_takes_dates_and_iso_times(applied):
    """START and END are dates or ISO times, both included; a table says what was done."""
    done = applied("materialize", "2024-05-01", "2024-05-31T00:00:00", "-v", "driver_stats")
    assert done.exit_code == 0
    heads, row = done.stdout.splitlines()
    assert heads.split()[:5] == ["VIEW", "FROM", "TO", "KEYS", "WRITTEN"]
    assert row.split()[:5] == ["driver_stats", "2024-05-01T00:00:00Z", "2024-05-31T00:00:00Z", "3", "3"]


def test_materialize_takes_the_rows_up_to_its_end(applied):
    """The latest row up to the end is served, not one after it."""
    applied("materialize", "2024-05-01", "2024-05-30", "-v", "driver_stats")
    answer = applied("get-online-features", "-f", "driver_stats:trips", "-e", "driver_id=1", "--output", "json")
    assert json.loads(answer.stdout)["results"][1]["values"] == [10]


def test_materialize_without_dates_needs_the_option_for_it(applied):
    """START and END are needed unless --disable-event-timestamp takes everything up to now."""
    for given, said in (([], "START and END are missing"), (["2024-05-01"], "error: END is missing")):
        wrong = applied("materialize", *given)
        assert (wrong.exit_code, said in wrong.stderr) == (64, True)
    assert applied("materialize", "--disable-event-timestamp").exit_code == 0


def test_an_end_in_the_future_is_refused_unless_allowed(applied):
    """A future end is an error with a cure, and nothing is written."""
    wrong = applied("materialize", "2024-05-01", "2024-07-01")
    assert (wrong.exit_code, "--allow-future" in wrong.stderr) == (1, True)
    assert applied("materialize", "2024-05-01", "2024-07-01", "--allow-future").exit_code == 0


def test_another_version_than_the_applied_one_is_refused(applied):
    """The online store keeps one version of a view, so --version names that one or is an error."""
    for command in (["materialize", "2024-05-01", "2024-05-30"], ["materialize-incremental"]):
        wrong = applied(*command, "-v", "driver_stats", "--version", "v9")
        assert (wrong.exit_code, "version 'v9' of view 'driver_stats'" in wrong.stderr) == (1, True)
        assert applied(*command, "-v", "driver_stats", "--version", "v1").exit_code == 0


def test_materialize_incremental_goes_on_where_it_stood(applied):
    """The first run takes the view's ttl, the next what came since; END is now by default."""
    first = json.loads(applied("materialize-incremental", "-v", "driver_stats", "--output", "json").stdout)
    assert (first[0]["start"], first[0]["end"]) == ("2024-05-25T12:00:00Z", "2024-06-01T12:00:00Z")
    second = json.loads(applied("materialize-incremental", "--views", "driver_stats", "--output", "json").stdout)
    assert second[0]["start"] == "2024-06-01T12:00:00Z"


def test_a_wrong_time_is_an_error(applied):
    """What is no time is refused, with an example of one."""
    done = applied("materialize", "yesterday", "2024-06-01")
    assert (done.exit_code, "'yesterday' is not a" in done.stderr) == (1, True)


def test_online_features_of_one_entity(served):
    """One entity's features are listed with value, status and event time."""
    done = served("get-online-features", "-f", "fleet_v1", "-e", "driver_id=1")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["driver_id", "1"]
    assert ["trips", "11", "PRESENT", "2024-05-31T00:00:00Z"] in lines
    assert ["city", "Rome", "PRESENT", "2024-05-29T00:00:00Z"] in lines


def test_online_features_of_several_entities(served):
    """Several entities are rows; where there is no value stands why: null, nothing stored, or too old."""
    keys = [arg for key in (2, 3, 9) for arg in ("-e", f"driver_id={key}")]
    served("push", "cities", '[{"driver_id": 3, "event_timestamp": "2024-06-01", "city": null}]')
    done = served("get-online-features", "-f", "driver_stats:trips", "-f", "driver_city:city", *keys)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [" ".join(rest.split()) for _, rest in lines] == [
        "trips city",
        "20 - (NOT_FOUND)",
        "- (NOT_FOUND) - (NULL_VALUE)",
        "- (NOT_FOUND) - (NOT_FOUND)",
    ]
    late = served("get-online-features", "-f", "driver_stats:trips", *keys, "--as-of", "2024-06-30")
    assert late.stdout.splitlines()[1].split(maxsplit=1)[1] == "- (OUTSIDE_MAX_AGE)"


def test_online_features_as_json(served):
    """JSON has values, statuses and event times by column, keys first, as Feast's server answers."""
    args = ["-f", "driver_stats", "-e", '[{"driver_id": 1}, {"driver_id": 9}]', "--output", "json"]
    found = json.loads(served("get-online-features", *args).stdout)
    assert found["metadata"]["feature_names"] == ["driver_id", "trips", "rating"]
    assert found["results"][1] == {
        "values": [11, None],
        "statuses": ["PRESENT", "NOT_FOUND"],
        "event_timestamps": ["2024-05-31T00:00:00Z", None],
    }


def test_values_past_their_ttl_say_so(served):
    """A value older than its ttl is null with its status, and a warning of one line names the cure."""
    args = ["get-online-features", "-f", "driver_stats", "-e", "driver_id=1", "--output", "json"]
    done = served(*args, "--as-of", "2024-07-01")
    assert json.loads(done.stdout)["results"][1]["statuses"] == ["OUTSIDE_MAX_AGE"]
    assert [line[:9] for line in done.stderr.splitlines()] in ([], ["warning: "])  # said once a process


def test_request_values_are_given_like_keys(served):
    """What an on-demand view needs is given as key=value, and read as its declared type."""
    done = served("get-online-features", "-f", "pricing_v1", "-e", "driver_id=1", "-e", "fare=20")
    assert ["fare_per_star", "5", "PRESENT", "-"] in [line.split() for line in done.stdout.splitlines()]
    wrong = served("get-online-features", "-f", "pricing_v1", "-e", "driver_id=1", "-e", "fare=much")
    assert (wrong.exit_code, "fare='much' is no Float64" in wrong.stderr) == (1, True)
    missing = served("get-online-features", "-f", "pricing_v1", "-e", "driver_id=1")
    assert (missing.exit_code, "'fare'" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("entities", "said"),
    [
        (["driver_id"], "'driver_id' is no key"),
        (['{"driver_id": '], "is not JSON"),
        (["[1]"], "is no row"),
        (["driver_id=1", "driver_id=2", "a=1", "a=2", "a=3"], "the keys make no rows"),
        (["driver_id=x"], "'driver_id' is 'x'"),
        (["driver=1", "x=1"], ""),
    ],
)
def test_entities_that_make_no_rows_are_refused(served, entities, said):
    """Keys that cannot be read are an error that quotes them; an entity's name is taken for its join key."""
    done = served("get-online-features", "-f", "driver_stats", *[arg for text in entities for arg in ("-e", text)])
    assert (done.exit_code, said in done.stderr) == (1 if said else 0, True)


def test_training_set_from_json_keeps_rows_and_order(applied):
    """Rows given as JSON come back in their order, with features as of their times."""
    args = ["get-historical-features", "-d", ROWS, "-f", "driver_stats", "--output", "json"]
    found = json.loads(applied(*args).stdout)
    assert found == [
        {"driver_id": 2, "event_timestamp": "2024-05-31T00:00:00Z", "trips": 20, "rating": 5.0},
        {"driver_id": 1, "event_timestamp": "2024-06-01T00:00:00Z", "trips": 11, "rating": 4.0},
    ]


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "jsonl", "stdin"])
def test_training_set_from_files(applied, tmp_path, ending):
    """Entity rows come from Parquet, CSV or JSON files, or from standard input."""
    rows = json.loads(ROWS)
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"driver_id": [2, 1], "event_timestamp": [_at(row) for row in rows]}), file)
    elif ending == "csv":
        file.write_text("driver_id,event_timestamp\n2,2024-05-31\n1,2024-06-01T00:00:00Z\n")
    elif ending == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        file.write_text(ROWS)
    given = "-" if ending == "stdin" else str(file)
    done = applied("get-historical-features", "-d", given, "-f", "driver_stats:trips", input=file.read_bytes())
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["trips", "20", "11"]


def _at(row):
    from datetime import UTC, datetime

    return datetime.fromisoformat(row["event_timestamp"]).replace(tzinfo=UTC)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_training_set_to_a_file(applied, tmp_path, ending):
    """A training set is written to a file of the format that its name says."""
    file = tmp_path / "made" / f"training.{ending}"
    done = applied("get-historical-features", "-d", ROWS, "-f", "driver_stats", "-o", file)
    assert done.exit_code == 0, done.output
    assert f"2 rows with 2 features written to {file}." in done.stdout
    text = "".join(map(str, pq.read_table(file).to_pylist())) if ending == "parquet" else file.read_text()
    assert "20" in text
    assert [other.name for other in file.parent.iterdir()] == [file.name]


def test_training_set_of_a_span_of_time(applied):
    """Without entity rows, every row of the views between two dates is an entity row."""
    args = ["-f", "driver_stats", "-s", "2024-05-29", "-e", "2024-05-30", "--output", "json"]
    found = json.loads(applied("get-historical-features", *args).stdout)
    assert [(row["driver_id"], row["trips"]) for row in found] == [(1, 10), (2, 20)]


def test_only_so_many_rows_are_printed(applied):
    """--limit bounds what is printed, and says how much more there is."""
    done = applied("get-historical-features", "-d", ROWS, "-f", "driver_stats", "--limit", "1")
    assert len(done.stdout.splitlines()) == 3
    assert "1 more row;" in done.stdout


def test_training_set_is_explained(applied):
    """--explain says what would be joined, and reads no row."""
    done = applied("get-historical-features", "-d", ROWS, "-f", "fleet_v1", "--explain")
    assert "join view 'driver_stats'" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nothing.parquet", "there is no file"),
        ("rows.txt", "is neither JSON text nor a file"),
        ("[{", "is not JSON"),
        ('[{"driver_id": 1, "event_timestamp": "soon"}]', "row 0 of the JSON text, column 'event_timestamp': 'soon'"),
        ('[{"event_timestamp": "2024-06-01"}]', "have no column 'driver_id'"),
    ],
)
def test_entity_rows_that_cannot_be_read_are_refused(applied, given, said):
    """What is wrong with entity rows is told by file, row and column."""
    done = applied("get-historical-features", "-d", given, "-f", "driver_stats")
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr


def test_an_unknown_feature_is_told_with_near_misses(applied):
    """A feature nobody has is refused with the names that are close."""
    done = applied("get-historical-features", "-d", ROWS, "-f", "driver_stats:trip")
    assert (done.exit_code, "did you mean 'trips'?" in done.stderr) == (1, True)


def test_pushed_rows_are_served_and_kept(served, repo, tmp_path):
    """push writes to the online store, to the files, or to both; texts that look like numbers stay texts."""
    rows = tmp_path / "moves.csv"
    rows.write_text("driver_id,event_timestamp,city\n1,2024-06-01T11:00:00,007\n")
    done = served("push", "cities", rows)
    assert done.exit_code == 0, done.output
    assert "1 row pushed to the online store; 1 online record written" in done.stdout
    answer = served("get-online-features", "-f", "driver_city", "-e", "driver_id=1")
    assert ["city", "007", "PRESENT", "2024-06-01T11:00:00Z"] in [line.split() for line in answer.stdout.splitlines()]
    assert served("push", "cities", rows, "--to", "offline").exit_code == 0
    at = '[{"driver_id": 1, "event_timestamp": "2024-06-01T11:30:00"}]'
    training = served("get-historical-features", "-d", at, "-f", "driver_city", "--output", "json")
    assert json.loads(training.stdout)[0]["city"] == "007"
    both = served("push", "cities", rows, "--to", "both", "--output", "json")
    assert json.loads(both.stdout)["rows"] == 1


def test_a_push_to_nobody_is_refused(served):
    """A push source nobody has is told with near misses; nothing is written."""
    done = served("push", "citys", '[{"driver_id": 1}]')
    assert (done.exit_code, "did you mean 'cities'?" in done.stderr) == (1, True)


def test_deleting_keys_asks_first(served):
    """Keys of a view are deleted when confirmed, and read as not found."""
    args = ["delete-online-keys", "driver_stats", "-e", "driver_id=1"]
    assert served(*args).exit_code == 3
    assert served(*args, interactive=True, input="n\n").exit_code == 3
    done = served(*args, "--yes")
    assert (done.exit_code, "1 key of driver_stats deleted" in done.stdout) == (0, True)
    answer = served("get-online-features", "-f", "driver_stats:trips", "-e", "driver_id=1")
    assert "NOT_FOUND" in answer.stdout

import json

import pytest


def edit(repo, old, new):
    """Change the repo's definitions."""
    file = repo / "features.py"
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new))


def test_plan_says_what_is_new_and_exits_with_2(run):
    """A plan with differences lists them, changes nothing, and exits with 2."""
    done = run("plan")
    assert done.exit_code == 2
    assert "+ feature view driver_stats" in done.stdout
    assert "10 to create, on catalog 0" in done.stdout
    assert "Nothing was applied yet" in run("history").stdout


def test_plan_without_differences_exits_with_0(applied):
    """When the repo is what is applied, plan says so and exits with 0."""
    done = applied("plan")
    assert (done.exit_code, done.stdout) == (0, "No differences.\n")


def test_plan_shows_fields_and_marks_what_breaks(applied, repo):
    """An update is shown field by field, and a breaking one names whom it breaks."""
    edit(repo, ', Field("rating", Float64)]', "]")
    edit(repo, "days=7", "days=9")
    edit(repo, 'stats[["rating"]]', 'stats[["trips"]]')
    done = applied("plan")
    assert done.exit_code == 2, done.output
    assert "    ttl: 7 days -> 9 days" in done.stdout
    assert "- feature rating (Float64)   BREAKING: " in done.stdout
    assert "breaking)" in done.stdout


def test_plan_as_json_is_one_document_on_standard_output(applied, repo):
    """With --output json, before or after the command, standard output is one JSON document."""
    edit(repo, "days=7", "days=8")
    for args in (["--output", "json", "plan"], ["plan", "--output", "json"]):
        done = applied(*args)
        found = json.loads(done.stdout)
        assert done.exit_code == 2
        assert (found["project"], found["base"], found["breaking"], found["deletes"]) == ("fleet", 1, 0, 0)
        [change] = found["changes"]
        assert (change["kind"], change["name"], change["action"]) == ("feature_view", "driver_stats", "update")
        assert change["fields"][0]["path"] == ["ttl"]


def test_apply_twice_changes_nothing(applied):
    """Applying what is applied makes no new catalog."""
    done = applied("apply")
    assert (done.exit_code, done.stdout) == (0, "Nothing to change; catalog 1 stands.\n")


def test_feasts_options_of_apply_are_accepted(run):
    """Feast's options of apply and plan are taken, whether they mean anything here or not."""
    options = ["--skip-source-validation", "--skip-feature-view-validation"]
    assert run("plan", *options).exit_code == 2
    done = run("apply", "--skip-feature-view-validation", "--no-progress", "--no-promote")
    assert done.exit_code == 0


def test_apply_lists_every_problem_and_applies_nothing(run, repo):
    """Everything wrong with a repo is listed with file and line, and nothing is applied."""
    edit(repo, 'path="data/trips.parquet"', 'path="data/trip.parquet"')
    edit(repo, 'name="driver_city"', 'name="driver city"')
    done = run("apply")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "nothing was applied" in done.stderr
    assert "features.py:9: data source 'trips': " in done.stderr
    assert "'driver city' cannot be the name" in done.stderr
    assert "Traceback" not in done.output
    assert "Nothing was applied yet" in run("history").stdout


def test_apply_without_anybody_to_ask_refuses_to_delete(applied, repo):
    """Where nobody can be asked, apply deletes only with --yes, and says so."""
    edit(repo, 'pricing = FeatureService(name="pricing_v1", features=[stats[["rating"]], fares])', "")
    done = applied("apply")
    assert done.exit_code == 3
    assert "- feature service pricing_v1" in done.stdout
    assert "give --yes" in done.stderr
    assert applied("history").stdout.count("apply") == 1
    assert applied("apply", "--yes").exit_code == 0
    assert "pricing_v1" not in applied("feature-services", "list").stdout


def test_apply_asks_before_it_deletes(applied, repo):
    """On a terminal apply asks; no leaves everything as it is, yes goes on."""
    edit(repo, 'model = FeatureService(name="fleet_v1", features=[stats, city])', "")
    refused = applied("apply", interactive=True, input="n\n")
    assert refused.exit_code == 3
    assert "Apply this: 1 to delete (1 breaking)?" in refused.stderr
    assert "nothing was changed" in refused.stderr
    done = applied("apply", interactive=True, input="y\n")
    assert done.exit_code == 0
    assert "catalog 2 stands now" in done.stdout


def test_apply_as_json_keeps_the_plan_off_standard_output(applied, repo):
    """With --output json the plan goes to standard error, and the result is one document."""
    edit(repo, "days=7", "days=8")
    done = applied("apply", "--output", "json")
    found = json.loads(done.stdout)
    assert (found["catalog"], len(found["changes"])) == (2, 1)
    assert "ttl: 7 days -> 8 days" in done.stderr


def test_an_empty_repo_says_so(run, repo):
    """A repo that defines nothing is told so, with the files that were not loaded."""
    (repo / "features.py").write_text("print('hello')\n")
    done = run("plan")
    assert done.exit_code == 0
    assert "The repo defines nothing." in done.stdout
    assert "not loaded: features.py: it imports neither feast nor likewise" in done.stdout


def test_history_lists_catalogs_newest_first(applied, repo):
    """Each catalog is listed with its time, its author and what it did."""
    edit(repo, "days=7", "days=8")
    applied("apply", now="2024-06-02T00:00:00Z")
    lines = applied("history").stdout.splitlines()
    assert lines[0].split() == ["NUMBER", "WHEN", "BY", "WHY", "DEFINITIONS", "CHANGES"]
    assert lines[1].split()[:2] == ["2", "2024-06-02T00:00:00Z"]
    assert lines[1].endswith("1 updated")
    assert lines[2].endswith("10 created")
    assert len(applied("history", "-n", "1").stdout.splitlines()) == 2
    assert [each["number"] for each in json.loads(applied("history", "--output", "json").stdout)] == [2, 1]
    assert "    ttl: 7 days -> 8 days" in applied("history", "2").stdout


def test_history_of_what_never_was_names_the_number_asked_for(applied):
    """A number outside of the history is refused by that number."""
    done = applied("history", "99")
    assert (done.exit_code, "has no catalog 99; its history goes from 1 to 1" in done.stderr) == (1, True)


def test_files_that_are_not_loaded_are_listed(run, repo):
    """plan and apply list the files that were skipped with the reason; of many, the first few and how many more."""
    (repo / "train.py").write_text("import feast\n\nstore = feast.FeatureStore('.')\n")
    (repo / "make_data.py").write_text("import math\n")
    for command in ("plan", "apply"):
        done = run(command)
        assert "not loaded: make_data.py: it imports neither feast nor likewise\n" in done.stdout
        assert "not loaded: train.py: it builds a FeatureStore (line 3)" in done.stdout
    for number in range(10):
        (repo / f"other_{number}.py").write_text("import math\n")
    done = run("plan")
    assert done.stdout.count("not loaded: ") == 11
    assert "not loaded: 2 more; 'likewise plan --output json' lists all" in done.stdout


def test_rollback_shows_what_changes_and_asks(applied, repo):
    """A rollback is a new catalog with the old definitions; it is shown first, and has to be confirmed."""
    edit(repo, "days=7", "days=8")
    applied("apply")
    refused = applied("rollback", "1")
    assert (refused.exit_code, "ttl: 8 days -> 7 days" in refused.stdout) == (3, True)
    done = applied("rollback", "1", "--yes")
    assert (done.exit_code, "catalog 3 stands now" in done.stdout) == (0, True)
    assert "7 days" in applied("feature-views", "describe", "driver_stats").stdout
    assert applied("plan").exit_code == 2


def test_rollback_to_what_never_was_is_refused(applied):
    """A number outside of the history is an error that says what the history has."""
    done = applied("rollback", "7")
    assert done.exit_code == 1
    assert "has no catalog 7; its history goes from 1 to 1" in done.stderr


def test_delete_deletes_one_definition(applied):
    """delete shows what it deletes, and deletes it when confirmed."""
    assert applied("delete", "fleet_v1").exit_code == 3
    done = applied("delete", "fleet_v1", "--yes")
    assert done.exit_code == 0, done.output
    assert "- feature service fleet_v1" in done.stdout
    assert "fleet_v1" not in applied("feature-services", "list").stdout
    assert "driver_stats" in applied("feature-views", "list").stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("driver", "entity 'driver' is read by feature view 'driver_city', feature view 'driver_stats'."),
        ("trips", "data source 'trips' is read by feature view 'driver_stats'."),
        ("moves", "data source 'moves' is read by data source 'cities', feature view 'driver_city'."),
        ("asked", "data source 'asked' is read by on-demand feature view 'fares'."),
        ("driver_city", "feature view 'driver_city' is read by feature service 'fleet_v1'."),
        ("fares", "on-demand feature view 'fares' is read by feature service 'pricing_v1'."),
    ],
)
def test_delete_of_what_others_need_is_refused(applied, name, said):
    """What other definitions are built on cannot be deleted; they are named, and nothing is changed."""
    done = applied("delete", name, "--yes")
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
    assert applied("plan").exit_code == 0


def test_delete_offers_near_misses_and_asks_which_one(applied, repo):
    """An unknown name is told with near misses; a name of several definitions needs --kind."""
    assert "did you mean 'fleet_v1'?" in applied("delete", "fleet_v2").stderr
    edit(repo, 'name="driver_city"', 'name="cities"')
    edit(repo, "features=[stats, city]", "features=[stats]")
    applied("apply", "--yes")
    done = applied("delete", "cities", "--yes")
    assert done.exit_code == 1
    assert "say which one: --kind 'data source' or --kind 'feature view'" in done.stderr
    assert "- feature view cities" in applied("delete", "cities", "--kind", "feature-view").stdout


def test_teardown_asks_and_can_be_undone(applied):
    """teardown deletes all definitions when confirmed; the history brings them back."""
    refused = applied("teardown")
    assert (refused.exit_code, "10 definitions" in refused.stdout) == (3, True)
    done = applied("teardown", "--yes")
    assert done.exit_code == 0
    assert "likewise rollback 1" in done.stdout
    assert "There are no feature views." in applied("feature-views", "list").stdout
    assert applied("teardown", "--yes").stdout == "Nothing to delete.\n"
    assert applied("rollback", "1", "--yes").exit_code == 0
    assert "driver_stats" in applied("feature-views", "list").stdout

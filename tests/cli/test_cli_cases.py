import json

import pytest

CASES = """
cases:
  - name: a week
    features: [driver_stats, fares]
    rows:
      trips:
        - {driver_id: 1, event_timestamp: 2024-05-01, trips: 5, rating: 4.0}
    expect:
      - {at: 2024-05-08, key: {driver_id: 1}, request: {fare: 10}, values: {trips: 5, fare_per_star: 2.5}}
  - name: pushed
    features: [driver_city]
    rows:
      cities:
        - {driver_id: 1, event_timestamp: 2024-05-01, city: Rome}
    expect:
      - {at: 2024-05-02, key: {driver_id: 1}, values: {city: Rome}}
"""


@pytest.fixture
def cases(repo, run):
    """Writes the cases of the repo, which is not applied, and runs them."""
    (repo / "cases").mkdir()

    def run_them(text, *args):
        (repo / "cases" / "some.yaml").write_text(text)
        return run("test", *args)

    return run_them


def test_cases_that_pass_are_listed_and_counted(cases):
    """Each case is a line, the last line counts; the exit code is 0."""
    done = cases(CASES)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "ok    a week",
        "ok    pushed",
        "2 cases passed; 3 values compared in training and serving.",
    ]


def test_a_case_that_fails_shows_what_differs(cases):
    """What was expected stands beside what training and serving gave, with file and line; the exit code is 1."""
    done = cases(CASES.replace("trips: 5, fare", "trips: 6, fare"))
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "FAIL  a week  (cases/some.yaml:3)",
        "      driver_id=1, fare=10 at 2024-05-08T00:00:00Z  (line 9)",
        "        FEATURE  EXPECTED  TRAINING  SERVING",
        "        trips    6         5 ✗       5 ✗",
        "ok    pushed",
        "1 case of 2 failed; 3 values compared in training and serving.",
    ]


def test_no_digit_of_a_difference_is_rounded_away(cases):
    """Numbers are shown with all their digits."""
    done = cases(CASES.replace("fare_per_star: 2.5", "fare_per_star: 2.5000000000000004"))
    assert "fare_per_star  2.5000000000000004  2.5 ✗     2.5 ✗" in done.stdout


def test_a_case_that_cannot_run_says_why(cases):
    """The error stands below the case, and the others still run."""
    done = cases(CASES.replace("trips: 5,", "tripps: 5,", 1))
    assert done.exit_code == 1
    assert "row 0 of 'trips' has a column 'tripps'. did you mean 'trips'" in done.stdout
    assert "ok    pushed" in done.stdout


def test_cases_are_chosen_by_name_and_by_file(cases, repo):
    """-k takes a part of the name; paths take files or folders."""
    assert cases(CASES, "-k", "WEEK").stdout.startswith("ok    a week\n1 case passed")
    assert "2 cases passed" in cases(CASES, repo / "cases" / "some.yaml").stdout
    missing = cases(CASES, repo / "cases" / "other.yaml")
    assert (missing.exit_code, "there is no" in missing.stderr) == (1, True)
    none = cases(CASES, "-k", "nothing")
    assert (none.exit_code, "no case has 'nothing' in its name" in none.stderr) == (1, True)


def test_json_has_every_check(cases):
    """JSON has each case with its file and line, and each value as both paths gave it."""
    done = cases(CASES.replace("city: Rome}}", "city: {approx: 1}}}"), "--output", "json")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)
    assert (first["case"], first["file"], first["line"], first["passed"]) == ("a week", "cases/some.yaml", 3, True)
    assert [check["serving"] for check in first["checks"]] == [5, 2.5]
    [check] = second["checks"]
    assert (check["expected"], check["training"], check["status"], check["passed"]) == (
        {"approx": 1, "within": None},
        "Rome",
        "PRESENT",
        False,
    )


def test_wrong_files_are_named_and_nothing_is_run(cases):
    """A mistake in a file is an error with file and line, in JSON as a list of problems."""
    done = cases(CASES.replace("expect:", "expects:"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "cases/some.yaml:8: there is no key 'expects'" in done.stderr
    told = cases(CASES.replace("expect:", "expects:"), "--output", "json")
    [first, second] = json.loads(told.stderr.splitlines()[-1])["error"]["problems"]
    assert (first["file"], first["line"], second["line"]) == ("cases/some.yaml", 8, 15)


def test_any_online_store_will_do(cases):
    """The online store is made of the type that is asked for; an unknown one is an error."""
    assert cases(CASES, "--online-store", "sqlite").exit_code == 0
    wrong = cases(CASES, "--online-store", "sqlight")
    assert (wrong.exit_code, "did you mean 'sqlite'" in wrong.stderr) == (1, True)

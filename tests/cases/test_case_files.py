from datetime import UTC, datetime

import pytest

from likewise.cases import Approx
from likewise.cases.case_files import read_cases
from likewise.core.errors import RepoProblems, RequestError

GOOD = """
cases:
  - name: first
    features: users:visits
    expect:
      - {at: 2024-05-01, key: {user: 1}, values: {visits: null}}
  - name: second
    features: [users:visits, asked:ratio]
    known_by: true
    rows:
      users:
        - {user: 1, event_timestamp: 2024-05-01T10:00:00Z, visits: 3}
      others:
    expect:
      - at: 2024-05-02T00:00:00+02:00
        key: {user: 1}
        request: {amount: 5}
        values: {visits: {approx: 3, within: 0.5}, ratio: {approx: [1.5]}}
"""


def write(folder, text, name="some.yaml"):
    """Write a file of cases into a repo's folder."""
    (folder / "cases").mkdir(exist_ok=True)
    (folder / "cases" / name).write_text(text)
    return folder


def problems_of(folder, text, name="some.yaml"):
    """Return what is wrong with a file of cases."""
    with pytest.raises(RepoProblems, match="nothing was tested") as caught:
        read_cases(write(folder, text, name))
    return [str(problem) for problem in caught.value.problems]


def test_a_file_is_read_in_order_with_its_lines(tmp_path):
    """Cases and what they expect come as the file has them, each with its file and line."""
    first, second = read_cases(write(tmp_path, GOOD))
    assert (first.name, first.features, first.rows, first.known_by) == ("first", ["users:visits"], {}, False)
    assert (first.origin.file, first.origin.line, first.expect[0].origin.line) == ("cases/some.yaml", 3, 6)
    assert second.rows["users"] == [{"user": 1, "event_timestamp": datetime(2024, 5, 1, 10, tzinfo=UTC), "visits": 3}]
    assert (second.rows["others"], second.known_by, second.origin.line) == ([], True, 7)
    [expect] = second.expect
    assert (expect.key, expect.request, expect.origin.line) == ({"user": 1}, {"amount": 5}, 15)
    assert expect.values == {"visits": Approx(3, 0.5), "ratio": Approx([1.5])}


def test_files_are_read_in_the_order_of_their_paths(tmp_path):
    """All files of the folder cases count, in any folder below it; those whose names begin with . or _ do not."""
    one = GOOD.partition("  - name: second")[0]
    for name in ("b.yaml", "a.yml", "_no.yaml", ".no.yaml", "notes.txt"):
        write(tmp_path, one.replace("first", name), name)
    (tmp_path / "cases" / "more").mkdir()
    (tmp_path / "cases" / "more" / "c.yaml").write_text(one.replace("first", "c.yaml"))
    assert [case.name for case in read_cases(tmp_path)] == ["a.yml", "b.yaml", "c.yaml"]
    assert [case.name for case in read_cases(tmp_path, [tmp_path / "cases" / "b.yaml"])] == ["b.yaml"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("features: users:visits", "feature: users:visits", "some.yaml:4: there is no key 'feature'. did you mean"),
        ("    features: users:visits\n", "", "some.yaml:3: the key 'features' is missing"),
        ("features: users:visits", "features: []", "some.yaml:4: features is [], no list with something in it"),
        ("features: users:visits", "features: [7]", "some.yaml:4: 7 is no feature"),
        ("at: 2024-05-01,", "at: yesterday,", "some.yaml:6: at 'yesterday' is not a time"),
        ("at: 2024-05-01,", "", "some.yaml:6: the key 'at' is missing"),
        ("key: {user: 1}, values", "key: 1, values", "some.yaml:6: key is 1, no mapping"),
        ("{visits: null}", "{}", "some.yaml:6: case 'first' expects no values here"),
        ("{visits: null}", "{visits: {approx: x}}", "some.yaml:6: 'x' is no number"),
        ("{visits: null}", "{visits: {approx: 1, within: -1}}", "some.yaml:6: within: -1 is less than zero"),
        ("known_by: true", "known_by: perhaps", "some.yaml:9: known_by is 'perhaps'"),
        ("visits: 3}", "1: 3}", "some.yaml:12: the key 1 is no text"),
        ("- {user: 1, event", "- 5\n        - {user: 1, event", "some.yaml:12: a row is 5, no mapping"),
        ("      others:", "      others: 5", "some.yaml:13: rows of 'others' is 5, no list"),
        ("name: first", "name: first\n    name: again", "some.yaml:4: the file has a key that stands twice"),
        ("name: first", "name: [first", "is not valid YAML"),
        ("name: first", "name: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("cases:", "tests:", "some.yaml:2: there is no key 'tests'"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path, old, new, said):
    """Whatever is wrong with a file is said with its line and the cure, and no case is run."""
    assert GOOD.count(old) >= 1
    [problem, *_] = problems_of(tmp_path, GOOD.replace(old, new, 1))
    assert said in problem


def test_all_mistakes_are_listed(tmp_path):
    """One pass lists what is wrong with every file."""
    write(tmp_path, "cases: 5", "a.yaml")
    write(tmp_path, "cases: []", "b.yaml")
    found = problems_of(tmp_path, GOOD.replace("users:visits\n", "7\n").replace("known_by: true", "known_by: 5"))
    assert [problem.partition(": ")[0] for problem in found] == [
        "cases/a.yaml:1",
        "cases/b.yaml:1",
        "cases/some.yaml:4",
        "cases/some.yaml:9",
    ]


def test_a_case_asks_with_the_same_columns_throughout(tmp_path):
    """Keys and requests of one case have the same columns; others are another case."""
    more = GOOD.replace(
        "values: {visits: null}}", "values: {visits: null}}\n      - {at: 2024-05-01, values: {visits: 1}}"
    )
    [problem] = problems_of(tmp_path, more)
    assert "some.yaml:7: case 'first' has keys or requests of different columns" in problem


def test_a_file_that_unfolds_without_end_is_refused(tmp_path):
    """A billion laughs, a file that holds itself, one nested too deep and one too large are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    for text, said in (
        ("\n".join(lines), "holds more than 20000 values"),
        ("cases: &a [*a]", "some.yaml"),
        ("[" * 5000, "is not valid YAML"),
        ("#" + "x" * (1 << 20), "is larger than 1 MiB"),
    ):
        [problem, *_] = problems_of(tmp_path, text)
        assert said in problem


def test_cases_in_python_are_records(tmp_path):
    """A file of Python holds cases under any names; each knows its line."""
    text = """
from likewise.cases import Approx, Case, Expect

def case(number):
    return Case(f"case {number}", ["users:visits"], {}, [Expect("2024-05-01", {"user": number}, {"visits": None})])

alone = case(0)
many = [case(number) for number in range(1, 3)]
"""
    found = read_cases(write(tmp_path, text, "some.py"))
    assert sorted(case.name for case in found) == ["case 0", "case 1", "case 2"]
    assert {(case.origin.file, case.origin.line) for case in found} == {("cases/some.py", 5)}


def test_a_file_of_python_that_fails_is_named_with_its_line(tmp_path):
    """What a file raises, and what is no expectation, is listed with the line."""
    assert problems_of(tmp_path, "\n1 / 0\n", "some.py") == [
        "cases/some.py:2: running it fails with ZeroDivisionError: division by zero. correct the line"
    ]
    [problem] = problems_of(tmp_path, "\ndef (", "some.py")
    assert problem.startswith("cases/some.py:2: running it fails with SyntaxError")
    wrong = 'from likewise.cases import Case\ncase = Case("c", ["v:f"], {}, [5])\n'
    [problem] = problems_of(tmp_path, wrong, "some.py")
    assert problem.startswith("cases/some.py:2: case 'c' expects what is no Expect")


def test_no_cases_are_an_error(tmp_path):
    """A repo without cases, a path that is not there, and a file of another kind are refused with the cure."""
    with pytest.raises(RequestError, match=r"there are no cases in .*write some into cases/\*\.yaml"):
        read_cases(tmp_path)
    with pytest.raises(RequestError, match=r"there is no .*missing\.yaml"):
        read_cases(tmp_path, [tmp_path / "missing.yaml"])
    (tmp_path / "rows.csv").write_text("")
    with pytest.raises(RequestError, match=r"rows\.csv is no file of cases"):
        read_cases(tmp_path, [tmp_path / "rows.csv"])

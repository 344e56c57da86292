import time
from pathlib import Path

import pytest

from run_docs import ExampleError, read_blocks, run_page

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_the_examples_of_a_page_run_and_print_what_it_says(page, tmp_path):
    """Every example in README.md and docs/ runs, in order, and prints the output shown below it."""
    run_page(page, tmp_path)


def run(tmp_path, text):
    """Run a page with this text, in a folder beside it."""
    page, folder = tmp_path / "page.md", tmp_path / "folder"
    page.write_text(text)
    folder.mkdir()
    return run_page(page, folder)


def test_blocks_share_names_and_their_output_is_checked(tmp_path):
    """A block sees the names of the blocks above it, and the text block after it is its output."""
    page = "```python\na = 1\n```\n\n- in a list:\n\n  ```python\n  print(a + 1)\n  ```\n\n  ```text\n  2\n  ```\n"
    assert run(tmp_path, page) == 2


def test_other_output_than_shown_is_an_error_with_page_and_line(tmp_path):
    """When a block prints something else than the page shows, the error names page, line and both texts."""
    with pytest.raises(ExampleError, match=r"page.md:4: the page says this prints\n2\n\nbut it prints\n3"):
        run(tmp_path, "# Title\n\n```python\nprint(3)\n```\n```text\n2\n```\n")


def test_dots_in_shown_output_stand_for_anything(tmp_path):
    """Output that varies is shown as `...` in the page."""
    assert run(tmp_path, "```python\nprint('took 12.3 s', 'fine')\n```\n```text\ntook ... s fine\n```\n") == 1


def test_a_failing_block_is_an_error_with_its_line(tmp_path):
    """A block that raises fails the page, and the traceback points into it."""
    with pytest.raises(ExampleError, match=r"page.md:2: this python block fails: ZeroDivisionError"):
        run(tmp_path, "```python\n1 / 0\n```\n")


def test_files_shell_and_clock(tmp_path):
    """A page can write files, run shell lines that change the folder, and set the time."""
    page = """
```python file=repo/made.py
VALUE = 7
```
<!-- clock: 2024-06-01T00:00:00Z -->
```shell run
cd repo
ls
echo $LIKEWISE_NOW
```
```text
made.py
2024-06-01T00:00:00Z
```
```python
from pathlib import Path
from repo.made import VALUE
print(VALUE, Path.cwd().name)
```
```text
7 repo
```
"""
    assert run(tmp_path, page) == 3
    assert (tmp_path / "folder" / "repo" / "made.py").read_text() == "VALUE = 7\n"


def test_a_failing_shell_line_is_an_error(tmp_path):
    """A shell block stops at the first line that fails and shows what was printed."""
    with pytest.raises(ExampleError, match=r"exit code 3\nbefore"):
        run(tmp_path, "```shell run\necho before\n(exit 3)\necho after\n```\n")


def test_what_a_shell_leaves_running_ends_with_the_page(tmp_path):
    """What a block started in the background runs on for the blocks below it, and is told to end after the page."""
    waits = "(trap 'echo ended > note; exit' TERM; echo runs > note; while :; do sleep 0.02; done) > log 2>&1 &"
    below = "sleep 0.5\ncat note"
    assert run(tmp_path, f"```shell run\n{waits}\n```\n```shell run\n{below}\n```\n```text\nruns\n```\n") == 2
    note, end = tmp_path / "folder" / "note", time.monotonic() + 30
    while note.read_text() != "ended\n" and time.monotonic() < end:
        time.sleep(0.02)
    assert note.read_text() == "ended\n"


def test_a_server_has_a_free_port(tmp_path):
    """The usual port of a server is another one where a page is run, in all its blocks and in what they print."""
    shell = "```shell run\necho 6566\n```\n```text\n6566\n```\n"
    assert run(tmp_path, shell + "```python\nassert 6566 != 6560 + 6\nprint(6566)\n```\n```text\n6566\n```\n") == 2


def test_blocks_that_do_not_run_are_left_alone(tmp_path):
    """no-run, plain shell and other languages are left alone, and so is a text block that follows none."""
    text = "```python no-run\n1 / 0\n```\n```text\nfree\n```\n```shell\nfalse\n```\n```yaml\na: 1\n```\n"
    assert run(tmp_path, text) == 0


def test_a_file_stays_inside_the_folder_of_the_page(tmp_path):
    """A page cannot write outside its folder."""
    with pytest.raises(ExampleError, match="outside the page's folder"):
        run(tmp_path, "```text file=../outside.txt\nx\n```\n")


def test_functions_of_a_page_have_their_source(tmp_path):
    """A function defined in a page can be read back, as on-demand features need."""
    code = "import inspect\ndef double(x):\n    return 2 * x\nprint(inspect.getsource(double))"
    assert run(tmp_path, f"```python\n{code}\n```\n```text\ndef double(x):\n    return 2 * x\n```\n") == 1


def test_the_line_of_a_block_is_its_first_line(tmp_path):
    """Blocks know the line of the page on which they start."""
    page = tmp_path / "page.md"
    page.write_text("one\n\n```python\npass\n```\n")
    assert [(block.kind, block.line) for block in read_blocks(page)] == [("python", 4)]

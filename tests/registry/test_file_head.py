"""FileRegistry.head follows other processes, and is cheap while nothing changes."""

import os
import time
from pathlib import Path

from likewise.registry.file import FileRegistry

CARD = {"kind": "entity", "name": "card"}


def test_head_follows_every_commit(tmp_path: Path) -> None:
    """However fast another registry object commits, the head it asks for next is never behind."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as writer, FileRegistry(path) as reader:
        for number in range(60):
            assert reader.head("demo") == number
            if number % 20 == 19:
                os.utime(path, ns=(0, time.time_ns() - 10_000_000_000))  # long settled, so the answer is kept
                assert reader.head("demo") == number
            writer.commit("demo", number, [{**CARD, "n": number}], now=number)


def test_head_does_not_rely_on_times_that_may_repeat(tmp_path: Path) -> None:
    """A commit within the same tick of the file system's clock as the last look is seen all the same."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as writer, FileRegistry(path) as reader:
        sizes = []
        for number in range(20):
            now = time.time_ns()
            if number:
                os.utime(path, ns=(now, now))
            assert reader.head("demo") == number
            writer.commit("demo", number, [{**CARD, "n": number % 10}], now=number)
            os.utime(path, ns=(now, now))
            assert reader.head("demo") == number + 1
            sizes.append(path.stat().st_size)
    assert len(set(sizes)) < len(sizes), "some commits leave the size as it was"


def test_head_of_a_settled_file_costs_no_query(tmp_path: Path) -> None:
    """While the file is unchanged, the head is known without opening it."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as writer:
        writer.commit("demo", 0, [CARD], now=1)
    settled = time.time_ns() - 10_000_000_000
    os.utime(path, ns=(settled, settled))
    with FileRegistry(path) as reader:
        assert reader.head("demo") == 1
        content = path.read_bytes()
        path.write_bytes(b"\0" * len(content))  # what a query would stumble over
        os.utime(path, ns=(settled, settled))
        assert reader.head("demo") == 1


def test_the_newest_catalog_is_kept(tmp_path: Path) -> None:
    """While nothing was committed the same catalog object is returned, and the committed one is it."""
    path = tmp_path / "registry.db"
    with FileRegistry(path) as writer, FileRegistry(path) as reader:
        made = writer.commit("demo", 0, [CARD], now=1)
        assert writer.catalog("demo") is made
        read = reader.catalog("demo")
        assert reader.catalog("demo", 1) is read
        writer.commit("demo", 1, [], now=2)
        assert reader.catalog("demo").number == 2
        assert reader.catalog("demo", 1) == made

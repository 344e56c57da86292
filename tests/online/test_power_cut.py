"""What a power cut leaves of the stores that keep files: what they promise (G6), whatever reached the disk (T1)."""

from pathlib import Path

import pytest

from likewise.online.base import OnlineStore, TableMissing
from likewise.online.lmdb import LmdbStore
from likewise.online.sqlite import SqliteStore
from likewise.testing.online_suite import moment
from likewise.testing.power import record
from likewise.testing.strategies import examples

KEYS = [b"%d" % n for n in range(50)]
PROGRAM = """
kind = {"lmdb": LmdbStore, "sqlite": SqliteStore}[sys.argv[2]]
store = kind(sys.argv[1] + "/store", durable=sys.argv[3] == "durable")
store.create(["demo/cards"])
keys = [b"%d" % n for n in range(50)]
for event in range(12):
    store.write("demo/cards", keys, [tombstone(key, event) for key in keys])
    print(event, flush=True)
store.close()
"""
IMPORTS = """
import sys
from likewise.online.lmdb import LmdbStore
from likewise.online.sqlite import SqliteStore
from likewise.online.rows import tombstone
"""
KINDS: dict[str, type[OnlineStore]] = {"lmdb": LmdbStore, "sqlite": SqliteStore}


def last_batch(kind: str, folder: Path) -> int:
    """Return the number of the batch that a store holds whole, once it was checked; -1 for none."""
    with KINDS[kind](folder / "store") as store:
        try:
            store.check(["demo/cards"])
            records = store.read([("demo/cards", KEYS)])[0]
        except TableMissing:
            return -1
        return -1 if records == [None] * len(KEYS) else moment(records)


@pytest.mark.parametrize(
    ("kind", "mode", "lost"),
    [("lmdb", "usual", 1), ("lmdb", "durable", 0), ("sqlite", "usual", 12), ("sqlite", "durable", 0)],
)
def test_a_power_cut_loses_only_whole_last_batches(tmp_path, kind, mode, lost):
    """After a cut the store opens, is whole, and has what was told, but for the last batch, or some in SQLite (T1)."""
    (tmp_path / "live").mkdir()
    recording = record(PROGRAM, tmp_path / "live", kind, mode, imports=IMPORTS, unseen=["lock.mdb", "store-shm"])
    most = 0
    for cut in recording.cuts(examples(15, soak=2_000), seed=7):
        cut.write(tmp_path / "after")
        told = max([-1, *map(int, cut.told.split())])
        most = max(most, told - last_batch(kind, tmp_path / "after"))
    assert most <= lost

"""A disk that is full (T3): the error names the path, reads go on, nothing half-written stays, space is all it needs.

Registry and online stores have their own (tests/registry/test_file_disk.py, tests/online/test_file_store.py); these are
the other writes, on a real file system of a few megabytes in a name space of mounts of its own.
"""

from tests.guarantees.processes import ROOT

from likewise.testing.disk import run_on_small_disk

PROGRAM = '''
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[3])

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.guarantees.world import NOW, World, rows_of, generation

from likewise import PushMode
from likewise.core.errors import StoreFull
from likewise.jobs.files import write_parquet
from likewise.registry.transfer import read_file, write_file
from likewise.testing.disk import fill

disk, beside = Path(sys.argv[1]), Path(sys.argv[2])
filler = disk / "filler"
noise = np.random.default_rng(7)


def tree():
    return sorted((str(path), path.stat().st_size) for path in disk.rglob("*") if path.is_file() and path != filler)


def proved(what, place, write, check):
    """Refused by name on a full disk, without a trace; reads go on; done once there is space."""
    fill(filler)
    before = tree()
    try:
        write()
    except StoreFull as error:
        assert str(place) in str(error), f"{what}: {error}"
    else:
        raise AssertionError(f"{what}: there was space")
    assert tree() == before, f"{what} left {set(tree()) ^ set(before)}"
    served()
    filler.unlink()
    write()
    check()
    served()
    print(what, flush=True)


world = World(str(beside), {"path": "registry.db"}, {"type": "sqlite", "path": "online.db"}, view="v")
rows = disk / "rows"
rows.mkdir()
pq.write_table(rows_of(generation(0, 50)), rows / "a.parquet")
(beside / "v.parquet").symlink_to(rows)
store = world.open()
store.apply([world.definition()])
store.materialize(0, NOW)


def served():
    found = store.get_online_features(["v:n"], {"user": [7]}).to_dict()
    spine = pa.table({"user": [7], "event_timestamp": [NOW]})
    assert found["n"] == [7] and trained(spine)["n"].to_pylist() == [7]


def trained(spine):
    spine = spine.set_column(1, "event_timestamp", spine["event_timestamp"].cast(pa.timestamp("us", "UTC")))
    return store.get_historical_features(spine, ["v:n"]).to_arrow()


def many(count):
    numbers = noise.integers(0, 2**62, count)
    at, users = pa.array([NOW] * count, pa.timestamp("us", "UTC")), noise.integers(1000, 2**40, count)
    text = [hex(n) for n in numbers]
    return pa.table({"user": users, "at": at, "made": at, "n": numbers, "text": text, "twice": numbers})


added = many(20_000)
proved("append", "v.parquet", lambda: store.push(world.pushed, added, to=PushMode.OFFLINE),
       lambda: None)
assert sum(pq.read_metadata(path).num_rows for path in rows.rglob("*.parquet")) == 20_050
answer = many(20_000).select(["user", "n"])
place = disk / "set.parquet"
proved("saved dataset", place, lambda: write_parquet(answer.to_reader(), place, False), lambda: pq.read_table(place))
proved("backup", disk / "backup", lambda: store.backup(disk / "backup"), lambda: None)
proved("registry export", disk / "export.jsonl",
       lambda: write_file(disk / "export.jsonl", store.registry.holdings()), lambda: read_file(disk / "export.jsonl"))
proved("forget", "v.parquet", lambda: store.forget({"user": int(added["user"][0].as_py())}), lambda: None)
print("done")
'''


def test_every_other_write_on_a_full_disk_is_refused_and_leaves_nothing(tmp_path, figures):
    """Appends, saved datasets, backups, registry exports and the rewriting of files by forget (T3)."""
    for name in ("disk", "beside"):
        (tmp_path / name).mkdir()
    done = run_on_small_disk(PROGRAM, tmp_path / "disk", 8 << 20, str(tmp_path / "beside"), str(ROOT))
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
    assert done.stdout.splitlines()[:-1] == ["append", "saved dataset", "backup", "registry export", "forget"]
    figures(cases=5, differences=0)

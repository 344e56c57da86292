"""What a power cut leaves of a registry's file: all that a commit told (G3, G6), whatever reached the disk."""

from likewise.registry.file import FileRegistry
from likewise.testing.power import record
from likewise.testing.strategies import examples

PROGRAM = """
with FileRegistry(sys.argv[1] + "/data/registry.db") as registry:
    for number in range(8):
        views = [{"kind": "entity", "name": f"e{n}", "at": number, "text": "x" * 2000} for n in range(9 + number % 3)]
        registry.commit("demo", number, views, now=number)
        registry.side.put("demo", "s", "a", number + 1, None)
        print(number + 1, flush=True)
"""


def test_a_power_cut_loses_nothing_that_was_told(tmp_path):
    """After any cut the registry opens with all commits that had returned, whole, and takes the next one (T2)."""
    (tmp_path / "live").mkdir()
    imports = "import sys; from likewise.registry.file import FileRegistry"
    recording = record(PROGRAM, tmp_path / "live", imports=imports)
    for cut in recording.cuts(examples(20, soak=2_000), seed=7):
        cut.write(tmp_path / "after")
        told = max([0, *map(int, cut.told.split())])
        with FileRegistry(tmp_path / "after" / "data" / "registry.db") as registry:
            head = registry.head("demo")
            side = registry.side.get("demo", "s", "a")
            assert told <= head <= told + 1
            assert (0 if side is None else side.value) in (head, head - 1)
            assert {each["at"] for each in registry.catalog("demo").definitions()} == ({head - 1} if head else set())
            assert [info.number for info in registry.history("demo")] == list(range(1, head + 1))
            assert registry.commit("demo", head, [], now=9).number == head + (head > 0)

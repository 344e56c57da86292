"""What a training set is: the latest row as of each entity row's time (S2-S4), on exactly the entity rows (S8)."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from likewise.core.types import Bool, Bytes, FeatureType, Float64, Int32, Int64, String, UnixTimestamp, Uuid, arrow_type
from likewise.offline.base import OfflineEngine
from likewise.testing.offline_case import DAY, US, OfflineEngineCase, T, join, scan, shown, spine, table
from likewise.testing.strategies import soaking


class AsOfTests(OfflineEngineCase):
    """S2, S3 and S4, each with the smallest data that can break it."""

    def test_the_latest_row_at_or_before_the_time_counts(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The value is the one of the latest event at or before the time, to the microsecond, and never a later one."""
        source = self.put(tmp_path, a=table(at=[T + 20, T, T + 10], k=[1, 1, 1], v=[3, 1, 2]))
        asked = spine([T - 1, T, T + 9, T + 10, T + 19, T + 20, T + 99], k=[1] * 7)
        assert self.trained(subject, asked, join(scan(source))) == [None, 1, 1, 2, 2, 3, 3]

    @pytest.mark.parametrize("ttl", [1, 50, DAY])
    def test_a_ttl_counts_both_of_its_ends(self, subject: OfflineEngine, tmp_path: Path, ttl: int) -> None:
        """A row counts at its time and at its time plus the ttl, and not a microsecond before or after."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[5]))
        asked = spine([T - 1, T, T + ttl - 1, T + ttl, T + ttl + 1], k=[1] * 5)
        assert self.trained(subject, asked, join(scan(source), ttl=ttl)) == [None, 5, 5, 5, None]

    @pytest.mark.parametrize("ttl", [None, 0])
    def test_no_ttl_is_without_limit(self, subject: OfflineEngine, tmp_path: Path, ttl: int | None) -> None:
        """Without a ttl, or with one of zero, a row counts however old it is."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[5]))
        assert self.trained(subject, spine([T + 100_000 * DAY], k=[1]), join(scan(source), ttl=ttl)) == [5]

    def test_a_null_does_not_uncover_an_older_value(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Where the latest row holds a null the answer is null: the value of no older row shines through."""
        source = self.put(tmp_path, a=table(at=[T, T + 1], k=[1, 1], v=[5, None]))
        assert self.trained(subject, spine([T, T + 1], k=[1, 1]), join(scan(source))) == [5, None]

    def test_of_two_rows_of_one_time_the_one_created_later_counts(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Among rows of one event time the greatest created time wins, wherever it stands; none is the earliest."""
        source = self.put(
            tmp_path,
            a=table(at=[T] * 4, made=[T + 5, T + 9, None, T + 7], k=[1] * 4, v=[1, 2, 3, 4]),
            b=table(at=[T] * 2, made=[None, T + 8], k=[1] * 2, v=[5, 6]),
        )
        assert self.trained(subject, spine([T], k=[1]), join(scan(source, created="made"))) == [2]
        assert self.trained(subject, spine([T], k=[1]), join(scan(source))) == [6]

    def test_of_two_rows_alike_the_one_later_in_the_files_counts(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Rows of one event time and created time are ranked by the path of their file, then by their place in it."""
        source = self.put(
            tmp_path,
            b=table(at=[T, T], k=[1, 2], v=[3, 30]),
            a=table(at=[T, T, T], k=[1, 1, 3], v=[1, 2, 100]),
            part_10=table(at=[T], k=[4], v=[10]),
            part_9=table(at=[T, T], k=[4, 3], v=[9, 90]),
        )
        asked = spine([T] * 4, k=[1, 2, 3, 4])
        assert self.trained(subject, asked, join(scan(source))) == [3, 30, 90, 9]

    def test_ties_hold_over_many_row_groups(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Of 30,000 rows with one key and one time in three files the last one counts, however they are read."""
        for name in ("a", "b", "c"):
            alike = table(at=[T] * 10_000, made=[T] * 10_000, k=[1] * 10_000, v=list(range(10_000)))
            self.write(tmp_path / f"{name}.parquet", alike, row_group=1000)
        last = table(at=[T, T], made=[T, T - 1], k=[1, 1], v=[-1, -2])
        source = self.put(tmp_path, d=last)
        asked = spine([T + 5] * 3, k=[1] * 3)
        assert self.trained(subject, asked, join(scan(source))) == [-2] * 3
        assert self.trained(subject, asked, join(scan(source, created="made"))) == [-1] * 3

    def test_known_by_hides_what_was_created_later(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """With known_by a row counts from its created time on, and the one before it does until then."""
        made = [T + 5, T + 50, None]
        source = self.put(tmp_path, a=table(at=[T, T + 10, T + 20], made=made, k=[1] * 3, v=[1, 2, 3]))
        one = join(scan(source, created="made"))
        asked = spine([T + 4, T + 5, T + 10, T + 19, T + 20, T + 50], k=[1] * 6)
        assert self.trained(subject, asked, one) == [1, 1, 2, 2, 3, 3]
        assert self.trained(subject, asked, one, known_by=True) == [None, 1, 1, 1, 3, 3]

    def test_known_by_ranks_only_what_was_known(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A later correction of the same event does not count before it was made, and the first version does."""
        source = self.put(tmp_path, a=table(at=[T, T, T], made=[T, T + 9, T + 3], k=[1] * 3, v=[1, 9, 3]))
        one = join(scan(source, created="made"), ttl=8)
        asked = spine([T, T + 2, T + 3, T + 8, T + 9], k=[1] * 5)
        assert self.trained(subject, asked, one, known_by=True) == [1, 1, 3, 3, None]

    def test_known_by_without_a_created_time_changes_nothing(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A source that has no created time counts each row from its event on, known_by or not."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[1]))
        assert self.trained(subject, spine([T - 1, T], k=[1, 1]), join(scan(source)), known_by=True) == [None, 1]

    def test_rows_without_key_or_time_are_nobodys(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A null key matches nothing, not even a null key, and a row without an event time never counts."""
        source = self.put(tmp_path, a=table(at=[T, T, None], k=[None, 1, 2], v=[1, 2, 3]))
        asked = spine([T, T, T, None], k=pa.array([None, 1, 2, 1], pa.int64()))
        assert self.trained(subject, asked, join(scan(source))) == [None, 2, None, None]

    def test_a_key_of_several_columns(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Keys of several columns match column by column: ("a", "bc") is not ("ab", "c"), and half a key is none."""
        source = self.put(
            tmp_path, a=table(at=[T] * 4, x=["a", "ab", "a", None], y=["bc", "c", None, "c"], v=[1, 2, 3, 4])
        )
        keys: dict[str, FeatureType] = {"x": String, "y": String}
        asked = spine([T] * 5, y=["bc", "c", "c", None, "c"], x=["a", "ab", "a", "a", None])
        assert self.trained(subject, asked, join(scan(source, keys=keys))) == [1, 2, None, None, None]

    @pytest.mark.parametrize(
        ("kind", "keys"),
        [
            (Int64, [2**63 - 1, -(2**63), 2**53 + 1, 2**53, 0, -1]),
            (Int32, [2**31 - 1, -(2**31), 0]),
            (String, ["1", "01", " 1", "", "é", "e\u0301", "a", "A", "a\0", "a\0b", "\u202eabc", "😀", "x" * 65_536]),
            (Bytes, [b"", b"\0", b"\0\0", b"\xff\xfe", b"a"]),
            (Bool, [True, False]),
            (UnixTimestamp, [T, T + 1, -1]),
            (Float64, [0.5, 0.1, 1e300, float("-inf")]),
            (Uuid, ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"]),
        ],
        ids=shown,
    )
    def test_keys_of_any_type_stay_apart(
        self, subject: OfflineEngine, tmp_path: Path, kind: FeatureType, keys: list[object]
    ) -> None:
        """Each key finds its own row and no other, however much two of them look alike."""
        typed = pa.array(keys, arrow_type(kind))
        source = self.put(tmp_path, a=table(at=[T] * len(keys), k=typed, v=list(range(len(keys)))))
        asked = spine([T] * len(keys), k=typed)
        assert self.trained(subject, asked, join(scan(source, keys={"k": kind}))) == list(range(len(keys)))

    def test_both_zeros_are_one_key(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """0.0 and -0.0 are the same key."""
        source = self.put(tmp_path, a=table(at=[T, T + 1], k=[0.0, -0.0], v=[1, 2]))
        one = join(scan(source, keys={"k": Float64}))
        assert self.trained(subject, spine([T + 1, T + 1, T], k=[0.0, -0.0, -0.0]), one) == [2, 2, 1]

    def test_a_view_without_entities(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A view without entities has one value at each time, for every entity row that has a time."""
        source = self.put(tmp_path, a=table(at=[T, T + 10], v=[1, 2]))
        one = join(scan(source, keys={}), ttl=15)
        assert self.trained(subject, spine([T - 1, T, T + 10, T + 26, None]), one) == [None, 1, 2, None, None]


class AnswerTests(OfflineEngineCase):
    """S8: the entity rows as they were given, then the features in the order asked for."""

    def test_the_entity_rows_come_back_as_they_were(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Rows keep their number and order, with duplicates, unknown keys and unsorted times."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7]))
        asked = spine([T, T - 5, T, T, None, T + 1], k=pa.array([1, 1, 9, 1, 1, None], pa.int64()), n=list(range(6)))
        answer = self.train(subject, asked, join(scan(source)))
        assert answer.column_names == ["t", "k", "n", "out_v"]
        assert answer["n"].to_pylist() == [0, 1, 2, 3, 4, 5]
        assert answer["out_v"].to_pylist() == [7, None, None, 7, None, None]

    def test_no_entity_rows(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """An empty table of entity rows gives an empty answer with all of its columns."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7]))
        answer = self.train(subject, spine([], k=pa.array([], pa.int64())), join(scan(source)))
        assert (answer.num_rows, answer.column_names) == (0, ["t", "k", "out_v"])

    def test_entity_rows_as_a_reader(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Entity rows may come as a reader of batches, empty ones among them."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7]))
        asked = spine([T, T - 1, T, T], k=[1, 1, 2, 1])
        pieces = [asked.slice(0, 1), asked.slice(1, 0), asked.slice(1, 3)]
        reader = pa.RecordBatchReader.from_batches(asked.schema, [b for p in pieces for b in p.to_batches()])
        assert self.train(subject, reader, join(scan(source)))["out_v"].to_pylist() == [7, None, None, 7]

    def test_entity_rows_in_slices_and_pieces(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A slice of a table, and one whose columns are cut at different places, are read as what they show."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7]))
        times = pa.chunked_array([pa.array([0, T, T - 1], US), pa.array([T, T], US)])
        keys = pa.chunked_array([pa.array([1, 1]), pa.array([], pa.int64()), pa.array([1, 2, 1])])
        asked = pa.table({"t": times, "k": keys}).slice(1, 4)
        assert self.trained(subject, asked, join(scan(source))) == [7, None, None, 7]

    def test_order_over_many_rows(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """With 40,000 rows in three files and 30,000 entity rows, every row has its own value in its own place."""
        keys = [(number * 7919) % 1000 for number in range(40_000)]
        times = [T + (number // 1000) * 10 for number in range(40_000)]
        whole = table(at=times, k=keys, v=list(range(40_000)))
        for number, name in enumerate(("a", "b", "c")):
            self.write(tmp_path / f"{name}.parquet", whole.slice(number * 13_334, 13_334), row_group=3000)
        source = self.put(tmp_path)
        place = {(key, time): number for number, (key, time) in enumerate(zip(keys, times, strict=True))}
        wanted = [((n * 104_729) % 1000, T + ((n * 31) % 40) * 10 + n % 10) for n in range(30_000)]
        asked = spine([time for _, time in wanted], k=[key for key, _ in wanted])
        expected = [place[key, time - time % 10] for key, time in wanted]
        assert self.trained(subject, asked, join(scan(source))) == expected

    def test_a_key_with_many_events(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A key with 100,000 events, in a soak a million, is as exact as one with two."""
        many = 1_000_000 if soaking() else 100_000
        source = self.put(tmp_path, a=table(at=[T + 2 * n for n in range(many)], k=[1] * many, v=list(range(many))))
        asked = spine([T + n for n in (0, 1, 2, 99_999, 2 * many - 2, 2 * many, -1)], k=[1] * 7)
        assert self.trained(subject, asked, join(scan(source), ttl=1)) == [0, 0, 1, 49_999, many - 1, None, None]

    def test_several_views_on_different_keys(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Views with different keys, types of keys, ttls and times join the same entity rows side by side."""
        people = self.put(tmp_path / "people", a=table(at=[T, T + 5], k=[1, 2], v=[10, 20]))
        shops = self.put(tmp_path / "shops", a=table(at=[T + 3], shop=["s"], v=[0.5]))
        pairs = self.put(tmp_path / "pairs", a=table({"when": pa.array([T], US)}, k=[2], shop=["s"], v=[True]))
        world = self.put(tmp_path / "world", a=table(at=[T + 1], v=["w"]))
        joins = (
            join(scan(people), ["person"], ["a"], ttl=4),
            join(scan(shops, keys={"shop": String}, columns={"v": Float64}), outputs=["b"]),
            join(
                scan(pairs, keys={"k": Int64, "shop": String}, columns={"v": Bool}, time="when"),
                ["person", "shop"],
                ["c"],
            ),
            join(scan(world, keys={}, columns={"v": String}), outputs=["d"]),
        )
        asked = spine([T + 4, T + 5, T], person=[1, 2, 1], shop=["s", "s", "z"])
        answer = self.train(subject, asked, *joins)
        assert [answer[name].to_pylist() for name in "abcd"] == [
            [10, 20, 10],
            [0.5, 0.5, None],
            [None, True, None],
            ["w", "w", None],
        ]

    def test_one_source_twice_under_two_aliases(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The same source joins twice, by two columns of the entity rows and with two ttls, without mixing them up."""
        source = self.put(tmp_path, a=table(at=[T, T], k=[1, 2], v=[10, 20]))
        joins = join(scan(source), ["buyer"], ["buyer_v"], ttl=1), join(scan(source), ["seller"], ["seller_v"])
        answer = self.train(subject, spine([T, T + 2], buyer=[1, 2], seller=[2, 1]), *joins)
        assert answer.column_names == ["t", "buyer", "seller", "buyer_v", "seller_v"]
        assert [answer[name].to_pylist() for name in ("buyer_v", "seller_v")] == [[10, None], [20, 10]]

    def test_one_column_as_several_features(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A source's column may be asked for twice, in two types, and the key and times may be features as well."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[2]))
        one = scan(source, columns={"v": Float64, "k": Int64, "at": UnixTimestamp})
        twice = scan(source, columns={"v": Int64})
        joins = join(one, outputs=["v_float", "key", "when"]), join(twice, outputs=["v_int"])
        answer = self.train(subject, spine([T], k=[1]), *joins)
        assert answer.select(["v_float", "v_int", "key"]).to_pylist() == [{"v_float": 2.0, "v_int": 2, "key": 1}]
        assert answer["when"].cast(pa.int64()).to_pylist() == [T]

    def test_entity_rows_alone(self, subject: OfflineEngine) -> None:
        """A plan without joins gives the entity rows as they are."""
        assert self.train(subject, spine([T, None], k=[1, 2])).column_names == ["t", "k"]

    def test_names_that_collide_with_the_sources(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The entity rows' columns may be called like the source's, like what an engine adds, or like words of SQL."""
        source = self.put(tmp_path, a=table(at=[T], made=[T], k=[1], v=[7]))
        names = [
            "at",
            "made",
            "v",
            "f0",
            "__event_time",
            "__created_time",
            "rowid",
            "row_number",
            "select",
            "KEY",
            'a"b',
        ]
        extra = {name: [f"extra {name}"] for name in names}
        answer = self.train(subject, spine([T], k=[1], **extra), join(scan(source, created="made")))
        assert answer.to_pylist()[0].items() >= {**{n: f"extra {n}" for n in names}, "out_v": 7}.items()

    def test_names_that_differ_by_case_only(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """Columns whose names differ by case only are different columns, in files, entity rows and answers."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7], V=[8], K=[9]))
        one = join(scan(source, columns={"V": Int64, "v": Int64}), outputs=["Out", "out"])
        answer = self.train(subject, spine([T], k=[1], K=[2], n=["small"], N=["large"]), one)
        assert answer.column_names == ["t", "k", "K", "n", "N", "Out", "out"]
        assert [column.to_pylist()[0] for column in answer.columns[1:]] == [1, 2, "small", "large", 8, 7]

    @pytest.mark.parametrize(
        "name", ['qu"ote', "it's; DROP TABLE x", "größe \u202e", "a.b", "*", "semi;colon", "%s {x}", "\\"]
    )
    def test_names_of_any_kind(self, subject: OfflineEngine, tmp_path: Path, name: str) -> None:
        """Columns and folders may have names of any characters, and none of them is run as code."""
        folder = tmp_path / (name.replace("*", "star") + " [1]")
        source = self.put(folder, a=table({name: [1], f"v{name}": [7]}, at=[T]))
        one = scan(source, keys={name: Int64}, columns={f"v{name}": Int64})
        assert self.trained(subject, spine([T], **{name: [1]}), join(one, outputs=[f"out {name}"])) == [7]

    def test_extra_columns_of_every_type(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """The entity rows' other columns come back with their type and their bits, whatever Arrow type they have."""
        source = self.put(tmp_path, a=table(at=[T], k=[1], v=[7]))
        extras = {
            "u64": pa.array([2**64 - 1, 0], pa.uint64()),
            "i8": pa.array([-128, None], pa.int8()),
            "f32": pa.array([0.1, float("nan")], pa.float32()),
            "f16": pa.array([0.5, None], pa.float16()),
            "large": pa.array(["a\0", ""], pa.large_string()),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "date": pa.array([0, -719_162], pa.date32()),
            "clock": pa.array([1, None], pa.time64("us")),
            "ns": pa.array([T * 1000 + 1, -1], pa.timestamp("ns", "Europe/Berlin")),
            "span": pa.array([1, -1], pa.duration("us")),
            "list": pa.array([[1, None], []], pa.list_(pa.int32())),
            "record": pa.array([{"a": 1, "b": "x"}, None], pa.struct({"a": pa.int8(), "b": pa.string()})),
            "bytes": pa.array([b"\0\xff", None], pa.binary()),
            "nothing": pa.array([None, None], pa.null()),
            "money": pa.array(["1.10", None]).cast(pa.decimal128(12, 2)),
        }
        assert self.trained(subject, spine([T, T], k=[1, 2], **extras), join(scan(source))) == [7, None]

    def test_a_thousand_features(self, subject: OfflineEngine, tmp_path: Path) -> None:
        """A thousand features of ten views come in the order asked for, each with its own values."""
        joins = []
        for view in range(10):
            columns = {f"v{number}": [view * 100 + number, None] for number in range(100)}
            source = self.put(tmp_path / str(view), a=table(columns, at=[T, T + 1], k=[1, 2]))
            asked = dict.fromkeys(reversed(columns), Int64)
            joins.append(join(scan(source, columns=asked), outputs=[f"view{view}__{name}" for name in asked]))
        answer = self.train(subject, spine([T + 1, T, T + 1], k=[2, 1, 3]), *joins)
        assert answer.num_columns == 1002
        expected = [view * 100 + number for view in range(10) for number in reversed(range(100))]
        assert [column.to_pylist() for column in answer.columns[2:]] == [[None, value, None] for value in expected]

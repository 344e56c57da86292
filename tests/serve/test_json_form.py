"""The JSON form of values: nothing is lost on the way there and back."""

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.server_process import NOW, columns

from likewise import FeatureStore
from likewise.core.columns import conform
from likewise.core.json_form import column_encoder, decode_column
from likewise.core.time import FixedClock
from likewise.online.rows import Layout, RowReader, RowWriter
from likewise.testing.kinds import KINDS, NOON, column
from likewise.testing.values import exact_all

PUSHED = {
    "token": ["AP8=", "YQ=="],
    "event_timestamp": ["2024-05-31T00:00:00.000001Z"] * 2,
    "whole": [2**63 - 1, None],
    "double": ["NaN", -0.0],
    "single": [0.10000000149011612, "-Infinity"],
    "flag": [True, None],
    "text": ["null \u0000 \U0001f469", ""],
    "blob": ["/w==", ""],
    "at": ["2024-01-31T10:00:00.123456Z", None],
    "price": ["-1.10", None],
    "id": ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", None],
    "numbers": [[1.5, None, "NaN"], []],
    "labels": [["a", "b"], None],
    "pairs": [{"k": "v", "n": None}, {}],
    "place": [{"lat": "Infinity", "name": "x"}, None],
    "json": ['{"a": 1}', None],
}


def test_every_type_survives_the_way_in_and_out(server, repo):
    """What is written over HTTP is read over HTTP as it was sent, and by the SDK as the values it stands for."""
    assert server.post("/write-to-online-store", {"feature_view_name": "everything", "df": PUSHED}).json == {
        "written": 2
    }
    names = [name for name in PUSHED if name not in ("token", "event_timestamp")]
    reply = server.read([f"everything:{name}" for name in names], {"token": PUSHED["token"]})
    answered = columns(reply)
    assert answered == {name: PUSHED[name] for name in ["token", *names]} | {"price": ["-1.100000000000000000", None]}
    assert str(answered["double"]) == "['NaN', -0.0]"
    assert reply.json["results"][1]["event_timestamps"] == PUSHED["event_timestamp"]
    with FeatureStore(repo, clock=FixedClock(NOW)) as store:
        own = store.get_online_features(["everything"], {"token": [b"\x00\xff", b"a"]}).to_dict()
    assert own["blob"] == [b"\xff", b""]
    assert own["numbers"][0][:2] == [1.5, None]
    assert own["labels"] == [{"a", "b"}, None]
    assert own["at"][0].isoformat() == "2024-01-31T10:00:00.123456+00:00"


@given(st.data())
def test_values_of_every_type_come_back_to_the_bit(data):
    """Whatever the online store gives a reader, its JSON gives back: same type, same bits; a set comes as a list."""
    kind = data.draw(st.sampled_from(KINDS))
    values = data.draw(st.lists(st.none() | kind.values, max_size=4))
    answered = served(kind, values)
    back = decode_column("v", json.loads(column_encoder(kind.type)(answered)), kind.type)
    assert exact_all(map(as_list, back)) == exact_all(map(as_list, answered))


def served(kind, values):
    """Return values as a reader of an online store gets them."""
    layout = Layout.of([("v", kind.type)])
    keys = [str(row).encode() for row in range(len(values))]
    given = conform(column(values, kind.stored), kind.type, "v")
    times = pa.array([NOON] * len(values)).cast(pa.timestamp("us", tz="UTC"))
    records = RowWriter(layout).encode_arrow(keys, times, None, [given])
    return list(RowReader(layout, table="t").decode(keys, records).columns[0])


def as_list(value):
    """Return a set as the list that JSON has for it; nested ones are not among the kinds."""
    if not isinstance(value, set | frozenset):
        return value
    return sorted(value, key=_order)


def _order(item):
    return (item is None, item != item, item if item is not None and item == item else 0)

"""Reads over HTTP: Feast's JSON both ways."""

import pytest
from tests.serve.server_process import columns, problem

EPOCH = "1970-01-01T00:00:00Z"


def test_an_answer_is_feasts_json_in_the_order_asked(server):
    """Entities first, then the features as asked; each value has a status and its record's event time."""
    reply = server.read(["driver_stats:rating", "driver_city:city", "driver_stats:trips"], {"driver_id": [2, 1, 3, 9]})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {
        "metadata": {"feature_names": ["driver_id", "rating", "city", "trips"]},
        "results": [
            {"values": [2, 1, 3, 9], "statuses": ["PRESENT"] * 4, "event_timestamps": [EPOCH] * 4},
            {
                "values": [5.0, 4.0, None, None],
                "statuses": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": ["2024-05-30T12:00:00Z", "2024-05-31T12:00:00Z", "2024-05-02T12:00:00Z", EPOCH],
            },
            {
                "values": [None, "Rome", None, None],
                "statuses": ["NOT_FOUND", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
                "event_timestamps": [EPOCH, "2024-05-29T12:00:00Z", EPOCH, EPOCH],
            },
            {
                "values": [None, 11, None, None],
                "statuses": ["NULL_VALUE", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": ["2024-05-30T12:00:00Z", "2024-05-31T12:00:00Z", "2024-05-02T12:00:00Z", EPOCH],
            },
        ],
    }


def test_rows_and_columns_give_the_same_answer(server):
    """A request may give its entities row by row as well."""
    by_columns = server.read(["driver_stats"], {"driver_id": [1, 2]})
    by_rows = server.post(
        "/get-online-features", {"features": ["driver_stats"], "rows": [{"driver_id": 1}, {"driver_id": 2}]}
    )
    assert by_columns.json == by_rows.json


def test_a_service_is_asked_by_its_name_with_full_names(server):
    """feature_service and full_feature_names work as in Feast; on-demand features are computed from the request."""
    body = {
        "feature_service": "pricing_v1",
        "entities": {"driver_id": [1, 9], "fare": [6, 1]},
        "full_feature_names": True,
    }
    reply = server.post("/get-online-features", body)
    assert columns(reply) == {
        "driver_id": [1, 9],
        "driver_stats__rating": [4.0, None],
        "fares__fare_per_star": [1.5, None],
    }


def test_no_rows_give_an_empty_answer(server):
    """Empty columns are answered with empty results."""
    reply = server.read(["driver_stats:trips"], {"driver_id": []})
    assert columns(reply) == {"driver_id": [], "trips": []}


def test_as_of_sets_the_time(server):
    """An answer may be for another time: three weeks later everything has expired."""
    reply = server.read(["driver_stats:trips"], {"driver_id": [1]}, as_of="2024-06-22T00:00:00Z")
    assert reply.json["results"][1]["statuses"] == ["OUTSIDE_MAX_AGE"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"features": ["nope:x"], "entities": {"driver_id": [1]}}, (404, "not_found", "/features")),
        ({"features": ["driver_stats:nope"], "entities": {"driver_id": [1]}}, (404, "not_found", "/features")),
        ({"feature_service": "nope", "entities": {"driver_id": [1]}}, (404, "not_found", "/feature_service")),
        ({"features": ["driver_stats"], "entities": {}}, (422, "invalid", "/entities/driver_id")),
        (
            {"features": ["driver_stats"], "entities": {"driver_id": [1, None]}},
            (422, "invalid", "/entities/driver_id/1"),
        ),
        ({"features": ["driver_stats"], "rows": [{"driver_id": 1}, {}]}, (422, "invalid", "/rows/1/driver_id")),
        ({"features": ["driver_stats"], "entities": {"driver_id": [2**64]}}, (422, "invalid", "/entities/driver_id/0")),
        ({"features": ["driver_stats"], "entities": {"driver_id": 1}}, (422, "invalid", "/entities/driver_id")),
        ({"features": "driver_stats", "entities": {"driver_id": [1]}}, (422, "invalid", "/features")),
        ({"features": ["driver_stats", 5], "entities": {"driver_id": [1]}}, (422, "invalid", "/features/1")),
        ({"features": ["driver_stats"]}, (422, "invalid", "")),
        ({"entities": {"driver_id": [1]}}, (422, "invalid", "")),
        ({"features": [], "entities": {"driver_id": [1]}}, (422, "invalid", None)),
        ({"feature": ["x"], "entities": {"driver_id": [1]}}, (422, "invalid", "/feature")),
        ({"features": ["fares"], "entities": {"driver_id": [1]}}, (422, "invalid", "/entities/fare")),
        (
            {"features": ["fares"], "entities": {"driver_id": [1], "fare": ["much"]}},
            (422, "invalid", "/entities/fare/0"),
        ),
        (
            {"features": ["driver_stats"], "entities": {"driver_id": [1]}, "as_of": "soon"},
            (422, "invalid", "/as_of"),
        ),
        ([1], (422, "invalid", "")),
    ],
)
def test_what_cannot_be_answered_is_a_problem_with_a_pointer(server, body, expected):
    """The problem says what is wrong, where in the body, and has the request's id."""
    assert problem(server.post("/get-online-features", body)) == expected


def test_a_request_keeps_its_own_id(server):
    """An id that the caller gives comes back; one that is no plain word does not."""
    assert server.ask("GET", "/health", x_request_id="abc-1").headers["x-request-id"] == "abc-1"
    assert server.ask("GET", "/health", x_request_id="a b").headers["x-request-id"] != "a b"

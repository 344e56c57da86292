"""Verify: what was served is what the source says for its time, and what is not is found."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.jobs.served_repo import CARDS, SERVICE, log_read, make_shop, times

from likewise import FeatureStore
from likewise.core.errors import RequestError, SourceUnreadable
from likewise.core.keys import KeyCodec
from likewise.core.types import Float64, Int64
from likewise.jobs.sameness import EXACT, SUMS, same
from likewise.jobs.served import ServedKind, served_files, write_served
from likewise.jobs.verification import Outcome, Verification
from likewise.online.rows import Layout, RowWriter, tombstone
from likewise.plan.lookup import table_name

pytestmark = pytest.mark.filterwarnings("ignore:view 'card_limit' has:UserWarning")
HOUR = 3_600_000_000


def counts(found: Verification, feature: str) -> dict[str, int]:
    """Return what came of a feature's values."""
    return {outcome.name: count for outcome, count in found.features[feature].counts.items()}


def damage(store: FeatureStore, view: str, card: int, at: datetime, values: list[Any]) -> None:
    """Put another record in the place of a card's, whatever it is."""
    found = store.get_feature_view(view)
    table, [key] = _place(store, view, card)
    writer = RowWriter(Layout.of((found.stored_name(f.name), f.dtype) for f in found.features))
    [record] = writer.encode([key], [int(at.timestamp() * 1_000_000)], None, [[value] for value in values])
    [[stored]] = store.online_store.read([(table, [key])])
    assert store.online_store.swap(table, [key], [stored], [record]) == []


@pytest.fixture
def shop(tmp_path: Path) -> FeatureStore:
    """The shop's store."""
    return FeatureStore(make_shop(tmp_path / "shop"))


def test_what_a_correct_store_served_is_what_the_source_says(shop):
    """Values, expired and missing ones, windows and on-demand features: nothing differs, and all are compared."""
    log_read(shop, [*CARDS, 1000])
    found = shop.verify_served()
    assert found.different == 0
    assert found.rows == len(CARDS) + 1
    assert {name: check.equal for name, check in found.features.items()} == dict.fromkeys(found.features, found.rows)


def test_a_damaged_record_is_found_exactly(shop):
    """One record with another value for its row makes one difference, which names key, times and both values."""
    card = 7
    [row] = [r for r in pq.read_table(shop.repo_path / "data/scores.parquet").to_pylist() if r["card_id"] == card]
    damage(shop, "card_score", card, row["at"], [0.25])
    log_read(shop, CARDS, ("card_score:score", "card_limit:limit"))
    found = shop.verify_served()
    assert counts(found, "card_score:score") == {"EQUAL": len(CARDS) - 1, "DIFFERENT": 1}
    assert found.different == 1
    [example] = found.features["card_score:score"].examples
    assert (example.key, example.served, example.recomputed) == ({"card_id": card}, 0.25, row["score"])
    assert example.served_time == example.recomputed_time == row["at"]
    assert example.request_id == "request-1"


def test_what_an_on_demand_function_makes_of_a_damaged_record_is_not_held_against_it(shop):
    """The feature whose record is damaged differs; what was computed from it is only not compared."""
    row = pq.read_table(shop.repo_path / "data/scores.parquet").to_pylist()[7]
    damage(shop, "card_score", 7, row["at"], [0.25])
    log_read(shop, CARDS)
    found = shop.verify_served()
    assert counts(found, "card_score:score")["DIFFERENT"] == 1
    assert counts(found, "room:room") == {"EQUAL": len(CARDS) - 1, "INPUTS": 1}


def test_an_older_record_than_what_was_materialized_is_a_difference(shop):
    """A record that was put back to an earlier row lacks one that the watermark says was there."""
    rows = [r for r in pq.read_table(shop.repo_path / "data/limits/first.parquet").to_pylist() if r["card_id"] == 8]
    old = min(rows, key=lambda r: r["at"])
    damage(shop, "card_limit", 8, old["at"], [old["limit"]])
    log_read(shop, CARDS, ("card_limit:limit",))
    found = shop.verify_served()
    assert counts(found, "card_limit:limit")["DIFFERENT"] == 1
    [example] = found.features["card_limit:limit"].examples
    assert "was materialized before" in example.why


def test_rows_after_the_last_materialization_are_stale_and_no_difference(shop):
    """A file that came later has newer rows: what was served is right for its own time, and stale."""
    log_read(shop, CARDS, ("card_limit:limit",))
    soon = datetime.now(UTC)
    new = {
        "card_id": CARDS,
        "at": times([soon] * len(CARDS)),
        "written": times([soon] * len(CARDS)),
        "limit": [1] * len(CARDS),
    }
    pq.write_table(pa.table(new), shop.repo_path / "data/limits/second.parquet")
    log_read(shop, CARDS, ("card_limit:limit",))
    found = shop.verify_served()
    assert counts(found, "card_limit:limit") == {"EQUAL": len(CARDS), "STALE": len(CARDS)}


def test_a_late_row_that_was_created_after_the_answer_does_not_count(shop):
    """A row of an earlier event time, written later, was not known when the answer was given (S4)."""
    log_read(shop, CARDS, ("card_limit:limit",))
    late = datetime.now(UTC) - timedelta(minutes=30)
    written = datetime.now(UTC) + timedelta(minutes=1)
    new = {"card_id": [7], "at": times([late]), "written": times([written]), "limit": [1]}
    pq.write_table(pa.table(new), shop.repo_path / "data/limits/late.parquet")
    found = shop.verify_served()
    assert counts(found, "card_limit:limit") == {"EQUAL": len(CARDS)}


def test_what_was_pushed_online_only_is_not_compared(shop):
    """A row that the source lacks is named as such."""
    shop.push("limits", {"card_id": [7], "at": [datetime.now(UTC)], "limit": [5]})
    log_read(shop, CARDS, ("card_limit:limit",))
    found = shop.verify_served()
    assert counts(found, "card_limit:limit") == {"EQUAL": len(CARDS) - 1, "ONLY_ONLINE": 1}


def test_a_row_that_was_replaced_by_one_of_its_own_time_is_not_compared(shop):
    """The source has two rows of a key and time: the one that was served first is one of them."""
    log_read(shop, [7], ("card_score:score",))
    path = shop.repo_path / "data/scores.parquet"
    table = pq.read_table(path)
    again = table.slice(7, 1).set_column(2, "score", pa.array([0.5]))
    pq.write_table(pa.concat_tables([table, again]), path)
    assert counts(shop.verify_served(), "card_score:score") == {"RESTATED": 1}


def test_a_deleted_key_is_no_difference(shop):
    """A key that was deleted online is NOT_FOUND there, though the source has its row."""
    shop.delete_from_online_store("card_limit", [{"card_id": 7}])
    shop.delete_from_online_store("spending", [{"card_id": 7}])
    log_read(shop, [7, 8], ("card_limit:limit", "spending:count_7d"))
    found = shop.verify_served()
    assert counts(found, "card_limit:limit") == {"EQUAL": 1, "DELETED": 1}
    assert counts(found, "spending:count_7d")["EQUAL"] == 1
    assert found.different == 0


def test_a_lost_record_is_a_difference(shop):
    """A key without a record, of which a row was materialized, is found, with what should have been served."""
    table, [key] = _place(shop, "card_limit", 7)
    [[stored]] = shop.online_store.read([(table, [key])])
    assert shop.online_store.swap(table, [key], [stored], [tombstone(key, 1)]) == []
    log_read(shop, [7, 8], ("card_limit:limit",))
    found = shop.verify_served()
    assert counts(found, "card_limit:limit") == {"EQUAL": 1, "DIFFERENT": 1}
    [example] = found.features["card_limit:limit"].examples
    assert (example.served_status, example.recomputed_status, example.recomputed) == ("NOT_FOUND", "PRESENT", 107)


def test_a_damaged_window_is_found_exactly(shop, tmp_path):
    """A state of other amounts makes the sums and means of its key differ, and not its count."""
    table, [key] = _place(shop, "spending", 8)
    with FeatureStore(make_shop(tmp_path / "other", amount=0.8)) as other:
        [[wrong]] = other.online_store.read([(table, [key])])
    shop.materialize_incremental(shop.clock.now())
    [[stored]] = shop.online_store.read([(table, [key])])
    assert shop.online_store.swap(table, [key], [stored], [wrong]) == []
    log_read(shop, CARDS, ("spending:count_7d", "spending:spent_7d"))
    found = shop.verify_served()
    assert counts(found, "spending:spent_7d") == {"EQUAL": len(CARDS) - 1, "DIFFERENT": 1}
    assert counts(found, "spending:count_7d") == {"EQUAL": len(CARDS)}
    assert found.features["spending:spent_7d"].examples[0].key == {"card_id": 8}


def test_a_window_with_events_pushed_online_only_is_not_compared(shop):
    """The state says that it counted a pushed event; once a materialization took that out, it can only be guessed."""
    early = datetime.now(UTC) - timedelta(days=2)
    shop.push("payments", {"card_id": [8], "at": [early], "written": [early], "amount": [99.0]})
    log_read(shop, CARDS, ("spending:count_7d",))
    assert counts(shop.verify_served(), "spending:count_7d") == {"EQUAL": len(CARDS) - 1, "ONLY_ONLINE": 1}
    shop.materialize_incremental(shop.clock.now())
    assert counts(shop.verify_served(), "spending:count_7d") == {"EQUAL": len(CARDS) - 1, "PUSHED": 1}


def _place(store: FeatureStore, view: str, card: int) -> tuple[str, list[bytes]]:
    found = store.get_feature_view(view)
    return table_name(store.project, found), KeyCodec([Int64], ["card_id"]).encode([[card]], 1)


def test_an_on_demand_function_that_is_not_pure_is_found(shop):
    """A function that reads more than its inputs gives one thing when it serves and another when it is run again."""
    code = shop.repo_path / "features.py"
    code.write_text(
        code.read_text().replace("None if l is None or s is None else l * s - a", "len(str(Path.cwd())) * 1.0")
    )
    with FeatureStore(shop.repo_path) as changed:
        with contextlib.chdir(shop.repo_path):
            changed.apply()
            log_read(changed, CARDS)
        with contextlib.chdir("/"):
            found = changed.verify_served()
    known = counts(found, "room:room")
    assert known.pop("DIFFERENT") > 0
    assert set(known) <= {"INPUTS"}
    assert {name for name, check in found.features.items() if check.different} == {"room:room"}


def test_answers_are_compared_with_the_definitions_of_their_catalog(shop):
    """After a view's ttl changed, what was served before is right by the ttl of then."""
    log_read(shop, CARDS, ("card_limit:limit",))
    code = shop.repo_path / "features.py"
    code.write_text(code.read_text().replace("ttl=timedelta(days=7)", "ttl=timedelta(minutes=1)"))
    with FeatureStore(shop.repo_path) as changed:
        changed.apply()
        log_read(changed, CARDS, ("card_limit:limit",))
        found = changed.verify_served()
    assert found.rows == 2 * len(CARDS)
    assert counts(found, "card_limit:limit") == {"EQUAL": 2 * len(CARDS)}


def test_an_answer_for_another_time_is_compared_where_it_can_be(shop):
    """Windows are answered at other times; of rows the store keeps one a key, so an earlier time finds nothing."""
    log_read(shop, CARDS, ("card_limit:limit",), as_of=shop.clock.now() - 60 * HOUR)
    log_read(shop, CARDS, ("card_limit:limit",), as_of=shop.clock.now() + 24 * 8 * HOUR)
    found = shop.verify_served()
    known = counts(found, "card_limit:limit")
    assert found.different == 0
    assert known["OTHER_TIME"] > 0
    assert known["EQUAL"] >= len(CARDS)


def test_what_cannot_be_read_any_more_is_said(shop):
    """A source that is gone is no difference: nothing is compared, and the note says why."""
    log_read(shop, CARDS, ("card_score:score", "card_limit:limit"))
    (shop.repo_path / "data/scores.parquet").unlink()
    found = shop.verify_served()
    assert counts(found, "card_score:score") == {"UNREADABLE": len(CARDS)}
    assert "scores.parquet" in found.features["card_score:score"].notes[0]
    assert counts(found, "card_limit:limit") == {"EQUAL": len(CARDS)}


def test_a_function_that_is_gone_is_said(shop):
    """The code of an on-demand view that answered is not kept: its values are not compared once it changed."""
    log_read(shop, CARDS)
    code = shop.repo_path / "features.py"
    code.write_text(code.read_text().replace("l * s - a", "l * s - a - 1"))
    with FeatureStore(shop.repo_path) as changed:
        changed.apply()
        found = changed.verify_served()
    assert counts(found, "room:room") == {"NO_FUNCTION": len(CARDS)}
    assert found.features["room:room"].notes


def test_a_part_of_a_log_can_be_chosen(shop):
    """By service, by time, and by number of rows; a service that nobody asked is refused by name."""
    log_read(shop, CARDS)
    log_read(shop, CARDS, ("card_limit:limit",))
    assert shop.verify_served(service=SERVICE).rows == len(CARDS)
    assert shop.verify_served(limit=5).rows == 5
    assert shop.verify_served(since=shop.clock.now() + HOUR).rows == 0
    assert shop.verify_served(until=shop.clock.now()).rows == 2 * len(CARDS)
    with pytest.raises(RequestError, match="cards_v2"):
        shop.verify_served(service="cards_v2")


def test_batches_do_not_change_what_is_found(shop):
    """Files of one kind are compared together or one by one, with the same result."""
    from likewise.jobs.verify import VerifyKit, VerifyRequest, verify

    for _ in range(3):
        log_read(shop, CARDS)
    kit = VerifyKit(
        shop.registry,
        shop.project,
        str(shop.repo_path),
        shop.engine,
        lambda: shop.online_store,
        shop._functions.runner,
        lambda event: None,
    )
    request = VerifyRequest((shop.repo_path / "data/served",))
    whole, parts = verify(kit, request), verify(kit, replace(request, rows_at_once=1))
    assert whole == parts
    assert whole.files == 3


def test_a_log_that_is_not_there_or_damaged_is_refused(shop, tmp_path):
    """A missing folder, one without a log, and a file that is cut off."""
    with pytest.raises(RequestError, match="nowhere"):
        shop.verify_served(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no answers"):
        shop.verify_served(tmp_path / "empty")
    log_read(shop, CARDS)
    [file] = served_files(shop.repo_path / "data/served")
    file.path.write_bytes(file.path.read_bytes()[:100])
    with pytest.raises(SourceUnreadable, match=file.path.name):
        shop.verify_served()


def test_partitions_give_the_same_rows(shop):
    """Columns that name folders are not in the files, and come back with their types."""
    log_read(shop, CARDS)
    folder = shop.repo_path / "data/served"
    [file] = served_files(folder)
    whole = file.read()

    def use(lookup: Any) -> ServedKind:
        return ServedKind.of(lookup.plan, shop.project, (SERVICE,), SERVICE)

    other = shop.repo_path / "data/parted"
    kind = shop.with_lookup((SERVICE,), False, use)
    write_served(whole.replace_schema_metadata(kind.schema.metadata), kind, other, ["card_id", "card_limit__limit"])
    parts = [part.read().select(whole.column_names) for part in served_files(other)]
    assert len(parts) == len(CARDS)
    again = pa.concat_tables([part.replace_schema_metadata(None) for part in parts]).sort_by("card_id")
    assert again == whole.replace_schema_metadata(None).sort_by("card_id")
    assert shop.verify_served(other).different == 0


def test_logs_of_others_become_the_log_of_a_service(shop):
    """Rows in Feast's columns are written and compared like those of the server; a missing column is named."""
    log_read(shop, CARDS)
    [file] = served_files(shop.repo_path / "data/served")
    whole = file.read()
    file.path.unlink()
    own = [name for name in whole.column_names if name.startswith(("__record", "__as_of", "__catalog"))]
    shop.write_logged_features(whole.drop_columns(own), shop.get_feature_service(SERVICE))
    found = shop.verify_served(service=SERVICE)
    assert (found.rows, found.different) == (len(CARDS), 0)
    assert counts(found, "card_limit:limit") == {"EQUAL": len(CARDS)}
    with pytest.raises(RequestError, match="card_score__score"):
        shop.write_logged_features(whole.drop_columns(["card_score__score"]), SERVICE)


def test_floats_are_the_same_to_the_bit_or_nearly():
    """Zeros of two signs differ, NaNs do not; sums may differ by what S6 allows."""
    a, b = pa.array([0.0, 1.0, None]), pa.array([-0.0, 1.0 + 5e-13, None])
    assert same(a, b, Float64, EXACT).tolist() == [False, False, True]
    assert same(a, b, Float64, SUMS).tolist() == [True, True, True]


def test_every_outcome_but_the_compared_ones_has_a_reason():
    """Whoever sees a number of values that were not compared can read why."""
    from likewise.jobs.verification import REASONS

    assert set(REASONS) == {outcome for outcome in Outcome if outcome > Outcome.DIFFERENT}

"""FeatureStore: the facade. Each method builds a plan and has it run; nothing is computed here.

The road of a value, to read on: ``define/view.py`` (what it is) - ``plan/apply.py`` (what is registered) -
``registry/`` (where that is kept) - for training ``plan/selection.py``, ``plan/training.py``, ``jobs/training.py``,
``offline/`` - for serving ``plan/materialize.py``, ``jobs/materialize.py``, ``online/rows.py``, ``plan/lookup.py``,
``jobs/lookup.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from likewise import backends
from likewise.config import FILE_VARIABLES, RemoteStoreConfig, RepoConfig, load_config, place_of
from likewise.core.errors import (
    ConfigError,
    FeatureViewNotFound,
    InvalidTime,
    InvalidType,
    LikewiseError,
    NotFound,
    NotSupported,
    RequestError,
    StoreError,
)
from likewise.core.frames import to_pandas, to_table
from likewise.core.names import near_misses
from likewise.core.time import Clock, from_micros, process_clock, span_micros, to_micros
from likewise.define.definition import Definition
from likewise.define.entity import Entity
from likewise.define.project import Project
from likewise.define.service import FeatureService
from likewise.define.source import DataSource, PushMode, push_mode
from likewise.define.transform import OnDemandFeatureView
from likewise.define.view import FeatureView
from likewise.define.windowed import StreamFeatureView
from likewise.jobs.apply import (
    Applied,
    commit,
    commit_partial,
    live_formers,
    restart_states,
    roll_back,
    settle_tables,
    tear_down,
)
from likewise.jobs.backup import BackupKit, Manifest, Report, back_up, put_back, read_manifest, stored_tables
from likewise.jobs.datasets import SavedDataset, SaveRequest, all_saved, find_saved, save
from likewise.jobs.forget import (
    ForgetKit,
    Forgotten,
    called,
    digest_of,
    forget_served,
    forget_view,
    left_in,
    typed,
    views_of_key,
)
from likewise.jobs.functions import Functions
from likewise.jobs.layouts import PastLayouts
from likewise.jobs.lookup import Lookup, Rows
from likewise.jobs.materialize import (
    Crash,
    Done,
    Event,
    Kit,
    held,
    materialize,
    name_table,
    progress_of,
    recognize_store,
)
from likewise.jobs.push import PushKit, PushRequest, push
from likewise.jobs.spine import TIME as SPINE_TIME
from likewise.jobs.spine import range_spine, read_spine, time_column, with_utc_times
from likewise.jobs.states import Push
from likewise.jobs.training import RetrievalJob, Tools, definition_hashes
from likewise.jobs.verify_online import (
    CheckKit,
    OnlineCheck,
    TwoWays,
    has_damage,
    verify_values,
    verify_windows,
)
from likewise.jobs.write import delete_former, delete_online, write_offline
from likewise.online.base import OnlineStore, TableMissing
from likewise.online.deadline import Deadline, checked_seconds
from likewise.online.guard import GuardedStore
from likewise.online.response import OnlineResponse
from likewise.plan.apply import ApplyPlan, ApplyRequest, plan_apply
from likewise.plan.former import Former, with_formers
from likewise.plan.lookup import deletions_name, plan_lookup, table_name
from likewise.plan.materialize import MaterializePlan, Progress, plan_incremental, plan_materialize
from likewise.plan.scan import Location, is_foreign
from likewise.plan.selection import select
from likewise.plan.training import SpineShape, plan_training
from likewise.plan.windows import windows_if_known
from likewise.registry.audit import Deed, Entry, checked, enter, enter_catalogs, entries
from likewise.registry.base import Registry
from likewise.registry.catalog import Catalog, CatalogInfo
from likewise.registry.crash import no_crash
from likewise.registry.definitions import Definitions, read_definitions
from likewise.registry.history import past_views, refuse_other_version, view_version, view_versions
from likewise.registry.keys import Grant, Key, create, revoke
from likewise.registry.watermarks import read_watermark

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from likewise.jobs.derived import DerivedEngine
    from likewise.jobs.explanation import ValueExplanation
    from likewise.jobs.verification import Verification
    from likewise.jobs.verify import VerifyEvent

Features = str | FeatureService | Sequence[str | FeatureService]
"""What may be asked for: ``view:feature`` texts, names of views and services, services."""
Time = datetime | str | int
"""A time: a datetime (naive is UTC), ISO text, or microseconds since the epoch."""
D = TypeVar("D", bound=Definition)
T = TypeVar("T")
MOST_LOOKUPS = 256
"""How many different sets of features a store keeps ready."""


LATER: Mapping[str, frozenset[str]] = {
    what: frozenset(names.split())
    for what, names in {
        "other servers": "serve_ui serve_registry serve_offline serve_transformations",
        "vector searches": "retrieve_online_documents retrieve_online_documents_v2 openai_search",
        "validation of logs": "validate_logged_features",
        "label views": "list_label_views get_label_view",
        "permissions": "list_permissions get_permission",
        "validation references": "list_validation_references get_validation_reference",
        "states of feature views": "set_feature_view_state",
        "updates inside lists": "update_online_store",
        "stores over several projects": "set_current_project reset_current_project delete_project",
        "precomputed services": "precompute_feature_service",
    }.items()
}
"""What Feast's store has, and this one has not yet: the kind of thing to its methods."""


class FeatureStore:
    """A feature store: the definitions of one repo, its offline sources and its online store.

    Args:
        repo_path: the repo's folder, which holds ``feature_store.yaml``; the working folder by default.
        config: the configuration, instead of the file.
        fs_yaml_file: another file to read the configuration from, as the command line's ``-f``. The repo stays the
            given folder, or that of the working folder (itself, one above, the only one below); where no repo is, it
            is the folder of a file called ``feature_store.yaml``, else the working folder.
        clock: tells the time; the system's by default, or ``LIKEWISE_NOW``.
        crash: called with the name of each point at which an apply or a materialization may be killed; for tests.

    Raises:
        RepoNotFound: there is no ``feature_store.yaml``.
        ConfigError: it says something that cannot be, or two configurations are given.

    Example:
        >>> from likewise.config import OnlineStoreConfig, RegistryConfig
        >>> config = RepoConfig(
        ...     project="demo",
        ...     registry=RegistryConfig(registry_type="memory"),
        ...     online_store=OnlineStoreConfig(type="memory"),
        ... )
        >>> FeatureStore(config=config)
        FeatureStore(project='demo', catalog=0)
    """

    def __init__(
        self,
        repo_path: str | os.PathLike[str] | None = None,
        config: RepoConfig | None = None,
        fs_yaml_file: str | os.PathLike[str] | None = None,
        *,
        clock: Clock | None = None,
        crash: Crash = no_crash,
    ) -> None:
        folder = None if repo_path is None else Path(repo_path)
        self._file: Path | None = None
        if config is not None:
            if fs_yaml_file is not None:
                what = f"both config and fs_yaml_file={os.fspath(fs_yaml_file)!r} are given"
                raise ConfigError(what, cure="give one of them")
            self.repo_path, self.config = (folder or Path()).resolve(), config
        else:
            self.repo_path, self._file = place_of(folder, fs_yaml_file)
            self.config = load_config(self._file)
        self.project = self.config.project
        backends.check_online_type(self.config.online_store.type)
        self.clock = clock if clock is not None else process_clock()
        self._crash = crash
        self._root = str(self.repo_path)
        self._registry = backends.Once(lambda: backends.open_registry(self.config.registry, self._root))
        self._engine = backends.Once(self._open_engine)
        self._online = backends.Once(lambda: backends.open_online_store(self.config.online_store, self._root))
        self._functions = Functions(self.repo_path)
        self._past_layouts = PastLayouts(lambda: self.registry, self.project)
        self._lookups: dict[tuple[Any, ...], Lookup] = {}
        self._formers: dict[tuple[int, str], list[Former]] = {}
        self._definitions: Definitions | None = None
        self._checked = 0.0

    if not TYPE_CHECKING:  # a type checker is to find unknown names itself

        def __getattr__(self, name: str) -> object:
            what = next((what for what, names in LATER.items() if name in names), "")
            said = (
                f"{what} come in a later version"
                if what
                else near_misses(name, [n for n in dir(type(self)) if n[0] != "_"])
            )
            raise AttributeError(f"FeatureStore has no {name!r}: {said}", name=name, obj=self)

    def _open_engine(self) -> DerivedEngine:
        from likewise.jobs.derived import FOLDER, DerivedEngine

        engine = backends.open_engine(self.config.offline_store, self._root)
        place = self.config.offline_store.temp_directory
        folder = Path(self._root, place, "likewise-derived") if place else Path(self._root, FOLDER)
        return DerivedEngine(engine, self._functions.rows_runner, folder)

    # ---- what it stands on

    @property
    def registry(self) -> Registry:
        """Where the definitions and their history are kept."""
        return self._registry.get()

    @property
    def engine(self) -> DerivedEngine:
        """What computes training sets."""
        return self._engine.get()

    @property
    def online_store(self) -> OnlineStore:
        """Where the latest values are kept."""
        return self._online.get()

    @property
    def definitions(self) -> Definitions:
        """The applied definitions; looked at anew when the registry's ``cache_ttl_seconds`` have passed."""
        now = time.monotonic()
        if self._definitions is None or now - self._checked > self.config.registry.cache_ttl_seconds:
            self.refresh_registry()
        assert self._definitions is not None
        return self._definitions

    def refresh_registry(self) -> None:
        """Look for a newer catalog now."""
        self._checked = time.monotonic()
        number = self.registry.head(self.project)
        if self._definitions is None or self._definitions.number != number:
            self._definitions = read_definitions(self.registry.catalog(self.project))
            self._lookups, self._formers = {}, {}

    def close(self) -> None:
        """Let go of files and connections; what is used afterwards is opened anew."""
        self._lookups = {}  # they hold the online store
        for backend in (self._registry, self._engine, self._online):
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- definitions

    def plan(
        self,
        objects: Definition | Sequence[Definition] | None = None,
        objects_to_delete: Sequence[Definition] | None = None,
        *,
        skip_source_validation: bool = False,
    ) -> ApplyPlan:
        """Return what :meth:`apply` would change, without changing it.

        Args:
            objects: as for :meth:`apply`.
            objects_to_delete: as for :meth:`apply`.
            skip_source_validation: do not look at the sources.

        Raises:
            RepoProblems: something is wrong; all of it is listed.
        """
        listed, deleted = _as_list(objects), _as_list(objects_to_delete)
        if not listed and not deleted:
            return self._plan(self._functions.repo_request(), skip_source_validation)
        return self._plan(ApplyRequest(listed, partial=True, delete=deleted), skip_source_validation)

    def apply(
        self,
        objects: Definition | Sequence[Definition] | None = None,
        objects_to_delete: Sequence[Definition] | None = None,
        partial: bool = True,
        skip_feature_view_validation: bool = False,
        no_promote: bool = False,
        *,
        skip_source_validation: bool = False,
    ) -> Applied:
        """Register definitions.

        Without objects (or with an empty list), register what the repo's files define, and delete what they do not.
        With objects, add and update those; nothing else is touched, unless ``partial=False``.

        Args:
            objects: definitions; None or empty for the repo's files.
            objects_to_delete: definitions to delete as well.
            partial: whether what is registered but not among the objects stays.
            skip_feature_view_validation: accepted as Feast has it, and not used.
            no_promote: accepted as Feast has it, and not used.
            skip_source_validation: do not look at the sources; every type has to be declared then.

        Raises:
            RepoProblems: something is wrong; all of it is listed, and nothing was applied.
            ApplyConflict: somebody else changed the same definition meanwhile; nothing was applied.
        """
        listed, deleted = _as_list(objects), _as_list(objects_to_delete)
        if not listed and not deleted:
            return self.commit(self._plan(self._functions.repo_request(), skip_source_validation))
        self._functions.remember(listed)
        request = ApplyRequest(listed, partial, deleted)
        now = self.clock.now()
        if not partial:
            return self.commit(self._plan(request, skip_source_validation))
        return self._settled(commit_partial(self.registry, lambda: self._plan(request, skip_source_validation), now))

    def commit(self, plan: ApplyPlan) -> Applied:
        """Apply a plan that :meth:`plan` made.

        Raises:
            ApplyConflict: somebody else applied since it was made; nothing was applied.
        """
        return self._settled(commit(self.registry, plan, self.clock.now()))

    def _plan(self, request: ApplyRequest, skip_sources: bool) -> ApplyPlan:
        current = self.registry.catalog(self.project)
        schema = self._schema(skip_sources)
        made = _not_made if skip_sources else self._columns_made
        return plan_apply(request, current, self._root, schema, self.engine.expression_type, read_made=made)

    def _columns_made(self, view: FeatureView) -> pa.Schema | None:
        return self.engine.columns_of(view, self._root)

    def _schema(self, skip: bool) -> Callable[[Location], pa.Schema | None]:
        return (lambda location: None) if skip else self.engine.schema

    def _settled(self, applied: Applied) -> Applied:
        catalog = self.registry.catalog(self.project, applied.catalog)
        enter_catalogs(self.registry, self.project)
        self._crash("apply.committed")
        if backends.has_online_store(self.config.online_store.type):
            self._settle_tables(catalog, applied)
        self.refresh_registry()
        return applied

    def _settle_tables(self, catalog: Catalog, applied: Applied) -> None:
        try:
            settle_tables(self.registry, self.online_store, applied.base, catalog, self.clock.now())
        except StoreError as error:
            self.refresh_registry()
            raise StoreError(
                f"catalog {catalog.number} stands now, but its online tables could not be made: {error.message}",
                cure=f"{error.cure or 'mend the online store'}; then run 'likewise apply' again",
            ) from error

    def _enter(self, what: str, objects: Sequence[str], detail: str = "") -> None:
        enter(self.registry, self.project, Deed(what, tuple(objects), detail), self.clock.now())

    def audit_log(self) -> list[Entry]:
        """Return who changed what, and when, oldest first; docs/how_it_works.md says what is entered."""
        return entries(self.registry.side, self.project)

    def check_audit(self, noted: str = "") -> list[Entry]:
        """Return what :meth:`audit_log` does, after checking that no entry was changed and none is missing.

        Args:
            noted: the hash of an entry as it was noted elsewhere; empty: none was.

        Raises:
            AuditBroken: something is wrong; the message says all of it.
        """
        return checked(self.registry, self.project, noted)

    def create_key(self, grant: Grant) -> tuple[Key, str]:
        """Make an access key for the feature server, and return it with its token, which is kept nowhere.

        Args:
            grant: what the key allows, until when.

        Raises:
            InvalidName: it cannot be a name, or another usable key has it.
        """
        made = create(self.registry.side, self.project, grant, self.clock.now())
        self._enter("create key", [f"access key {grant.name!r}"], f"id {made[0].id}: {', '.join(grant.scopes)}")
        return made

    def revoke_key(self, name: str) -> Key:
        """End an access key, and return it as it is then.

        Args:
            name: the key's id or name.

        Raises:
            KeyNotFound: no key has that id or name.
            InvalidName: several keys have that name.
        """
        ended = revoke(self.registry.side, self.project, name, self.clock.now())
        self._enter("revoke key", [f"access key {ended.name!r}"], f"id {ended.id}")
        return ended

    def history(self) -> list[CatalogInfo]:
        """Return what is known of all catalogs, oldest first."""
        return self.registry.history(self.project)

    def rollback(self, number: int) -> Applied:
        """Make the definitions of an older catalog the applied ones again, under a new number.

        Args:
            number: the older catalog's number.

        Raises:
            CatalogNotFound: the history has no such number.
        """
        if not isinstance(number, int):
            raise RequestError(f"{number!r} is not the number of a catalog", cure="give one of store.history()")
        return self._settled(roll_back(self.registry, self.project, number, self.clock.now()))

    def teardown(self) -> None:
        """Delete all definitions, all online data and all rows that views' functions made; sources and history stay."""
        self._settled(tear_down(self.registry, self.project, self.clock.now()))
        self.engine.forget()

    def delete_feature_view(self, name: str) -> None:
        """Delete a feature view of any kind, and its online data."""
        self.apply([], objects_to_delete=[self.definitions.any_view(name)])

    def delete_feature_service(self, name: str) -> None:
        """Delete a feature service."""
        self.apply([], objects_to_delete=[self.definitions.service(name)])

    def list_entities(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[Entity]:
        """Return the entities, those with all the given tags."""
        return _tagged(self.definitions.contents.entities, tags)

    def list_data_sources(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[DataSource]:
        """Return the data sources, those with all the given tags."""
        return _tagged(self.definitions.contents.sources, tags)

    def list_feature_views(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[FeatureView]:
        """Return the feature views of all kinds but on-demand ones, those with all the given tags."""
        return _tagged(self.definitions.contents.views, tags)

    def list_batch_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[FeatureView]:
        """Return the views that are no stream views, those with all the given tags."""
        views = self.definitions.contents.views
        return _tagged([view for view in views if not isinstance(view, StreamFeatureView)], tags)

    def list_stream_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[StreamFeatureView]:
        """Return the stream feature views, those with all the given tags."""
        return _tagged([v for v in self.definitions.contents.views if isinstance(v, StreamFeatureView)], tags)

    def list_on_demand_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[OnDemandFeatureView]:
        """Return the on-demand feature views, those with all the given tags."""
        return _tagged(self.definitions.contents.on_demand, tags)

    def list_all_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[FeatureView | OnDemandFeatureView]:
        """Return the views of all kinds, those with all the given tags."""
        return [*self.list_feature_views(tags=tags), *self.list_on_demand_feature_views(tags=tags)]

    def list_feature_services(self, tags: Mapping[str, str] | None = None) -> list[FeatureService]:
        """Return the feature services, those with all the given tags."""
        return _tagged(self.definitions.contents.services, tags)

    def list_projects(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[Project]:
        """Return the project's own description if the repo gives one, or its name; if it has all the given tags."""
        return _tagged(self.definitions.contents.projects or [Project(self.project)], tags)

    def get_entity(self, name: str, allow_registry_cache: bool = False) -> Entity:
        """Return an entity."""
        return self.definitions.entity(name)

    def get_data_source(self, name: str) -> DataSource:
        """Return a data source."""
        return self.definitions.source(name)

    def get_feature_view(self, name: str, allow_registry_cache: bool = False) -> FeatureView:
        """Return a feature view of any kind but an on-demand one."""
        return self.definitions.view(name)

    def get_stream_feature_view(self, name: str, allow_registry_cache: bool = False) -> StreamFeatureView:
        """Return a stream feature view."""
        view = self.definitions.view(name)
        if not isinstance(view, StreamFeatureView):
            raise FeatureViewNotFound(
                f"there is no stream feature view {name!r}, but a {view.noun}", cure="ask with get_feature_view"
            )
        return view

    def get_on_demand_feature_view(self, name: str, allow_registry_cache: bool = False) -> OnDemandFeatureView:
        """Return an on-demand feature view."""
        return self.definitions.on_demand_view(name)

    def get_feature_service(self, name: str, allow_cache: bool = False) -> FeatureService:
        """Return a feature service."""
        return self.definitions.service(name)

    def get_project(self, name: str | None = None) -> Project:
        """Return the project's own description.

        Args:
            name: this store's project, which is the only one it knows; None for the same.
        """
        if name not in (None, self.project):
            raise NotFound(f"this is the store of project {self.project!r}, not of {name!r}", cure="open that one's")
        return [*self.definitions.contents.projects, Project(self.project)][0]

    # ---- training

    def get_historical_features(
        self,
        entity_df: object = None,
        features: Features = (),
        full_feature_names: bool = False,
        start_date: Time | None = None,
        end_date: Time | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Return a training set: the entity rows as they are, with features as of their times (S3, S8).

        Args:
            entity_df: rows with key columns and a column of times (``event_timestamp``, or the only one): a pandas or
                polars frame, an Arrow table or stream, or an SQL query. None: every (key, event time) that the views
                have from ``start_date`` to ``end_date``.
            features: ``view:feature`` texts, names of views and services, services, in any mix.
            full_feature_names: call features ``view__feature``.
            start_date: without entity rows, the first event time; by default from the beginning.
            end_date: without entity rows, the last event time; by default now.
            filter_by_created_timestamp: a row counts only once it was created, too (S4).

        Raises:
            FeatureNotFound, FeatureViewNotFound: a name nobody has.
            EntityKeyError: a key column is missing, or a key is of the wrong type.
            SourceError: a source cannot be read as defined.
        """
        definitions = self.definitions
        selection = select(definitions, features, full_feature_names, self._version)
        if entity_df is None:
            end = self.clock.now() if end_date is None else to_micros(end_date, "end_date")
            start = None if start_date is None else to_micros(start_date, "start_date")
            spine = range_spine(selection, self.engine, self._root, start, end)
        elif start_date is not None or end_date is not None:
            raise RequestError(
                "both entity rows and dates were given", cure="give entity_df, or start_date and end_date"
            )
        else:
            spine = read_spine(entity_df, self.engine)
        at = time_column(spine)
        spine = with_utc_times(spine, at)
        shape = SpineShape(tuple(spine.column_names), at)
        plan = plan_training(definitions, selection, shape, self._root, filter_by_created_timestamp)
        hashes = definition_hashes(self.registry, definitions, selection)
        tools = Tools(self.engine, self._functions.runner(definitions), definitions.on_demand, hashes)
        return RetrievalJob(plan, spine, tools, full_feature_names)

    def explain(
        self,
        feature: str,
        key: Mapping[str, Any],
        at: Time | None = None,
        *,
        online: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> ValueExplanation:
        """Return one value of a feature with all that made it: the row that counted, or the window and its events.

        Args:
            feature: ``view:feature``, of any view but an on-demand one; ``view@v2:feature`` for an older version.
            key: the entity key: join key to value.
            at: the time that the value is for; now by default.
            online: whether to explain what the online store answers; else what a training set has.
            filter_by_created_timestamp: a row counts only once it was created, too (S4); not with ``online``.

        Raises:
            FeatureNotFound, FeatureViewNotFound: a name nobody has.
            RequestError: it is more than one feature, or the call cannot be answered as it was written.
            EntityKeyError: the key is not that of the view.
            NotSupported: the feature is computed by an on-demand view.
        """
        from likewise.jobs.explain import Question, explain_served, explain_trained, refuse_unexplained

        definitions, now = self.definitions, self.clock.now()
        selection = select(definitions, [feature], True, None if online else self._version)
        refuse_unexplained(selection, feature, key)
        [definition] = definition_hashes(self.registry, definitions, selection).values()
        time = now if at is None else to_micros(at, "at")
        question = Question(feature, key, time, definition, definitions.number)
        if online:
            if filter_by_created_timestamp:
                what = "the online store does not keep what was known at a time"
                raise RequestError(what, cure="leave out online, or filter_by_created_timestamp")
            answer = self.get_online_features([feature], [key], True, as_of=time)
            return explain_served(
                question, plan_lookup(definitions, selection), answer, self.online_store, self._past_layouts.find
            )
        row = [{**key, SPINE_TIME: from_micros(time)}]
        job = self.get_historical_features(
            row, [feature], True, filter_by_created_timestamp=filter_by_created_timestamp
        )
        return explain_trained(question, job, self.engine, self._root)

    def verify_served(
        self,
        logs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        service: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        limit: int | None = None,
        report: Callable[[VerifyEvent], None] | None = None,
    ) -> Verification:
        """Compare logged answers of a feature server with what the offline source gives for their times (G8).

        Args:
            logs: the folders of the logs, from the repo's; by default those that services log to.
            service: only answers to this service.
            since: only answers from this time on.
            until: only answers up to this time.
            limit: at most this many rows.
            report: is told how far it has come.

        Raises:
            RequestError: there is no log.
            SourceUnreadable: a file of a log is damaged.
        """
        from likewise.jobs.verify import VerifyKit, VerifyRequest, verify

        given = [logs] if isinstance(logs, str | os.PathLike) else self._log_folders() if logs is None else logs
        request = VerifyRequest(
            tuple(Path(self.repo_path, folder) for folder in given),
            service,
            None if since is None else to_micros(since, "since"),
            None if until is None else to_micros(until, "until"),
            limit,
        )
        heard = report or (lambda event: None)
        runner, store = self._functions.runner, self._online.get
        return verify(VerifyKit(self.registry, self.project, self._root, self.engine, store, runner, heard), request)

    def write_logged_features(self, logs: object, source: str | FeatureService) -> None:
        """Add answers that were logged elsewhere to the log of a feature service, as its feature server does.

        Args:
            logs: a frame or Arrow table, or the path of Parquet files, in Feast's columns: keys, request values,
                ``view__feature`` with ``__timestamp`` and ``__status``, ``__request_id`` and ``__log_timestamp``.
            source: the service; its ``logging_config`` says where to. The rows count as answered by the catalog of now.

        Raises:
            RequestError: the service logs nothing, or a column is missing or does not fit.
        """
        from likewise.jobs.served import add_logs

        name = source.name if isinstance(source, FeatureService) else source
        service = self.definitions.service(name)
        plan = plan_lookup(self.definitions, select(self.definitions, name, True))
        add_logs(plan, self.project, service, logs, self._root)

    def _log_folders(self) -> list[str]:
        configs = [service.logging_config for service in self.definitions.services.values()]
        found = dict.fromkeys(config.destination.path for config in configs if config is not None)
        if not found:
            raise RequestError("no feature service has a logging_config", cure="give the folder of a log")
        return list(found)

    def create_saved_dataset(
        self,
        from_: RetrievalJob,
        name: str,
        storage: object,
        tags: Mapping[str, str] | None = None,
        feature_service: FeatureService | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """Write a training set to a Parquet file, and remember what it was made from.

        Args:
            from_: the training set.
            name: the name to save it under.
            storage: a path relative to the repo, or ``SavedDatasetFileStorage(path=…)``.
            tags: free labels.
            feature_service: the service it is for.
            allow_overwrite: whether a dataset or file of that name is replaced.
        """
        if not isinstance(from_, RetrievalJob):
            raise RequestError(f"{from_!r} is no training set", cure="give what get_historical_features returned")
        service = feature_service.name if feature_service is not None else ""
        request = SaveRequest(from_, name, storage, dict(tags or {}), service, allow_overwrite)
        return save(self.registry.side, request, self._root, self.clock.now())

    def get_saved_dataset(self, name: str) -> SavedDataset:
        """Return a saved dataset."""
        return find_saved(self.registry.side, self.project, name)

    def list_saved_datasets(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[SavedDataset]:
        """Return all saved datasets, those with all the given tags."""
        wanted = (tags or {}).items()
        return [saved for saved in all_saved(self.registry.side, self.project) if wanted <= (saved.tags or {}).items()]

    def _version(self, name: str, version: int) -> FeatureView:
        return view_version(self.registry, self.definitions, name, version)

    # ---- materialization and writes

    def materialize(
        self,
        start_date: Time,
        end_date: Time,
        feature_views: Sequence[str] | None = None,
        disable_event_timestamp: bool = False,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        allow_future: bool = False,
        report: Callable[[Event], None] | None = None,
    ) -> list[Done]:
        """Write the latest rows of a span of event times to the online store, newer ones only.

        Of a view with windows all rows are taken that its windows reach from the end, however late the span begins;
        they replace what came from the source before, and what was pushed up to the end.

        Args:
            start_date: the first event time.
            end_date: the last event time, included; not in the future, unless ``allow_future``.
            feature_views: the views; by default all that are online and have a batch source.
            disable_event_timestamp: accepted as Feast has it; everything up to now, whatever the dates.
            full_feature_names: accepted as Feast has it, and not used.
            version: the views' applied version, such as ``v2``, or ``latest``; older ones are not kept online.
            force: accepted as Feast has it, and not used.
            run_async: accepted as Feast has it, and not used.
            allow_future: whether the end may lie in the future.
            report: is told how far it has come.

        Raises:
            InvalidTime: the end lies in the future, or before the start.
            LeaseHeld: another run is at one of the views.
            NotSupported: ``version`` is not the applied one, or a view is not online.
            SourceError: a source cannot be read as defined.
        """
        start = to_micros("0001-01-01") if disable_event_timestamp else to_micros(start_date, "start_date")
        end = self.clock.now() if disable_event_timestamp else self._end(end_date, allow_future)
        views = self._materializable(feature_views, version)
        plans = [plan_materialize(self.project, view, self._root, start, end) for view in views]
        return self._materialize(plans, report)

    def materialize_incremental(
        self,
        end_date: Time,
        feature_views: Sequence[str] | None = None,
        full_feature_names: bool = False,
        version: str | None = None,
        force: bool = False,
        run_async: bool = False,
        *,
        allow_future: bool = False,
        report: Callable[[Event], None] | None = None,
    ) -> list[Done]:
        """Write what came since the last time to the online store.

        The first time, that is the view's last ttl, or all history without one; then what lies after the last end,
        less the view's lookback for late rows. Of a view with windows it is each time all that its windows reach from
        the end, or all history when one of them is a whole life: it replaces what came from the source before.

        Args:
            end_date: the last event time, included; not in the future, unless ``allow_future``.
            feature_views: the views; by default all that are online and have a batch source.
            full_feature_names: accepted as Feast has it, and not used.
            version: the views' applied version, such as ``v2``, or ``latest``; older ones are not kept online.
            force: accepted as Feast has it, and not used.
            run_async: accepted as Feast has it, and not used.
            allow_future: whether the end may lie in the future.
            report: is told how far it has come.

        Raises:
            InvalidTime: the end lies in the future.
            LeaseHeld: another run is at one of the views.
            NotSupported: ``version`` is not the applied one, or a view is not online.
            SourceError: a source cannot be read as defined.
        """
        end = self._end(end_date, allow_future)
        plans = []
        for view in self._materializable(feature_views, version):
            progress = progress_of(self.registry.side, self.project, view.name)
            plans.append(plan_incremental(self.project, view, self._root, progress, end))
        return self._materialize(plans, report)

    def _materialize(self, plans: Sequence[MaterializePlan], report: Callable[[Event], None] | None) -> list[Done]:
        settings = self.config.materialization
        kit = Kit(
            self.registry.side,
            self.engine,
            self.online_store,
            settings.chunk_rows,
            settings.online_write_batch_size or 50_000,
            settings.lease_seconds,
            report or (lambda event: None),
            self._crash,
            self.clock.now(),
            self._is_current,
        )
        for plan in plans[1:]:  # a source that is not as defined is refused before another view is written
            self.engine.count(plan.scan)
        return [self._entered(plan, kit) for plan in map(self._with_formers, plans)]

    def _entered(self, plan: MaterializePlan, kit: Kit) -> Done:
        try:
            done = materialize(plan, kit)
        except LikewiseError as error:
            self._enter("materialize failed", [f"feature view {plan.view!r}"], type(error).__name__)
            raise
        span = f"{from_micros(done.start).isoformat()} to {from_micros(done.end).isoformat()}"
        self._enter("materialize", [f"feature view {plan.view!r}"], f"{span}: {done.written:,} keys written")
        return done

    def verify_online(
        self,
        feature_views: Sequence[str] | None = None,
        limit: int = 10,
        *,
        report: Callable[[int], None] | None = None,
    ) -> list[OnlineCheck]:
        """Compare all that is stored of some views with what their sources say, up to what was materialized.

        Args:
            feature_views: the views; by default all that are online and have a batch source.
            limit: how many differences of a view are told one by one.
            report: is told how many keys of a view were compared so far.
        """
        self._open_damaged()
        self.refresh_registry()
        told = report or (lambda keys: None)
        return [self._check_online(view, limit, told, mend=False) for view in self._chosen(feature_views)]

    def rebuild_online(
        self,
        feature_views: Sequence[str] | None = None,
        limit: int = 10,
        *,
        report: Callable[[Event], None] | None = None,
    ) -> list[OnlineCheck]:
        """Store again what the sources say up to now, also in the place of what is damaged or was never in them.

        Reads go on meanwhile, and keys that were deleted stay deleted, as long as the store still knows them. Of a view
        with windows whose records are damaged, all states are made anew: it is NOT_FOUND until that is done, and what
        was pushed to the online store only is lost.

        Args:
            feature_views: the views; by default all that are online and have a batch source.
            limit: how many differences of a view are told one by one.
            report: is told how far it has come.

        Returns:
            For each view, what was found before, and is mended now; of a view that had nothing, what it has now.

        Raises:
            LeaseHeld: a materialization is at one of the views.
            SourceError: a source cannot be read as defined.
        """
        self._open_damaged()
        views, now = self._materializable(feature_views, None), self.clock.now()
        self._enter("rebuild online", [view.title for view in views])
        for view in views:
            if windows_if_known(view) is not None and has_damage(table_name(self.project, view), self.online_store):
                restart_states(self.online_store, self.project, view, now)
        found = [self._check_online(view, limit, lambda keys: None, mend=False) for view in views]
        nothing = Progress(None, "")
        self._materialize([plan_incremental(self.project, v, self._root, nothing, now) for v in views], report)
        return [self._mended(view, before, limit) for view, before in zip(views, found, strict=True)]

    def _open_damaged(self) -> None:
        """Open the online store, if it is not open, whatever its records are: they are looked at one by one."""
        kept = self.config
        if not self._online.is_open:
            unchecked = msgspec.structs.replace(kept.online_store, check_on_open=False)
            self.config = msgspec.structs.replace(kept, online_store=unchecked)
            try:
                self._online.get()
            finally:
                self.config = kept

    def _mended(self, view: FeatureView, before: OnlineCheck, limit: int) -> OnlineCheck:
        """Compare a view, and store anew what differs, while nobody materializes it: what that writes is not known."""
        if before.until is not None and windows_if_known(view) is not None:  # all states were made anew
            return before
        with held(self.registry.side, self.project, view.name, self.config.materialization.lease_seconds):
            after = self._check_online(view, limit, lambda keys: None, mend=True)
        return after if before.until is None else before

    def _check_online(self, view: FeatureView, limit: int, report: Callable[[int], None], mend: bool) -> OnlineCheck:
        now, mark = self.clock.now(), read_watermark(self.registry.side, self.project, view.name)
        start, end = (mark.intervals[0][0], mark.intervals[-1][1]) if mark.intervals else (now, now)
        plan = plan_materialize(self.project, view, self._root, start, end)
        ttl = None if view.ttl is None else span_micros(view.ttl)
        rows = self.config.materialization.chunk_rows
        kit = CheckKit(self.engine, self.online_store, self._past_layouts.find, rows, ttl, now, limit, report, mend)
        if plan.windows is None:
            return verify_values(plan, mark, kit)
        return verify_windows(plan, mark, kit, TwoWays(view, self.get_historical_features, self.get_online_features))

    def _with_formers(self, plan: MaterializePlan) -> MaterializePlan:
        formers = self._formers_of(self.definitions.view(plan.view)) if plan.windows is not None else []
        return replace(plan, formers=tuple(former.table for former in formers))

    def _is_current(self, plan: MaterializePlan) -> bool:
        view = self._newest().views.get(plan.view)
        return view is not None and table_name(self.project, view) == plan.table

    def _materializable(self, names: Sequence[str] | None, version: str | None) -> list[FeatureView]:
        states = [table_name(self.project, view) for view in self._newest().views.values() if windows_if_known(view)]
        recognize_store(self.registry.side, self.online_store, self.project, self.clock.now(), states)
        views = self._chosen(names)
        for view in views if version is not None else ():
            refuse_other_version(self.registry, self.definitions, view.name, str(version))
        return views

    def _chosen(self, names: Sequence[str] | None) -> list[FeatureView]:
        if names is not None:
            return [self.definitions.view(name) for name in ([names] if isinstance(names, str) else names)]
        views = [view for view in self.definitions.views.values() if view.online and view.batch_source is not None]
        left = [view.name for view in views if is_foreign(view)]
        if left:
            warnings.warn(
                f"not materialized, as this version does not compute them: {', '.join(left)}",
                UserWarning,
                stacklevel=4,
            )
        return [view for view in views if not is_foreign(view)]

    def _end(self, given: Time, allow_future: bool) -> int:
        end, now = to_micros(given, "end_date"), self.clock.now()
        if end <= now or allow_future:
            return end
        if isinstance(given, datetime) and given.tzinfo is None and _as_local(given) <= now:
            warnings.warn(  # datetime.now() east of Greenwich: Feast's tutorials write it, and mean now
                f"end_date={given!r} is naive, so it is UTC, and in the future; as local time it is past, and "
                "now is taken. Write datetime.now(timezone.utc).",
                UserWarning,
                stacklevel=3,
            )
            return now
        raise InvalidTime(
            f"end_date {from_micros(end).isoformat()} lies in the future; it is {from_micros(now).isoformat()}",
            cure="give an end up to now, or allow_future=True (--allow-future)",
        )

    def push(
        self,
        push_source_name: str,
        df: object,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        """Write rows to all views that a push source feeds; whatever does not fit one of them is written to none.

        Args:
            push_source_name: the push source.
            df: rows with keys, event time and features; for views with a transformation, the rows that it is given.
            allow_registry_cache: accepted as Feast has it, and not used.
            to: online (by default), offline (adds a file to the batch source), or both.
            transform_on_write: accepted as Feast has it, and not used.
            idempotency_key: names this push, so that it counts once however often it is sent: an entity key drops the
                events of a name that is among the last 256 it has seen. Views without windows do not need it.

        Returns:
            How many online records were written; older rows than what is stored are not.

        Raises:
            PushSourceNotFound: nobody has that name.
            RequestError: a column is missing, or holds what does not fit; nothing was written.
            TransformError: a view's function failed, or is not the applied one; nothing was written.
        """
        source = self._newest().push_source(push_source_name)
        if not self.definitions.pushed_views(source.name):
            raise RequestError(f"{source.title} feeds no view", cure="apply a view with this source")
        to = push_mode(to)
        token = None if idempotency_key is None else _token(idempotency_key)
        how = Push(token, to in (PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE), self.clock.now())
        fed, online = lambda newest: newest.pushed_views(source.name), to is not PushMode.OFFLINE
        return push(self._push_kit(), PushRequest(to_table(df, "pushed rows"), fed, online, how))

    def write_to_online_store(
        self,
        feature_view_name: str,
        df: object = None,
        inputs: object = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> int:
        """Write rows of a view to the online store, each unless a newer one is there.

        Args:
            feature_view_name: the view.
            df: rows with keys, event time and features.
            inputs: the same, as a mapping of column to values or a list of dicts.
            allow_registry_cache: accepted as Feast has it, and not used.
            transform_on_write: accepted as Feast has it, and not used.

        Returns:
            How many were written.
        """
        self._newest().view(feature_view_name)
        rows = to_table(df if df is not None else inputs, "rows")
        how = Push(None, in_source=False, now=self.clock.now())

        def written(newest: Definitions) -> list[FeatureView]:
            return [view for name, view in newest.views.items() if name == feature_view_name]

        return push(self._push_kit(), PushRequest(rows, written, online=True, how=how, transformed=True))

    def write_to_offline_store(
        self, feature_view_name: str, df: object, allow_registry_cache: bool = True, reorder_columns: bool = True
    ) -> str:
        """Add rows to the files of a view's batch source, as one new file, and return its path.

        Args:
            feature_view_name: the view.
            df: rows with keys, event time and features.
            allow_registry_cache: accepted as Feast has it, and not used.
            reorder_columns: accepted as Feast has it; columns are found by name.
        """
        view = self.definitions.view(feature_view_name)
        return write_offline(self.engine, view, to_table(df, "rows"), self._root, self.clock.now())

    def delete_from_online_store(self, feature_view_name: str, entity_rows: object) -> int:
        """Delete keys of a view from the online store.

        Rows with an event time up to now do not come back by a materialization; newer ones do.

        Args:
            feature_view_name: the view.
            entity_rows: the keys, as a list of dicts, a mapping of columns, or a frame.
        """
        view = self._newest().view(feature_view_name)
        rows, now = to_table(entity_rows, "entity rows"), self.clock.now()
        self._enter("delete", [view.title], f"{rows.num_rows:,} keys of the online store")
        for former in self._formers_of(view):
            delete_former(self.online_store, former, rows, now)
        return delete_online(self.online_store, self.project, view, rows, now)

    def backup(self, folder: str | os.PathLike[str], *, report: Report | None = None) -> Manifest:
        """Write registry, watermarks and online data as one set of files, which :meth:`restore` puts back.

        No materialization runs meanwhile; reads and pushes go on. Sources are not in it.

        Args:
            folder: where to; empty, or not there; relative to the working folder.
            report: is told a table, and how many of its records are done.

        Raises:
            LeaseHeld: a materialization is at work.
            StoreError: the folder holds something, or cannot be written.
        """
        made = from_micros(self.clock.now()).isoformat()
        kit = BackupKit(self.project, self.registry, self.online_store, report or (lambda table, records: None))
        with ExitStack() as stack:
            for name in sorted(self._newest().views):
                lease_seconds = self.config.materialization.lease_seconds
                stack.enter_context(held(self.registry.side, self.project, name, lease_seconds))
            return back_up(kit, Path(folder), self._online_tables, made)

    def restore(self, folder: str | os.PathLike[str], *, report: Report | None = None) -> Manifest:
        """Put back what :meth:`backup` wrote, into an online store that is empty and a registry that goes on with it.

        Args:
            folder: the set.
            report: is told a table, and how many of its records are done.

        Raises:
            StoreCorrupt: a file of the set was changed, or is missing; nothing was done.
            StoreError: the online store holds other records, or the set is of another project.
            HistoriesDiffer: the registry has another history of the project.
        """
        manifest = read_manifest(Path(folder))
        kit = BackupKit(self.project, self.registry, self.online_store, report or (lambda table, records: None))
        put_back(kit, Path(folder), manifest)
        self.refresh_registry()
        self._enter("restore", [f"backup of {manifest.made}"], f"{manifest.records:,} online records")
        return manifest

    def _online_tables(self) -> list[str]:
        tables = [name_table(self.project)]
        for view in self._newest().views.values():
            formers = [former.table for former in self._formers_of(view)]
            tables += [table_name(self.project, view), deletions_name(self.project, view), *formers]
        return stored_tables(self.online_store, list(dict.fromkeys(tables)))

    def forget(
        self, key: Mapping[str, Any], feature_views: Sequence[str] | None = None, *, logs: Sequence[str] = ()
    ) -> list[Forgotten]:
        """Take an entity out of the online store, of windows' states, and of all files that the store owns.

        Those are the files that pushes and writes added, what views' functions made, and the logs of served features.
        Other files belong to whoever made them, and saved datasets stay as they are: the answer says which of them
        still hold the entity. What is forgotten
        does not come back by a materialization, also by one that is at work, unless with event times after now.

        Args:
            key: join keys and their values, such as ``{"user_id": 7}``; a part of a view's keys means all that have it.
            feature_views: the views; by default all that have these join keys.
            logs: more folders with logs of served features than those of the feature services.

        Raises:
            RequestError: no view has these join keys.
            EntityKeyError: a value is of the wrong type.
        """
        known = self._newest().views
        named = {name: known[name] if name in known else self.definitions.view(name) for name in feature_views or known}
        views = views_of_key(named, key)
        whose, now = [typed([view], key) for view in views], self.clock.now()
        self._enter("forget", [view.title for view in views], f"entity {digest_of(key)}")
        kit = ForgetKit(self.project, self._root, self.engine, self.online_store, now)
        done = [forget_view(kit, view, self._formers_of(view), mine) for view, mine in zip(views, whose, strict=True)]
        self.engine.forget()
        services = self.definitions.contents.services
        names = called(typed(views, key), [part for service in services for part in service.projections])
        configs = [service.logging_config for service in services]
        folders = {str(config.destination.path) for config in configs if config is not None}.union(logs)
        kept = [Path(self._root, folder.removeprefix("file://")) for folder in sorted(folders)]
        saved = {found.name: found.path for found in all_saved(self.registry.side, self.project)}
        served = [forget_served(folder, names) for folder in kept if folder.is_dir()]
        return [*done, *served, *left_in(saved, names)]

    def _push_kit(self) -> PushKit:
        return PushKit(self.project, self._root, self.engine, self.online_store, self._newest, self._formers_of)

    def _newest(self) -> Definitions:
        """Return the definitions of the newest catalog, however long ago they were looked at."""
        self.refresh_registry()
        return self.definitions

    def _formers_of(self, view: FeatureView) -> list[Former]:
        """Return the states that a view had before, as far as they were live when they were first asked for."""
        number = self.definitions.number
        found = self._formers.get((number, view.name))
        if found is None:
            past = past_views(self.registry, self.project, view.name, number)
            found = self._formers[number, view.name] = live_formers(self.online_store, self.project, view, past)
        return found

    # ---- serving

    def get_online_features(
        self,
        features: Features,
        entity_rows: Rows,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
        *,
        as_of: Time | None = None,
        timeout: float | None = None,
    ) -> OnlineResponse:
        """Return the features of some entities as they are now (S7).

        Args:
            features: ``view:feature`` texts, names of views and services, services, in any mix.
            entity_rows: a dict of keys (and request values) for each row, or columns of them.
            full_feature_names: call features ``view__feature``.
            include_feature_view_version_metadata: accepted as Feast has it, and not used.
            as_of: the time the answer is for; now by default. The store keeps one record a key, so a time before a
                record's event time finds nothing. Windows are answered at any time that their states still reach.
            timeout: for how many seconds a store over a network may be waited for, above 0; by default as long as its
                own ``timeout_seconds``. An embedded store never waits.

        Raises:
            FeatureNotFound, FeatureViewNotFound: a name nobody has.
            EntityKeyError: a key is missing, null or of the wrong type.
            RequestDataMissing: a value that an on-demand view needs is missing.
            StoreUnavailable: the store does not answer, and the service has no other ``on_failed_read`` than ``error``;
                DeadlineExceeded (a TimeoutError too) where that is because the ``timeout`` is over.
        """
        if timeout is not None:
            with Deadline(checked_seconds(timeout, "timeout")):
                return self.get_online_features(features, entity_rows, full_feature_names, as_of=as_of)
        now = self.clock.now() if as_of is None else to_micros(as_of, "as_of")
        return self.with_lookup(features, full_feature_names, lambda lookup: lookup.read(entity_rows, now))

    def with_lookup(self, features: Features, full_feature_names: bool, use: Callable[[Lookup], T]) -> T:
        """Return what a function makes of the read that is ready for some features; for servers.

        Args:
            features: as for :meth:`get_online_features`.
            full_feature_names: call features ``view__feature``.
            use: is given the read, whose plan says what to give it. It is called again, with that of the newest
                catalog, when tables were dropped meanwhile; so all that it returns is of one catalog.

        Raises:
            FeatureNotFound, FeatureViewNotFound: a name nobody has.
        """
        definitions = self.definitions
        asked: Any = features
        try:
            asked = features if isinstance(features, str | FeatureService) else tuple(features)
            lookup = self._lookups.get((definitions.number, asked, full_feature_names))
        except TypeError:  # something that cannot be a key, and so is no reference: planning says which
            lookup = None
        if lookup is None:
            lookup = self._lookup(definitions, asked, full_feature_names)
        try:
            return use(lookup)
        except TableMissing:  # the tables of an earlier catalog, or of an earlier definition, were dropped meanwhile
            self._lookups, self._formers = {}, {}
            return use(self._lookup(self._newest(), asked, full_feature_names).last())

    def ready_lookup(self, features: str | tuple[str, ...], full_feature_names: bool) -> Lookup | None:
        """Return the read that is ready for some features, without looking anywhere; None: there is none yet.

        Args:
            features: as for :meth:`get_online_features`.
            full_feature_names: call features ``view__feature``.
        """
        known = self._definitions
        return None if known is None else self._lookups.get((known.number, features, full_feature_names))

    def other_functions(self) -> list[str]:
        """Return what is wrong with the functions of the applied views that this process does not have as applied.

        They are those of the repo's files, and those that were applied in this process; empty when all are the same.
        """
        return self._functions.others(self.definitions)

    async def get_online_features_async(
        self,
        features: Features,
        entity_rows: Rows,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
        *,
        as_of: Time | None = None,
        timeout: float | None = None,
    ) -> OnlineResponse:
        """Return what :meth:`get_online_features` returns, from a thread beside the event loop.

        The ``timeout`` counts from the call: a thread that is free too late does not ask the store any more.
        """
        import asyncio

        end = None if timeout is None else time.monotonic() + checked_seconds(timeout, "timeout")

        def read() -> OnlineResponse:
            if end is None:
                return self.get_online_features(features, entity_rows, full_feature_names, as_of=as_of)
            with Deadline(end - time.monotonic()):
                return self.get_online_features(features, entity_rows, full_feature_names, as_of=as_of)

        return await asyncio.to_thread(read)

    def _lookup(
        self, definitions: Definitions, asked: str | FeatureService | tuple[Any, ...], full_names: bool
    ) -> Lookup:
        plan = plan_lookup(definitions, select(definitions, asked, full_names))
        windowed = [read.view for read in plan.reads if read.windows is not None]
        plan = with_formers(plan, {name: self._formers_of(definitions.view(name)) for name in windowed})
        runner = self._functions.runner(definitions)
        runners = {step.view: runner(step.view) for step in plan.steps}
        store = self.online_store
        lookup = Lookup(
            plan,
            store,
            runners,
            self._past_layouts.find,
            self.config.online_store.verify_reads,
            store.last_good if isinstance(store, GuardedStore) else None,
        )
        if len(self._lookups) >= MOST_LOOKUPS:
            self._lookups = {}
        self._lookups[definitions.number, asked, full_names] = lookup
        return lookup

    def __repr__(self) -> str:
        try:
            catalog = str(self.registry.head(self.project))
        except LikewiseError:  # a repr never fails; whoever uses the registry is told what is wrong
            catalog = "unknown"
        return f"FeatureStore(project={self.project!r}, catalog={catalog})"

    def _repr_html_(self) -> str:
        contents = self.definitions.contents
        counts = ", ".join(
            f"{len(found)} {name}"
            for name, found in (
                ("entities", contents.entities),
                ("feature views", contents.views),
                ("on-demand feature views", contents.on_demand),
                ("feature services", contents.services),
            )
        )
        return f"<p><b>FeatureStore {self.project}</b>, catalog {self.definitions.number}: {counts}</p>"

    # ---- more of Feast's calls, each made of those above

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 6566,
        type_: str = "http",
        no_access_log: bool = True,
        workers: int = 1,
        *,
        tls_key_path: str = "",
        tls_cert_path: str = "",
    ) -> None:
        """Run ``likewise serve`` for this repo, in a process of its own, and return when it ends.

        Args:
            host: the address to listen on; others than 127.0.0.1 ask for access keys.
            port: the port.
            type_: ``http``, as Feast has it; there is no other.
            no_access_log: whether requests are not printed.
            workers: how many processes answer.
            tls_key_path: the file of the certificate's key, PEM.
            tls_cert_path: the certificate's file, PEM.

        Raises:
            NotSupported: another type than ``http``.
            ConfigError: this store has no configuration file, or the server did not start; it has printed why.
        """
        if type_ != "http":
            raise NotSupported(f"servers of type {type_!r} come in a later version", cure="leave out type_")
        if self._file is None:
            what = "this store was given its configuration as an object, which a server cannot read"
            raise ConfigError(what, cure="write it to feature_store.yaml, and run 'likewise serve' there")
        said = ["--host", host, "--port", str(port), "--workers", str(workers)]
        said += ["--cert", tls_cert_path, "--key", tls_key_path] if tls_cert_path or tls_key_path else []
        said += [] if no_access_log else ["--access-log"]
        command = [sys.executable, "-m", "likewise", "--chdir", str(self.repo_path), "serve", *said]
        ended = subprocess.run(command, env=os.environ | {FILE_VARIABLES[0]: str(self._file)}, check=False).returncode
        if ended > 0:
            raise ConfigError(f"the server ended with {ended}", cure="it has printed why on standard error")

    def get_feature_server_endpoint(self) -> str | None:
        """Return the address of the feature server that this store reads through; None when it reads by itself."""
        options = self.config.online_store.options
        return options.path if isinstance(options, RemoteStoreConfig) else None

    async def initialize(self) -> None:
        """Open the registry and the online store now, from a thread beside the event loop, not at the first read."""
        import asyncio

        await asyncio.to_thread(lambda: (self.definitions, self.online_store))

    def list_feature_view_versions(self, name: str) -> list[dict[str, Any]]:
        """Return every version of a feature view, oldest first; ``view@v2:feature`` reads the second.

        Args:
            name: the view, of any kind but an on-demand one.

        Returns:
            For each, ``version`` ("v1"), ``version_number``, ``feature_view_type``, ``created_timestamp`` and
            ``version_id``, which is the hash of the definition.

        Raises:
            FeatureViewNotFound: there is no such view, and there never was one.
        """
        versions = view_versions(self.registry, self.project, name)
        if not versions:
            self.definitions.view(name)
        created = {info.number: from_micros(info.created) for info in self.registry.history(self.project)}
        return [
            {
                "version": f"v{number}",
                "version_number": number,
                "feature_view_type": version.kind,
                "created_timestamp": created[version.since],
                "version_id": version.hash,
            }
            for number, version in enumerate(versions, 1)
        ]

    def materialization_intervals(self, name: str) -> list[tuple[datetime, datetime]]:
        """Return the spans of event time of a view that are materialized, merged and in order.

        Args:
            name: the view, of any kind but an on-demand one.
        """
        view = self.definitions.view(name)
        spans = read_watermark(self.registry.side, self.project, view.name).intervals
        return [(from_micros(start), from_micros(end)) for start, end in spans]

    def enable_feature_view(self, name: str) -> Applied:
        """Let a view be read and materialized again; what was stored of it is still there."""
        return self._enable(name, True)

    def disable_feature_view(self, name: str) -> Applied:
        """Have a view refused by name wherever it is asked for, until it is enabled; what is stored of it stays.

        The repo's files say otherwise until they say ``enabled=False``, too: the next ``likewise apply`` enables it.
        """
        return self._enable(name, False)

    def _enable(self, name: str, enabled: bool) -> Applied:
        view = self.definitions.any_view(name).whole()
        view.enabled = enabled
        return self.apply([view], skip_source_validation=True)

    def create_dataset_from_retrieval(
        self,
        name: str,
        entity_df: object,
        features: Features,
        storage: object,
        tags: Mapping[str, str] | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """Retrieve a training set and save it, in one call.

        Args:
            name: the name to save it under.
            entity_df: as for :meth:`get_historical_features`.
            features: as for :meth:`get_historical_features`.
            storage: a path relative to the repo, or ``SavedDatasetFileStorage(path=…)``.
            tags: free labels.
            allow_overwrite: whether a dataset or file of that name is replaced.
        """
        job = self.get_historical_features(entity_df, features)
        service = features if isinstance(features, FeatureService) else None
        return self.create_saved_dataset(job, name, storage, tags, service, allow_overwrite)

    def retrieve_dataset_data(self, name: str, limit: int = 10) -> pd.DataFrame:
        """Return the first rows of a saved dataset.

        Args:
            name: the saved dataset.
            limit: how many rows at most.
        """
        return to_pandas(self.get_saved_dataset(name).to_arrow().slice(0, max(limit, 0)))

    async def push_async(
        self,
        push_source_name: str,
        df: object,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        """Do what :meth:`push` does, from a thread beside the event loop."""
        import asyncio

        return await asyncio.to_thread(self.push, push_source_name, df, to=to, idempotency_key=idempotency_key)

    async def write_to_online_store_async(
        self,
        feature_view_name: str,
        df: object = None,
        inputs: object = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> int:
        """Do what :meth:`write_to_online_store` does, from a thread beside the event loop."""
        import asyncio

        return await asyncio.to_thread(self.write_to_online_store, feature_view_name, df, inputs)


def _not_made(view: FeatureView) -> None:
    """Say that nothing is known of the columns that a view's function makes."""


def _as_list(objects: Definition | Sequence[Definition] | None) -> list[Definition]:
    one = objects is not None and (isinstance(objects, Definition) or not isinstance(objects, Iterable))
    listed: list[object] = [objects] if one else list(objects or ())  # type: ignore[arg-type]
    for given in listed:
        if not isinstance(given, Definition):
            raise InvalidType(f"{given!r} cannot be applied", cure="give entities, sources, views and services")
    return [given for given in listed if isinstance(given, Definition)]


def _token(idempotency_key: object) -> bytes:
    if not isinstance(idempotency_key, str) or not idempotency_key:
        what = f"idempotency_key={idempotency_key!r} names no push"
        raise RequestError(what, cure="give each push a text of its own, or leave it out")
    return idempotency_key.encode(errors="surrogatepass")


def _as_local(naive: datetime) -> int:
    """Return a naive time as if it were local; by its parts, as pandas' times know no local zone."""
    return to_micros(datetime.combine(naive.date(), naive.time()).astimezone())


def _tagged(definitions: Sequence[D], tags: Mapping[str, str] | None) -> list[D]:
    wanted = (tags or {}).items()
    return [definition for definition in definitions if wanted <= definition.tags.items()]

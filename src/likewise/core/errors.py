"""Every error Likewise raises, in one tree.

::

    LikewiseError
    ├── DefinitionError            a definition that breaks a rule (TypeError / ValueError leaves)
    │   ├── InvalidName            ValueError
    │   ├── InvalidType            TypeError
    │   ├── InvalidDefinition      ValueError
    │   └── RepoProblems           all problems of a repo together
    ├── NotFound                   LookupError: asked for by a name nobody has
    │   ├── FeatureNotFound, FeatureViewNotFound, FeatureServiceNotFound, EntityNotFound,
    │   │   DataSourceNotFound, PushSourceNotFound, SavedDatasetNotFound, RepoNotFound, CatalogNotFound
    ├── RequestError               ValueError: the call cannot be answered as it was written
    │   ├── EntityKeyError         a key that is missing, null or of the wrong type
    │   ├── FeatureNameCollision   two answers under one name
    │   ├── RequestDataMissing     a request feature that was not given
    │   ├── InvalidTime            a time out of range, or not a time
    │   └── InvalidFeatureReference
    ├── SourceError                offline data that cannot be read as defined
    │   ├── SourceMissing          FileNotFoundError
    │   ├── SourceUnreadable       a corrupt or foreign file
    │   └── SourceDrift            a column missing, or of another type
    ├── TransformError             a user's function failed, or returned what it did not declare
    ├── AggregateOverflow          OverflowError: a window's result that its type cannot hold
    ├── ConfigError                ValueError: feature_store.yaml
    ├── StoreError                 a registry or online store that cannot do its work
    │   ├── StoreCorrupt           RecordCorrupt, RegistryCorrupt (registry/base.py)
    │   ├── StoreTooNew            RegistryTooNew (registry/base.py)
    │   ├── StoreFull, StoreUnavailable (transient), RegistryReadOnly (registry/base.py)
    │   ├── TableMissing, StoreClosed (online/base.py)
    │   ├── ApplyConflict (transient)   CatalogConflict, with what changed (registry/base.py)
    │   ├── SideConflict (transient; registry/base.py), RunSuperseded (registry/watermarks.py)
    │   ├── LeaseHeld (transient)  LeaseTaken, with who holds it; LeaseLost (registry/leases.py)
    │   └── BackendMissing         ImportError: the extra to install
    ├── AccessRefused              PermissionError: a server does not let this access key do that
    └── NotSupported               NotImplementedError: declared, but not computed by this version

``error.transient`` is True where trying again may help; retries look only at that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class LikewiseError(Exception):
    """The root of all errors of Likewise.

    Example:
        >>> str(LikewiseError("no feature 'ammount' in view 'cards'", cure="did you mean 'amount'?"))
        "no feature 'ammount' in view 'cards'. did you mean 'amount'?"
    """

    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.cure}" if self.cure else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a feature repo."""

    what: str
    """What is wrong, with the value quoted."""
    cure: str
    """What would be right."""
    file: str = ""
    """The file that defines it, relative to the repo where possible; empty when it was built elsewhere."""
    line: int = 0
    """The line in that file, from 1; 0 when unknown."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file else ""
        return f"{where}{self.what.rstrip('.')}. {self.cure}" if self.cure else f"{where}{self.what}"


class DefinitionError(LikewiseError):
    """A definition breaks a rule."""


class InvalidName(DefinitionError, ValueError):
    """A name that cannot be used."""


class InvalidType(DefinitionError, TypeError):
    """An argument of the wrong type, or a feature type nobody knows."""


class InvalidDefinition(DefinitionError, ValueError):
    """An argument whose value breaks a rule."""


class RepoProblems(DefinitionError, ValueError):
    """Everything that is wrong with a repo, found in one pass; nothing was done, and ``outcome`` says what."""

    def __init__(self, problems: Sequence[Problem], outcome: str = "nothing was applied") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} found; {outcome}"
        super().__init__("\n  ".join([head, *map(str, self.problems)]))


class NotFound(LikewiseError, LookupError):
    """Something was asked for by a name that nobody has."""


class FeatureNotFound(NotFound):
    """No such feature in the view."""


class FeatureViewNotFound(NotFound):
    """No such feature view in the catalog."""


class FeatureServiceNotFound(NotFound):
    """No such feature service in the catalog."""


class EntityNotFound(NotFound):
    """No such entity in the catalog."""


class DataSourceNotFound(NotFound):
    """No such data source in the catalog."""


class PushSourceNotFound(DataSourceNotFound):
    """No such push source in the catalog."""


class SavedDatasetNotFound(NotFound):
    """No such saved dataset in the registry."""


class RepoNotFound(NotFound):
    """No ``feature_store.yaml`` where one was expected."""


class CatalogNotFound(NotFound):
    """No catalog with that number in the history."""


class RequestError(LikewiseError, ValueError):
    """The call cannot be answered as it was written; ``column`` and ``row`` say where in its rows, as far as known."""

    def __init__(self, message: str, *, cure: str = "", column: str | None = None, row: int | None = None) -> None:
        super().__init__(message, cure=cure)
        self.column = column
        self.row = row


class EntityKeyError(RequestError):
    """An entity key that is missing, null, or of the wrong type."""


class FeatureNameCollision(RequestError):
    """Two features of one answer have the same name."""


class RequestDataMissing(RequestError):
    """An on-demand feature needs request data that was not given."""


class InvalidTime(RequestError):
    """A value that is not a time, or one that does not fit the range of times."""


class InvalidFeatureReference(RequestError):
    """A text that is not ``view:feature``, a view or a service."""


class SourceError(LikewiseError):
    """Offline data that cannot be read as it is defined."""


class SourceMissing(SourceError, FileNotFoundError):
    """A source's path matches no file."""

    def __str__(self) -> str:
        return LikewiseError.__str__(self)


class SourceUnreadable(SourceError):
    """A source's file is corrupt, or not of the declared format."""


class SourceDrift(SourceError):
    """A source's file lacks a column, or holds another type than the definition says."""


class TransformError(LikewiseError):
    """A user's function failed, or returned something else than it declared."""


class AggregateOverflow(LikewiseError, OverflowError):
    """The result of a window is beyond what its type holds."""


class ConfigError(LikewiseError, ValueError):
    """``feature_store.yaml`` says something that cannot be."""


class StoreError(LikewiseError):
    """A registry or online store cannot do its work."""


class StoreCorrupt(StoreError):
    """Stored bytes fail their checks."""


class StoreTooNew(StoreError):
    """A file was written by a newer version than this one."""


class StoreFull(StoreError):
    """No space is left for a write; reads go on."""


class StoreUnavailable(StoreError):
    """A store did not answer in time, or is locked; trying again may help."""

    transient = True


class RecordCorrupt(StoreCorrupt):
    """One online record fails its checks."""


class ApplyConflict(StoreError):
    """Another apply was faster; read the new catalog and try again."""

    transient = True


class LeaseHeld(StoreError):
    """Another run holds the lease."""

    transient = True


class BackendMissing(StoreError, ImportError):
    """A backend's library is not installed."""

    def __str__(self) -> str:
        return LikewiseError.__str__(self)


class AccessRefused(LikewiseError, PermissionError):
    """A server does not let this access key, or somebody without one, do what was asked."""

    def __str__(self) -> str:
        return LikewiseError.__str__(self)


class NotSupported(LikewiseError, NotImplementedError):
    """Declared and stored, but not computed by this version."""

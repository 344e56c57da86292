"""Entity: what features describe, and the key that finds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from likewise.core.keys import KEY_CURE, KEY_FAMILIES
from likewise.core.names import check_name
from likewise.core.types import FeatureType, Invalid, ValueType, as_type
from likewise.define.definition import Definition


class Entity(Definition):
    """A thing that features describe, such as a customer, and the column that identifies it.

    Args:
        name: the entity's name.
        join_keys: a list with the one column that holds its key in sources and requests; the name by default. A key of
            several columns is several entities on a view.
        value_type: the key's type, as a ``ValueType`` or a feature type; by default it is read from the source when
            the repo is applied.
        description: what it is, for people.
        tags: free labels, text to text.
        owner: who answers for it.
        join_key: an older spelling of ``join_keys``.

    Example:
        >>> Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
        Entity(name='customer', join_key='customer_id', type='Int64')
    """

    kind = "entity"
    noun = "entity"

    def __init__(
        self,
        name: str,
        join_keys: Sequence[str] | ValueType | FeatureType | None = None,
        value_type: ValueType | FeatureType | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        *,
        join_key: str | None = None,
    ) -> None:
        super().__init__(name, description, tags, owner)
        if isinstance(join_keys, ValueType | FeatureType):  # Entity("user", ValueType.INT64), an older order
            join_keys, value_type = None, self.spelled({"value_type": value_type, "the second argument": join_keys})
        self.join_key = self._one_key(join_keys, join_key)
        self.type = self._type(value_type)

    @property
    def join_keys(self) -> list[str]:
        """The column that holds the key, as a list of one."""
        return [self.join_key]

    @property
    def value_type(self) -> ValueType:
        """The key's type as Feast's ``ValueType``; UNKNOWN until the repo is applied, if it was not given."""
        return self.type.to_value_type()

    def _one_key(self, join_keys: object, join_key: object) -> str:
        listed = [join_keys] if isinstance(join_keys, str) else join_keys or None
        given = self.spelled({"join_keys": listed, "join_key": None if join_key is None else [join_key]})
        keys = self.listed(given, "join_keys", "write join_keys=['customer_id']")
        if len(keys) > 1:
            self.wrong(
                f"join_keys={keys!r} names {len(keys)} columns", "make an entity for each, and give both to the view"
            )
        return self.attempt(lambda: check_name(keys[0], "join key"), self.name) if keys else self.name

    def _type(self, value_type: ValueType | FeatureType | None) -> FeatureType:
        if value_type is None or value_type is ValueType.UNKNOWN:
            return Invalid
        found = self.attempt(lambda: as_type(value_type), Invalid)
        if found is not Invalid and found.family not in KEY_FAMILIES:
            self.wrong(f"its type {found} cannot be that of a key", KEY_CURE)
        return found

    def summary(self) -> Iterable[tuple[str, str]]:
        """Return what to show of it, as (label, text)."""
        first, *rest = super().summary()
        yield first
        yield "join_key", self.join_key
        yield "type", "from the source" if self.type is Invalid else self.type.name
        yield from rest

"""Between a record's bytes and the user's values: raw, JSON (msgspec, pydantic), Avro; str, bytes and int keys."""

from streamq.serde.annotations import accepts_none, validate_type
from streamq.serde.base import SchemaRegistry, Serde
from streamq.serde.factory import key_serde, value_serde

__all__ = ["SchemaRegistry", "Serde", "accepts_none", "key_serde", "validate_type", "value_serde"]

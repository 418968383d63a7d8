"""A value of a JSON schema, as a provider with structured outputs writes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCALARS: dict[str, Any] = {
    "string": "text", "integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None,
}  # fmt: skip


def value(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Any:
    """Return the same value for the same schema."""
    known = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        return value(known[schema["$ref"].rpartition("/")[2]], known)
    if "enum" in schema:
        return schema["enum"][0]
    if options := schema.get("anyOf"):
        return value(options[0], known)
    if schema.get("type") == "array" and "items" in schema:
        return [value(schema["items"], known)]
    if "properties" in schema:
        return {name: value(inner, known) for name, inner in schema["properties"].items()}
    return SCALARS[schema.get("type", "string")]

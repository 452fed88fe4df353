"""The page that describes the HTTP API, from its OpenAPI description.

Swagger UI, which FastAPI has, is loaded from another host; this page loads nothing.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, Template


def described(openapi: dict[str, Any]) -> str:
    """The page, as HTML."""
    return template().render(openapi=openapi, schemas=openapi["components"]["schemas"], shape=shape)


@cache
def template() -> Template:
    source = (files("quickstudy") / "page" / "described.html.j2").read_text()
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)


def shape(schema: dict[str, Any]) -> str:
    """The type of a value, in a few words; of another schema its name."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {shape(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{shape(schema['additionalProperties'])} by name"
    return schema.get("type", "anything")

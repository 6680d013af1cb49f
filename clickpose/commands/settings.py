"""Any setting from the command line: ``--set name=value``, ``--set feedback.hold=all``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from clickpose.errors import InvalidConfig

Config = TypeVar("Config")


def change_settings(config: Config, changes: Iterable[str]) -> Config:
    """Apply ``name=value`` to a configuration, one after another; dots lead into its parts.

    A value is a number, a word, ``true`` or ``false``, ``none``, or a JSON list.

    Raises:
        InvalidConfig: a name is unknown, or a value is of the wrong type or out of range; valid names are listed.
    """
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise InvalidConfig(f"{change!r} is not a setting: write name=value")
        config = _change(config, type(config), name.split("."), value, change)
    return config


def _change(config: Any, hint: Any, path: Sequence[str], value: str, change: str) -> Any:
    """Return ``config`` with what ``path`` leads to replaced; a path at its end leads to the value itself."""
    if not path and is_dataclass(config):
        parts = ", ".join(f"{field.name}=..." for field in fields(config))
        raise InvalidConfig(f"{change}: set its parts one by one: {parts}")
    if not path:
        return _parse(value, hint, change)
    if isinstance(config, dict):
        known = dict.fromkeys(config, get_args(hint)[-1])
    elif is_dataclass(config):
        hints = get_type_hints(type(config))
        known = {field.name: hints[field.name] for field in fields(config)}
    else:
        known = {}
    name, *rest = path
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "it has no parts"
        raise InvalidConfig(f"{change}: there is no setting {name!r}; {there}")
    old = config[name] if isinstance(config, dict) else getattr(config, name)
    changed = {name: _change(old, known[name], rest, value, change)}
    return {**config, **changed} if isinstance(config, dict) else replace(config, **changed)


def _parse(value: str, hint: Any, change: str) -> Any:
    if hint is str:
        return value
    try:
        return TypeAdapter(hint).validate_json(_as_json(value), strict=True)
    except ValidationError as error:
        raise InvalidConfig(f"{change}: {error.errors()[0]['msg']}") from error


def _as_json(value: str) -> str:
    try:
        json.loads(value)
    except ValueError:
        return "null" if value == "none" else json.dumps(value)
    return value

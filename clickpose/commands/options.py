"""Command options as fields of a dataclass: each is written once, and a command receives them as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Let Typer read a command's options from the fields of a dataclass; the command is called with an instance.

    A field whose type is a dataclass, too, is a group of options: commands share it, and its fields become options
    beside the others.
    """

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(_build(options, values))

        parameters = list(_parameters(options))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameters(options: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        hint = hints[field.name]
        if is_dataclass(hint):
            yield from _parameters(hint)
        else:
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hint
            )


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _build(options: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(options)
    parts = {name: _build(hint, values) for name, hint in hints.items() if is_dataclass(hint)}
    return options(**{field.name: parts.get(field.name, values.get(field.name)) for field in fields(options)})

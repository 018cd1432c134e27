"""Give commands their options from the fields of a record."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from typing import Any, TypeVar

T = TypeVar("T")


def takes(record: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Give a command an option for each field of a dataclass, and call it with the record.

    A field that is a dataclass stands for the options that are its own fields.
    """
    signature = Signature([_parameter(each) for each in _options(record)])

    def with_options(command: Callable[[T], None]) -> Callable[..., None]:
        @wraps(command)
        def called(**given: object) -> None:
            command(_built(record, given))

        called.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
        return called

    return with_options


def _options(record: Any) -> Iterator[Field[Any]]:
    for each in fields(record):
        if is_dataclass(each.type):
            yield from _options(each.type)
        else:
            yield each


def _parameter(option: Field[Any]) -> Parameter:
    default = Parameter.empty if option.default is MISSING else option.default
    return Parameter(option.name, Parameter.KEYWORD_ONLY, default=default, annotation=option.type)


def _built(record: Any, given: Mapping[str, object]) -> Any:
    values = {
        each.name: _built(each.type, given) if is_dataclass(each.type) else given[each.name]
        for each in fields(record)
    }
    return record(**values)

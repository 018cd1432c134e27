"""The features of a version: the names of a row's values, and which may be missing. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from batchline.ml.inputs import FLOATS, Input
from batchline.ml.signature import Signature


@dataclass(frozen=True, slots=True)
class Feature:
    """A value of a row, or all values of an input, if they are not told apart.

    `place` is along the last dimension of the row of `of`; None: all values of the input.
    """

    name: str
    of: Input
    place: int | None = None

    @property
    def may_be_missing(self) -> bool:
        if self.of.dtype == "str":
            return self.of.missing_text is not None
        flags = self.of.missing
        return bool(flags) and flags[0 if self.place is None or len(flags) == 1 else self.place]


def features_of(signature: Signature) -> list[Feature]:
    """Return the features in the order of the inputs.

    The values of a row `[n]` of floats are features, named by `features` or as `input[0]`. Of
    another input, all values are one feature with the input's name.
    """
    return [feature for each in signature.inputs for feature in _of_input(each, signature.features)]


def _of_input(given: Input, names: Sequence[str] | None) -> list[Feature]:
    if names is not None:
        return [Feature(name, given, place) for place, name in enumerate(names)]
    width = row_width(given)
    if given.dtype not in FLOATS or width in (None, 1):
        return [Feature(given.name, given)]
    return [Feature(f"{given.name}[{place}]", given, place) for place in range(width or 0)]


def row_width(given: Input) -> int | None:
    """Return the number of values of a row `[n]`, or None for a row of another shape."""
    size = given.shape[0] if len(given.shape) == 1 and not given.per_item else None
    return size if isinstance(size, int) else None


def has_any_width(given: Input) -> bool:
    """Whether a row is a list of floats of which the file does not say how many they are."""
    is_list = len(given.shape) == 1 and not given.per_item
    return is_list and type(given.shape[0]) is str and given.dtype in FLOATS


def with_width(inputs: tuple[Input, ...], names: Sequence[str] | None) -> tuple[Input, ...]:
    """Return the inputs, with a value per name in each row if the file leaves their number open."""
    if names is None or len(inputs) != 1 or not has_any_width(inputs[0]):
        return inputs
    return (replace(inputs[0], shape=(len(names),)),)


def with_missing(signature: Signature, flags: Mapping[str, Sequence[bool]]) -> Signature:
    """Return the signature with these flags by input: one for all values, or one for each."""
    inputs = [
        replace(each, missing=_compact(flags.get(each.name, ()))) for each in signature.inputs
    ]
    return replace(signature, inputs=tuple(inputs))


def _compact(flags: Sequence[bool]) -> tuple[bool, ...]:
    if not any(flags):
        return ()
    return (True,) if all(flags) else tuple(flags)

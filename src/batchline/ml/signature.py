"""The inputs and outputs of a version. Pure: the API checks rows with it and loads no model."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

from batchline.constants import MAX_REPORTED_FAULTS, MAX_ROWS_PER_ITEM
from batchline.errors import Fault
from batchline.ml.inputs import Dims, Input, kind_of

NO_LABEL = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One output, with its declared shape. If it is `per_row`, the batch dimension is left out.

    Args:
        per_row: whether it has an entry per row. Otherwise the whole output belongs to the only row
            of the call.
        axis: the batch dimension of its tensor.
        listed: whether it is a sequence of tensors, each of which has the batch dimension.
        constant: whether it is computed from no input, so that it is the same for each row.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] = ()
    per_row: bool = True
    axis: int = 0
    listed: bool = False
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of one version of a model.

    Args:
        labels: the class names of a classifier, in the order of their index, otherwise None.
        probabilities: the name of the output that has their probabilities.
        label: the name of the output that has the classifier's own label. If it is None, the label
            is the name of the highest probability. `NO_LABEL`: it is not known which output has it.
        label_values: the values of that output in the order of the classes, if they are others than
            the class names.
        features: the names of the values of a row, if there is one input with rows `[n]`.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...] = ()
    labels: tuple[str, ...] | None = None
    probabilities: str | None = None
    label: str | None = None
    label_values: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        labels, label_values = stored["labels"], stored.get("label_values")
        features = stored.get("features")
        return cls(
            inputs=tuple(map(Input.from_json, stored["inputs"])),
            outputs=tuple(
                Output(**{**each, "shape": tuple(each["shape"])}) for each in stored["outputs"]
            ),
            labels=None if labels is None else tuple(labels),
            probabilities=stored.get("probabilities"),
            label=stored.get("label"),
            label_values=None if label_values is None else tuple(label_values),
            features=None if features is None else tuple(features),
        )

    @property
    def is_plain(self) -> bool:
        """Whether there is only one input, so that its rows can be sent as a list."""
        return len(self.inputs) == 1

    @property
    def row_inputs(self) -> list[Input]:
        """Return the inputs with a batch dimension; there is at least one."""
        return [each for each in self.inputs if not each.per_item]

    @property
    def once(self) -> list[Input]:
        """Return the inputs that are given once per item."""
        return [each for each in self.inputs if each.per_item]

    @property
    def is_fixed(self) -> bool:
        """Whether all rows have the same shape."""
        return all(type(size) is int for each in self.inputs for size in each.shape)

    def rows(self, data: Any, of: Input) -> Any:
        """Return the part of an item's valid data that is for one input."""
        return data[of.name] if type(data) is dict else data

    def example(self) -> Any:
        """Return valid data of one row."""
        values = {each.name: each.example() for each in self.inputs}
        if self.is_plain:
            return [values[self.inputs[0].name]]
        return {e.name: values[e.name] if e.per_item else [values[e.name]] for e in self.inputs}

    def first(self, data: Any) -> Any:
        """Return the rows of an item's valid data for the first input with a batch dimension."""
        return self.rows(data, self.row_inputs[0])

    def faults(self, data: object) -> list[Fault]:
        """Return what is wrong with the data of one item, with JSON pointers into it.

        At most `MAX_REPORTED_FAULTS` are listed, so there may be more.
        """
        if self.columns([data]) is not None:  # fast, and nearly always true
            return []
        if self.is_plain and type(data) is not dict:
            return self._faults_of_rows([(self.inputs[0], "", data)])
        if type(data) is not dict:
            names = ", ".join(each.name for each in self.inputs)
            expected = f"expected an object with the inputs {names}"
            return [Fault("", "wrong_shape", f"{expected}, got {kind_of(data)}")]
        faults = list(islice(self._faults_of_names(data), MAX_REPORTED_FAULTS))
        if faults:
            return faults
        return self._faults_of_rows(
            [(each, f"/{escape(each.name)}", data[each.name]) for each in self.inputs]
        )

    def columns(self, items: Sequence[Any]) -> list[tuple[list[Any], Dims]] | None:
        """Return the values of each input for all rows of these items, flat, and their shape.

        Return None if any item may be invalid, or if rows have different shapes. Whole lists are
        checked at once, which is fast, and nearly all items are valid.
        """
        if self.is_plain and set(map(type, items)) == {list}:
            column = self.inputs[0].values(items)
            return None if column is None else [column]
        if any(each.per_item for each in self.inputs) or set(map(type, items)) != {dict}:
            return None
        names = {each.name for each in self.inputs}
        if any(item.keys() != names for item in items):
            return None
        columns, counts, sizes = [], None, dict[str, int]()
        for each in self.inputs:
            rows = [item[each.name] for item in items]
            column = each.values(rows)
            if column is None or counts not in (None, list(map(len, rows))):
                return None
            if not each.agrees(column[1], sizes):
                return None
            counts = list(map(len, rows))
            columns.append(column)
        return columns

    def _faults_of_names(self, data: dict[str, Any]) -> Iterator[Fault]:
        for each in self.inputs:
            if each.name not in data:
                detail = f"the input {each.name} is missing"
                yield Fault(f"/{escape(each.name)}", "missing_input", detail)
        names = {each.name for each in self.inputs}
        for name in data:
            if name not in names:
                detail = f"the model has no such input, only {', '.join(sorted(names))}"
                yield Fault(f"/{escape(name)}", "unknown_input", detail)

    def _faults_of_rows(self, given: Sequence[tuple[Input, str, Any]]) -> list[Fault]:
        counts: dict[str, int] = {}
        for each, pointer, value in given:
            if each.per_item:
                continue
            if fault := _fault_of_count(value, pointer):
                return [fault]
            counts[pointer] = len(value)
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{len(value)} for {each.name}" for each, _, value in given)
            return [
                Fault(
                    "",
                    "wrong_row_count",
                    f"the inputs must have the same number of rows, got {told}",
                )
            ]
        return list(islice(self._faults_of_values(given), MAX_REPORTED_FAULTS))

    def _faults_of_values(self, given: Sequence[tuple[Input, str, Any]]) -> Iterator[Fault]:
        once: dict[str, int] = {}
        for each, pointer, value in given:
            if each.per_item:
                yield from each.faults(value, pointer, once)
        rows = [(each, pointer, value) for each, pointer, value in given if not each.per_item]
        for place in range(len(rows[0][2])):
            sizes = dict(once)  # named dimensions have one size within a row
            for each, pointer, value in rows:
                yield from each.faults(value[place], f"{pointer}/{place}", sizes)


def _fault_of_count(rows: object, pointer: str) -> Fault | None:
    if type(rows) is not list:
        return Fault(pointer, "wrong_shape", f"expected a list of rows, got {kind_of(rows)}")
    if not rows:
        return Fault(pointer, "no_rows", "expected at least one row, got none")
    if len(rows) > MAX_ROWS_PER_ITEM:
        detail = f"an item must have at most {MAX_ROWS_PER_ITEM} rows, got {len(rows)}"
        return Fault(pointer, "too_many_rows", detail)
    return None


def escape(name: str) -> str:
    """Return a name as RFC 6901 writes it in a pointer."""
    text = (
        name[:100].encode(errors="replace").decode()
    )  # half of a surrogate pair cannot be encoded
    return text.replace("~", "~0").replace("/", "~1")

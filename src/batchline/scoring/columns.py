"""Which columns a model reads from a file, and which it adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson
import pyarrow as pa

from batchline.errors import ConfigurationError, ModelFailed
from batchline.files.columns import listed, nearest
from batchline.files.kinds import Kind
from batchline.ml import arrow
from batchline.ml.data_loader import load_batch
from batchline.ml.features import has_any_width, with_width
from batchline.ml.inputs import Input, shape_text
from batchline.ml.predictor import Predictor
from batchline.ml.signature import Signature

Column = TypeVar("Column")

ERROR, MODEL, VERSION = "error", "model", "version"
ADDED = {ERROR: pa.string(), MODEL: pa.string(), VERSION: pa.string()}


@dataclass(frozen=True, slots=True)
class Added:
    """The columns behind the kept ones.

    Args:
        predicted: the columns of the predictions, under their own names.
        extra: the columns after these, of `ADDED`.
        renamed: own name → name in the output.
        chosen: which columns of the predictions the output has, in this order. None: all.
    """

    predicted: pa.Schema
    extra: tuple[str, ...] = (ERROR,)
    renamed: Mapping[str, str] = ()  # type: ignore[assignment]
    chosen: tuple[str, ...] | None = None

    def choose(self, predicted: Sequence[Column]) -> list[Column]:
        """Return the chosen ones of something for each column of the predictions."""
        if self.chosen is None:
            return list(predicted)
        by_name = dict(zip(self.predicted.names, predicted, strict=True))
        return [by_name[name] for name in self.chosen]

    @property
    def schema(self) -> pa.Schema:
        """Return the columns under the names of the output."""
        fields = [
            *self.choose(list(self.predicted)),
            *(pa.field(name, ADDED[name]) for name in self.extra),
        ]
        names = dict(self.renamed)
        return pa.schema([each.with_name(names.get(each.name, each.name)) for each in fields])


def named_columns(signature: Signature, columns: Sequence[str]) -> Signature:
    """Return the signature with these names for the values of a row, if it has none.

    Raises:
        ConfigurationError: the model has several inputs, or another number of values.
    """
    if not columns:
        return signature
    of = signature.inputs[0]
    if not signature.is_plain or len(of.shape) != 1:
        raise ConfigurationError(
            f"--columns names the values of a row, and this model has {_described(signature)}",
            hint="leave --columns out: the columns have the names of the inputs",
        )
    if type(of.shape[0]) is int and of.shape[0] != len(columns):
        raise ConfigurationError(
            f"the model takes {of.shape[0]} values per row, and --columns names {len(columns)}",
            hint=f"name {of.shape[0]} columns, in the order in which the model takes them",
        )
    inputs = with_width(signature.inputs, columns)
    return replace(signature, inputs=inputs, features=tuple(columns))


def _described(signature: Signature) -> str:
    if not signature.is_plain:
        return f"the inputs {', '.join(each.name for each in signature.inputs)}"
    return f"rows of the shape {shape_text(signature.inputs[0].shape)}"


def kinds_of(signature: Signature) -> dict[str, Kind]:
    """Return the type of each column that the model reads.

    Raises:
        ConfigurationError: a row of this model does not fit into columns.
    """
    if signature.features is not None:
        return dict.fromkeys(signature.features, Kind(signature.inputs[0].dtype))
    return {each.name: _kind(each) for each in signature.inputs}


def _kind(of: Input) -> Kind:
    if has_any_width(of):
        raise ConfigurationError(
            f"rows of the input {of.name} may have any number of values",
            hint="name the columns that have them, in the order of the model: --columns age,income",
        )
    sizes = [size for size in of.shape if type(size) is int]
    if of.per_item or len(sizes) != len(of.shape) or len(sizes) > 1:
        shape = shape_text(of.shape)
        what = "is given once per item" if of.per_item else f"has rows of the shape {shape}"
        raise ConfigurationError(
            f"the input {of.name} {what}, which does not fit into a column of a file",
            hint="register the rows instead: POST /items, or INSERT INTO items (data)",
        )
    return Kind(of.dtype) if sizes in ([], [1]) else Kind(of.dtype, width=sizes[0])


def added_columns(
    predictor: Predictor, extra: Sequence[str], chosen: Sequence[str] | None = None
) -> Added:
    """Return the columns that the rows get.

    Args:
        chosen: names of those of the prediction. None: all.

    Raises:
        ConfigurationError: a chosen one does not exist, there is none at all, and as for
            `predicted_columns`.
    """
    predicted = predicted_columns(predictor)
    for name in chosen or ():
        if name not in predicted.names:
            near = nearest(name, predicted.names, chosen or ())
            raise ConfigurationError(
                f"the predictions of this model have no column {name!r}",
                hint=f"use {near!r}" if near else f"use some of {listed(predicted.names)}",
            )
    if chosen is not None and not (chosen or extra):
        raise ConfigurationError(
            "nothing would be added to the rows",
            hint="name some columns of the prediction to --add",
        )
    unique = None if chosen is None else tuple(dict.fromkeys(chosen))
    return Added(predicted, tuple(extra), chosen=unique)


def predicted_columns(predictor: Predictor) -> pa.Schema:
    """Predict one row, and return the columns that its prediction becomes.

    Raises:
        ConfigurationError: the model fails at a row that is made up, or a file cannot hold what it
            gives.
    """
    signature = predictor.signature
    [part] = load_batch({0: orjson.dumps(signature.example())}, signature).parts
    try:
        return arrow.schema_of(predictor.predict_columns(part.rows))
    except ModelFailed as error:
        raise ConfigurationError(
            f"the model fails at a row that is made up: {error.detail}",
            hint="give rows that it accepts with --sample ROWS.json",
        ) from error

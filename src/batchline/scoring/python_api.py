"""What `import batchline` offers: models that predict tables and files in this process."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import pyarrow as pa
import structlog

from batchline.constants import MODEL_TIMEOUT
from batchline.errors import BatchlineError, ConfigurationError
from batchline.file_errors import TooManyErrors
from batchline.files import open_sink, open_source
from batchline.files.columns import nearest
from batchline.files.options import Format, ReadOptions, WriteOptions
from batchline.files.outputs import check_is_no_input
from batchline.machine import cores
from batchline.ml.background import try_in_time
from batchline.ml.examination.report import Choices
from batchline.ml.runtime import Runtime
from batchline.registry.files import is_file, read_sample
from batchline.registry.model_file import ModelFile, Sample
from batchline.scoring.columns import (
    ERROR,
    MODEL,
    VERSION,
    added_columns,
    kinds_of,
    named_columns,
)
from batchline.scoring.error_limit import ErrorLimit
from batchline.scoring.frames import predict_stream, predict_table, table_of
from batchline.scoring.local import LocalEngine
from batchline.scoring.model import ScoringModel, load_file, load_version
from batchline.scoring.python_words import python_words
from batchline.scoring.scorer import Scorer
from batchline.scoring.summary import Summary

if TYPE_CHECKING:
    from batchline.db.database import Database

__all__ = [
    "BatchlineError",
    "Format",
    "Model",
    "ReadOptions",
    "TooManyErrors",
    "WriteOptions",
    "load_model",
    "predict_file",
]


FILE = "keep", "read", "write"
"""The arguments of `predict_file` that are not in `FileOptions`."""


class ModelOptions(TypedDict, total=False):
    """The options of `load_model`. They mean what those of `batchline predict` mean.

    Args:
        columns: names of the values of a row, in the order of the model, if it has none.
        labels: the class names, or the path of a JSON file with them.
        sample: a file with rows, as in POST /predict, to validate the model with.
        missing: names of the features that may be missing, or `all`.
        no_missing: names of the features that may not, or `all`.
        missing_text: the text that the model gets for missing values, or a list of `NAME=TEXT`.
        probabilities: the name of the output with the class probabilities.
        rows_axis: number or name of the batch dimension, or `none`.
        allow_non_finite: accept NaN and infinity as predictions.
        database_url: the database of a model that is not a file.
        threads: how many blocks of rows are predicted at once. None: as many as there are cores.
        execution_providers: those of ONNX Runtime, the preferred one first.
    """

    columns: Sequence[str] | None
    labels: Sequence[str] | str | Path | None
    sample: str | Path | None
    missing: Sequence[str]
    no_missing: Sequence[str]
    missing_text: str | Sequence[str]
    probabilities: str | None
    rows_axis: str | None
    allow_non_finite: bool
    database_url: str | None
    threads: int | None
    execution_providers: Sequence[str]


class OutputOptions(TypedDict, total=False):
    """Which columns a prediction adds. They mean what the options of `batchline predict` mean.

    Args:
        add: names of the predictions' columns to add. None: all.
        rename: other names of added columns: old → new.
        error_column: add the column `error`. Without it, the first row with an error raises.
        model_columns: add the columns `model` and `version`.
        max_errors: raise if more rows have errors: a number, or as a float a share of the rows.
            It needs the column `error`.
    """

    add: Sequence[str] | None
    rename: Mapping[str, str]
    error_column: bool
    model_columns: bool
    max_errors: int | float | None


class FileOptions(ModelOptions, OutputOptions, total=False):
    """The options of `predict_file`."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is loaded. Several threads may use it at once.

    Args:
        name: its name in the registry, or that of its file.
        version: its number in the registry, or the first digits of its file's sha256.
    """

    name: str
    version: str
    _model: ScoringModel
    _threads: int

    def __repr__(self) -> str:
        columns = len(kinds_of(self._model.predictor.signature))
        return f"<Model {self.name}, version {self.version}, reads {columns} columns>"

    @python_words()
    def predict(
        self, frame: Any, *, keep: Sequence[str] | None = None, **options: Unpack[OutputOptions]
    ) -> Any:
        """Return a table with the predictions of all rows of a table, in the same order.

        The columns of the model are found by name. They are predicted in blocks, in threads.

        Args:
            frame: a `DataFrame` of pandas or polars, a `Table`, `RecordBatch` or
                `RecordBatchReader` of pyarrow, or any other table with `__arrow_c_stream__`.
            keep: the columns that the result has in front of the predictions. None: all.

        Returns:
            A table of the same library: the kept columns without a copy, then `label`,
            `probability_…` for each class, the other outputs, and `error`. For a
            `RecordBatchReader`, a reader that predicts each batch when it is read. For a table of
            another library, a `Table` of pyarrow.

        Raises:
            InvalidColumns: columns are missing, have a wrong type, or would have one name.
            TooManyErrors: more rows have errors than `max_errors`, or one without `error_column`.
            TypeError: `frame` is no table, or an option is unknown.
        """
        _check_options("predict", options, "keep", *OutputOptions.__annotations__)
        _check_names(keep=keep)
        scorer, limit = self._scorer(options), _limit(options)
        if isinstance(frame, pa.RecordBatchReader):
            return predict_stream(frame, scorer, keep, limit)
        return predict_table(table_of(frame), scorer, keep, limit, self._threads)

    @python_words()
    def predict_file(
        self,
        sources: str | Path | Sequence[str | Path],
        output: str | Path,
        *,
        keep: Sequence[str] | None = None,
        read: ReadOptions | None = None,
        write: WriteOptions | None = None,
        **options: Unpack[OutputOptions],
    ) -> Summary:
        """Predict every row of files, as `batchline predict` does. See `batchline.predict_file`."""
        _check_options("predict_file", options, *FILE, *OutputOptions.__annotations__)
        _check_names(keep=keep)
        given = [sources] if isinstance(sources, str | Path) else sources
        scorer, limit = self._scorer(options), _limit(options)
        with open_source([str(each) for each in given], read or ReadOptions()) as source:
            check_is_no_input(str(output), [each.location.path for each in source.files])
            kept = source.check(scorer.kinds, keep)
            write = write or source.write_options(str(output))
            with open_sink(str(output), kept, scorer.added.schema, write) as sink:
                engine = LocalEngine(
                    source, sink, scorer, threads=self._threads, keep=keep, limit=limit
                )
                return engine.run()

    def _scorer(self, options: OutputOptions) -> Scorer:
        model = self._model
        extra = [ERROR] * options.get("error_column", True)
        extra += [MODEL, VERSION] * options.get("model_columns", False)
        _check_names(add=(chosen := options.get("add")))
        added = added_columns(model.predictor, extra, chosen)
        renamed, names = options.get("rename", {}), added.schema.names
        if unknown := [name for name in renamed if name not in names]:
            raise ConfigurationError(
                f"no added column is named {', '.join(unknown)}",
                hint=f"rename some of {', '.join(names)}",
            )
        kinds = kinds_of(model.predictor.signature)
        added = replace(added, renamed=renamed)
        return Scorer(model.predictor, kinds, added, model.name, model.version)


@python_words()
def load_model(model: str | Path, **options: Unpack[ModelOptions]) -> Model:
    """Load a model: an ONNX file by path or URL, or `NAME` or `NAME@VERSION` of a database.

    A file is validated when it is loaded for the first time on this machine.

    Args:
        options: see `ModelOptions`.

    Raises:
        ConfigurationError: the model cannot be served.
        UnknownModel, UnknownVersion: the database has no such version.
        TypeError: an option is unknown.
    """
    _check_options("load_model", options, *ModelOptions.__annotations__)
    _check_names(**{name: options.get(name) for name in ("columns", "missing", "no_missing")})
    threads = options.get("threads") or cores()
    providers = options.get("execution_providers", Runtime().providers)
    runtime = Runtime(providers=providers, parallel_calls=threads)
    name = str(model)
    if is_file(name):
        labels = options.get("labels")
        path = Path(labels) if isinstance(labels, str | Path) else None
        file, sample = ModelFile.read(name, path, _choices(options)), _sample(options)
        loaded = try_in_time(
            MODEL_TIMEOUT,
            lambda limit: _load_file(file, sample, replace(runtime, limit=limit)),
        )
    else:
        if not structlog.is_configured():  # a library prints no debug messages
            level = structlog.make_filtering_bound_logger(logging.WARNING)
            structlog.configure(wrapper_class=level)
        loaded = load_version(lambda: _database(name, options), name, runtime)
    signature = named_columns(loaded.predictor.signature, options.get("columns") or ())
    return Model(loaded.name, loaded.version, loaded.with_signature(signature), threads)


def _load_file(file: ModelFile, sample: Sample, runtime: Runtime) -> ScoringModel:
    """Validate it in this process: a library starts no others."""
    return load_file(file, sample, runtime, lambda file, sample: file.examine(sample, runtime))


def predict_file(
    sources: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | Model,
    keep: Sequence[str] | None = None,
    read: ReadOptions | None = None,
    write: WriteOptions | None = None,
    **options: Unpack[FileOptions],
) -> Summary:
    """Predict every row of files, and write each row with its prediction.

    The output appears once it is complete. A row that cannot be read or predicted has its reason in
    the column `error`.

    Args:
        sources: files, folders, patterns or URLs of CSV, JSON Lines or Parquet.
        output: a file, a folder or a URL.
        model: a loaded model, or what `load_model` takes, with its options.
        keep: the columns of the input that the output has. None: all.
        read: how to read the files. None: by their extensions.
        write: how to write the output. None: by its extension, and like the first input.
        options: see `ModelOptions` and `OutputOptions`.

    Returns:
        How many rows were predicted, how many have errors, and the first of these.

    Raises:
        FileError: a file cannot be read or written, or its columns do not fit.
        TooManyErrors: more rows have errors than are allowed. Nothing was written.
        TypeError: an option is unknown.
    """
    _check_options("predict_file", options, "model", *FILE, *FileOptions.__annotations__)
    given: dict[str, Any] = dict(options)
    adding = {name: given.pop(name) for name in OutputOptions.__annotations__ if name in given}
    if isinstance(model, Model) and given:
        raise TypeError(f"the model is loaded, so it takes no {', '.join(given)}")
    loaded = model if isinstance(model, Model) else load_model(model, **given)
    return loaded.predict_file(sources, output, keep=keep, read=read, write=write, **adding)


def _check_options(function: str, given: Collection[str], *known: str) -> None:
    """Check the names of options, as Python checks those of arguments.

    Raises:
        TypeError: one is unknown.
    """
    for name in given:
        if name not in known:
            near = nearest(name, known, given)
            names = f"did you mean {near}?" if near else f"only {', '.join(known)}"
            raise TypeError(f"{function} has no option {name}, {names}")


def _check_names(**lists: object) -> None:
    """Check that lists of names are none of letters.

    Raises:
        TypeError: one is a string.
    """
    for argument, names in lists.items():
        if isinstance(names, str):
            none = ". None keeps all columns, and [] none" if argument == "keep" else ""
            raise TypeError(f"{argument} must be a list of names, got the string {names!r}{none}")


def _choices(options: ModelOptions) -> Choices:
    labels = options.get("labels")
    columns = options.get("columns")
    text = options.get("missing_text", ())
    return Choices(
        labels=None if labels is None or isinstance(labels, str | Path) else tuple(labels),
        probabilities=options.get("probabilities"),
        rows_axis=options.get("rows_axis"),
        allow_non_finite=options.get("allow_non_finite", False),
        features=None if columns is None else tuple(columns),
        missing=tuple(options.get("missing", ())),
        no_missing=tuple(options.get("no_missing", ())),
        missing_text=(text,) if isinstance(text, str) else tuple(text),
    )


def _sample(options: ModelOptions) -> tuple[str, bytes] | None:
    sample = options.get("sample")
    return None if sample is None else read_sample(Path(sample))


def _database(model: str, options: ModelOptions) -> "Database":
    from batchline.db.database import Database

    url = options.get("database_url")
    if url is None:
        raise ConfigurationError(
            f"database_url is not given for {model}",
            hint="give database_url",
        )
    return Database(url, must_exist=True)


def _limit(options: OutputOptions) -> ErrorLimit:
    most, has_reasons = options.get("max_errors"), options.get("error_column", True)
    if most is None:
        return ErrorLimit() if has_reasons else ErrorLimit(count=0)
    if not has_reasons:
        raise TypeError("max_errors needs the column error, which has the reasons")
    return ErrorLimit(share=most) if isinstance(most, float) else ErrorLimit(count=most)

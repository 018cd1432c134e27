"""The command that predicts every row of files."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.cli.model_options import (
    AllowNonFinite,
    Labels,
    Missing,
    MissingText,
    NoMissing,
    Probabilities,
    RowsAxis,
    Sample,
    feature_choices,
    read_sample,
)
from batchline.cli.options import DatabaseUrl
from batchline.cli.predict_output import NOTHING_WRITTEN, show_progress, show_summary
from batchline.cli.predict_sql import (
    Id,
    IfExistsOption,
    Into,
    OnlyNew,
    Query,
    SqlRun,
    check_sides,
    read_options,
)
from batchline.cli.wiring import configure_logging, configure_silently, connect, runtime_of
from batchline.machine import collect_garbage_rarely

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.files.source import Source
    from batchline.scoring.columns import Added
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.summary import ErrorLimit

app = typer.Typer()

WITH_ERRORS = 3
"""The exit code if some rows have errors."""
ALL, NONE = "all", "none"

FILES = "Files"
COLUMNS = "Columns"
CSV = "CSV"
MODEL = "Model"

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SRC...",
        help="Read these files, folders, patterns or URLs: CSV, JSON Lines or Parquet. "
        "-: standard input.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DST",
        help="Write this file, URL or folder. -: standard output.",
        rich_help_panel=FILES,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Predict with this ONNX file, or with this model of the database: NAME or "
        "NAME@VERSION.",
        rich_help_panel=MODEL,
    ),
]


def _option(text: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


@app.command()
def predict(
    model: Model,
    sources: Sources = None,
    output: Output = None,
    query: Query = None,
    into: Into = None,
    key: Id = None,
    if_exists: IfExistsOption = None,
    only_new: OnlyNew = False,
    keep: Annotated[
        str,
        _option("Keep these columns of the input: all, none, or names.", COLUMNS, metavar="NAMES"),
    ] = ALL,
    columns: Annotated[
        str | None,
        _option(
            "Read the values of a row from these columns, in the order of the model.",
            COLUMNS,
            metavar="NAMES",
        ),
    ] = None,
    rename: Annotated[
        list[str] | None, _option("Give an added column another name.", COLUMNS, metavar="OLD=NEW")
    ] = None,
    error_column: Annotated[
        bool,
        _option("Add the column error. Without it, the first bad row ends the run.", COLUMNS),
    ] = True,
    model_columns: Annotated[
        bool, _option("Add the columns model and version.", COLUMNS, "--model-columns")
    ] = False,
    max_errors: Annotated[
        str | None,
        _option(
            "Stop without output if more rows have errors: a number, or a share such as 5%.",
            FILES,
            metavar="N|P%",
        ),
    ] = None,
    check: Annotated[
        bool, _option("Check the model and all columns, and predict nothing.", FILES, "--check")
    ] = False,
    input_format: Annotated[
        str | None,
        _option(
            "Read this format: csv, jsonl or parquet. \\[default: by extension]",
            FILES,
            metavar="FORMAT",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        _option("Write this format. \\[default: by extension]", FILES, metavar="FORMAT"),
    ] = None,
    delimiter: Annotated[
        str | None,
        _option("Separate cells by this character, such as ; or \\t.", CSV, metavar="CHARACTER"),
    ] = None,
    decimal: Annotated[str, _option("Read this as the decimal mark.", CSV)] = ".",
    thousands: Annotated[str, _option("Skip this mark between groups of digits.", CSV)] = "",
    encoding: Annotated[str, _option("Decode texts from this encoding.", CSV)] = "utf-8",
    null: Annotated[
        list[str] | None, _option("Read this word as a missing value.", CSV, metavar="WORD")
    ] = None,
    labels: Labels = None,
    sample: Sample = None,
    missing: Missing = None,
    no_missing: NoMissing = None,
    missing_text: MissingText = None,
    probabilities: Probabilities = None,
    rows_axis: RowsAxis = None,
    allow_non_finite: AllowNonFinite = False,
    as_json: Annotated[
        bool,
        _option("Print the summary as JSON, on stdout unless the rows are there.", FILES, "--json"),
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Predict every row of files or of a query, and write a file or a table.

    Columns are found by name. All others pass through unchanged. The output has one row for each
    row of the input, in the same order. It appears once it is complete. A row that cannot be read
    or predicted has its reason in the column error. Exit code 3: some rows have errors.
    """
    collect_garbage_rarely()
    settings = configure_silently({"database_url": database_url})
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.scoring.columns import named_columns

    choices = replace(
        feature_choices(
            columns, missing, no_missing, missing_text, allow_non_finite=allow_non_finite
        ),
        probabilities=probabilities,
        rows_axis=rows_axis,
    )
    reading = ReadOptions(
        _format(input_format),
        _delimiter(delimiter),
        decimal,
        thousands,
        encoding,
        tuple(null or ()),
    )
    writing = WriteOptions(_format(output_format), _delimiter(delimiter))
    check_sides(sources or [], output, query, into, check=check)
    sql = read_options(query, into, key, if_exists, only_new=only_new)
    limit = _limit(max_errors, error_column=error_column)
    loaded = _load(settings, model, choices, labels, read_sample(sample))
    loaded = loaded.with_signature(
        named_columns(loaded.predictor.signature, _names(columns or "") if columns else ())
    )
    added = _added(
        loaded, rename or [], error_column=error_column, model_columns=model_columns or bool(into)
    )
    rest = loaded, added, reading, writing, _keep(keep), limit, as_json
    run: _Run | SqlRun = (
        SqlRun(sources or [], output, sql, settings, *rest)
        if sql.is_used
        else _Run(settings, sources or [], output, *rest)
    )
    with _stopped_by_signals(run.when_stopped):
        failed = run.check() if check else run.execute()
    if failed:
        raise typer.Exit(WITH_ERRORS)


@dataclass(frozen=True)
class _Run:
    """Everything that was asked for."""

    settings: "Settings"
    sources: list[str]
    output: str | None
    model: "ScoringModel"
    added: "Added"
    reading: "ReadOptions"
    writing: "WriteOptions"
    keep: list[str] | None
    limit: "ErrorLimit"
    as_json: bool
    when_stopped = NOTHING_WRITTEN

    def check(self) -> int:
        """Check all columns of all files, and print what the output would have."""
        from batchline.files import STANDARD_STREAM, open_source
        from batchline.files.sink import check_columns
        from batchline.scoring.columns import kinds_of

        kinds = kinds_of(self.model.predictor.signature)
        with open_source(self.sources, self.reading) as source:
            kept = source.check(kinds, self.keep)
            path = self.output or STANDARD_STREAM
            format_ = self._write_options(source).format_of(path)
            check_columns(path, kept, self.added.schema, format_)
            typer.echo(f"files: {len(source.files)}, {source.format}")
            _list_ignored(source, list(kinds), self.keep)
        typer.echo(f"reads: {', '.join(f'{name} ({kind})' for name, kind in kinds.items())}")
        typer.echo(f"writes: {', '.join([*kept.names, *self.added.schema.names])}")
        return 0

    def execute(self) -> int:
        """Predict all rows, and return how many have errors."""
        from batchline.files import open_sink, open_source
        from batchline.scoring.columns import kinds_of
        from batchline.scoring.local import LocalEngine
        from batchline.scoring.scorer import Scorer

        assert self.output is not None
        kinds = kinds_of(self.model.predictor.signature)
        scorer = Scorer(
            self.model.predictor, kinds, self.added, self.model.name, self.model.version
        )
        with open_source(self.sources, self.reading) as source:
            kept = source.check(kinds, self.keep)
            _list_ignored(source, list(kinds), self.keep)
            options = self._write_options(source)
            with (
                open_sink(self.output, kept, self.added.schema, options) as sink,
                show_progress(source, self.settings) as on_progress,
            ):
                engine = LocalEngine(
                    source,
                    sink,
                    scorer,
                    threads=self.settings.worker_threads,
                    keep=self.keep,
                    limit=self.limit,
                    on_progress=on_progress,
                )
                summary = engine.run()
        show_summary(summary, self.output, as_json=self.as_json)
        return summary.failed

    def _write_options(self, source: "Source") -> "WriteOptions":
        """Write as the input is written, as far as the options and the name leave it open."""
        from batchline.files.options import STANDARD_STREAM, is_folder

        path = self.output or STANDARD_STREAM
        like = source.write_options(path)
        like_input = source.format if path == STANDARD_STREAM or is_folder(path) else None
        return replace(
            like,
            format=self.writing.format or like_input,
            delimiter=self.writing.delimiter or like.delimiter,
        )


def _load(
    settings: "Settings", model: str, choices: Any, labels: Any, sample: Any
) -> "ScoringModel":
    from batchline.registry.model_file import ModelFile
    from batchline.scoring.model import is_file, load_file, load_version

    runtime = runtime_of(settings)
    if is_file(model):
        return load_file(ModelFile.read(model, labels, choices), sample, runtime)
    configure_logging(settings)
    return load_version(lambda: connect(settings), model, runtime)


def _added(
    model: "ScoringModel", rename: list[str], *, error_column: bool, model_columns: bool
) -> "Added":
    from batchline.scoring.columns import ERROR, MODEL, VERSION, Added, predicted_columns

    extra = [ERROR] * error_column + [MODEL, VERSION] * model_columns
    added = Added(predicted_columns(model.predictor), tuple(extra))
    names = added.schema.names
    renamed = {}
    for text in rename:
        old, equals, new = text.partition("=")
        if not equals or not new or old not in names:
            raise typer.BadParameter(
                f"expected OLD=NEW with one of {', '.join(names)}, got {text}",
                param_hint="--rename",
            )
        if old in renamed:
            raise typer.BadParameter(f"{old} has two new names", param_hint="--rename")
        renamed[old] = new
    return replace(added, renamed=renamed)


def _limit(text: str | None, *, error_column: bool) -> "ErrorLimit":
    from batchline.scoring.summary import ErrorLimit

    if text is None:
        return ErrorLimit() if error_column else ErrorLimit(count=0)
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if 0 <= share <= 1:
                return ErrorLimit(share=share)
        elif int(text) >= 0:
            return ErrorLimit(count=int(text))
    except ValueError:
        pass
    raise typer.BadParameter(
        f"expected a number of rows, or a share such as 5%, got {text}", param_hint="--max-errors"
    )


def _format(text: str | None) -> Any:
    from batchline.files.options import Format

    if text is None:
        return None
    try:
        return Format(text)
    except ValueError:
        names = ", ".join(Format)
        raise typer.BadParameter(f"expected one of {names}, got {text}") from None


def _delimiter(text: str | None) -> str | None:
    return "\t" if text == "\\t" else text  # most shells leave the two characters as they are


def _keep(text: str) -> list[str] | None:
    if text == ALL:
        return None
    return [] if text == NONE else _names(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _list_ignored(source: "Source", used: list[str], keep: list[str] | None) -> None:
    """Say once which columns are neither read nor kept."""
    from batchline.files.columns import SHOWN

    if keep is None:
        return
    every = dict.fromkeys(name for file in source.files for name in file.columns)
    ignored = [name for name in every if name not in used and name not in keep]
    if ignored:
        more = f" and {len(ignored) - SHOWN} more" if len(ignored) > SHOWN else ""
        typer.echo(f"ignored columns: {', '.join(ignored[:SHOWN])}{more}", err=True)


@contextmanager
def _stopped_by_signals(message: str) -> Iterator[None]:
    """End with 128 + signal after Ctrl-C or SIGTERM, and leave no half of an output."""

    def on_signal(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        raise _Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        yield
    except _Stopped as stopped:
        typer.echo(f"stopped: {message}", err=True)
        sys.stderr.flush()
        raise typer.Exit(128 + stopped.number) from None


class _Stopped(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number

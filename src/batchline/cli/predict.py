"""The command that predicts every row of files."""

from contextlib import AbstractContextManager, nullcontext
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
from batchline.cli.predict_output import show_progress, show_summary
from batchline.cli.predict_process import start_process, stopped_by_its_parent
from batchline.cli.wiring import configure, connect, runtime_of

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.files.source import Source
    from batchline.scoring.columns import Added
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.scorer import Scorer
    from batchline.scoring.summary import ErrorLimit
    from batchline.scoring.supervisor import Attempt
    from batchline.scoring.watched import Watch

app = typer.Typer()

WITH_ERRORS = 3
"""The exit code if some rows have errors."""
ALL, NONE = "all", "none"

FILES = "Files"
COLUMNS = "Columns"
CSV = "CSV"
MODEL = "Model"

Sources = Annotated[
    list[str],
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
    sources: Sources,
    model: Model,
    output: Output = None,
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
    resume: Annotated[
        bool,
        _option("Continue a run of this command that was interrupted.", FILES, "--resume"),
    ] = False,
    only_errors: Annotated[
        str | None,
        _option(
            "Predict only the rows that have an error in this earlier output, and merge them.",
            FILES,
            metavar="PREVIOUS",
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
        str | None, _option("Separate cells by this character.", CSV, metavar="CHARACTER")
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
    """Predict every row of files, and write each row with its prediction.

    Columns are found by name. All others pass through unchanged. The output has one row for each
    row of the input, in the same order. It appears once it is complete. A row that cannot be read
    or predicted has its reason in the column error. Exit code 3: some rows have errors.
    """
    settings = configure({"database_url": database_url})
    from batchline.files.options import ReadOptions, WriteOptions

    choices = replace(
        feature_choices(
            columns, missing, no_missing, missing_text, allow_non_finite=allow_non_finite
        ),
        probabilities=probabilities,
        rows_axis=rows_axis,
    )
    reading = ReadOptions(
        _format(input_format), delimiter, decimal, thousands, encoding, tuple(null or ())
    )
    writing = WriteOptions(_format(output_format), delimiter)
    if output is None and not check:
        raise typer.BadParameter("name the output: -o FILE, or add --check", param_hint="--output")
    attempt = None
    if output is not None and not check:
        attempt = start_process(sources, output, settings, resume=resume)
    with stopped_by_its_parent():
        from batchline.scoring.columns import named_columns

        limit = _limit(max_errors, error_column=error_column)
        loaded = _load(settings, model, choices, labels, read_sample(sample))
        loaded = loaded.with_signature(
            named_columns(loaded.predictor.signature, _names(columns or "") if columns else ())
        )
        added = _added(loaded, rename or [], error_column=error_column, model_columns=model_columns)
        run = _Run(
            sources,
            output,
            loaded,
            added,
            reading,
            writing,
            _keep(keep),
            limit,
            as_json,
            only_errors,
        )
        failed = run.execute(settings, attempt, resume=resume) if attempt else run.check()
    if failed:
        raise typer.Exit(WITH_ERRORS)


@dataclass(frozen=True)
class _Run:
    """Everything that was asked for."""

    sources: list[str]
    output: str | None
    model: "ScoringModel"
    added: "Added"
    reading: "ReadOptions"
    writing: "WriteOptions"
    keep: list[str] | None
    limit: "ErrorLimit"
    as_json: bool
    only_errors: str | None

    def check(self) -> int:
        """Check all columns of all files, and print what the output would have."""
        from batchline.files import open_source
        from batchline.scoring.columns import kinds_of

        kinds = kinds_of(self.model.predictor.signature)
        with open_source(self.sources, self.reading) as source:
            kept = source.check(kinds, self.keep)
            typer.echo(f"files: {len(source.files)}, {source.format}")
            _list_ignored(source, list(kinds), self.keep)
        typer.echo(f"reads: {', '.join(f'{name} ({kind})' for name, kind in kinds.items())}")
        typer.echo(f"writes: {', '.join([*kept.names, *self.added.schema.names])}")
        return 0

    def execute(self, settings: "Settings", attempt: "Attempt", *, resume: bool) -> int:
        """Predict all rows, and return how many have errors."""
        from batchline.files import open_source
        from batchline.scoring.columns import kinds_of
        from batchline.scoring.continued import facts_of, open_output
        from batchline.scoring.local import LocalEngine
        from batchline.scoring.only_errors import check_earlier, paired
        from batchline.scoring.watched import Watch

        assert self.output is not None
        kinds = kinds_of(self.model.predictor.signature)
        new, again = self.added.schema, attempt.number > 0
        watch = Watch(attempt.board, attempt.case)
        with open_source(self.sources, self.reading) as source, self._earlier() as before:
            kept = source.check(kinds, self.keep)
            if not again:
                _list_ignored(source, list(kinds), self.keep)
            options = self._write_options(before or source)
            facts = facts_of(self.model, self.added, kept, self.reading, options)
            if before:
                check_earlier(before, kept, self.added, options.format_of(self.output))
            with (
                open_output(self.output, kept, new, options, facts, resume=resume or again) as (
                    sink,
                    journal,
                ),
                show_progress(source) as on_progress,
            ):
                scorer = self._scorer(watch)
                engine = LocalEngine(
                    *(paired(source, before, sink, scorer) if before else (source, sink, scorer)),
                    threads=settings.worker_threads,
                    keep=self.keep,
                    limit=self.limit,
                    on_progress=on_progress,
                    journal=journal,
                    watch=watch,
                )
                summary = engine.run()
        show_summary(summary, self.output, as_json=self.as_json)
        return summary.failed

    def _earlier(self) -> "AbstractContextManager[Source | None]":
        from batchline.files import open_source

        if self.only_errors is None:
            return nullcontext()
        format_ = self.writing.format
        reading = replace(self.reading, format=format_, delimiter=self.writing.delimiter)
        return open_source([self.only_errors], reading)

    def _scorer(self, watch: "Watch") -> "Scorer":
        from batchline.scoring.columns import kinds_of
        from batchline.scoring.scorer import Scorer
        from batchline.scoring.watched import WatchedPredictor

        model = self.model
        predictor = WatchedPredictor.of(model.predictor, watch)
        kinds = kinds_of(predictor.signature)
        return Scorer(predictor, kinds, self.added, model.name, model.version)

    def _write_options(self, source: "Source") -> "WriteOptions":
        """Write as the input is written, as far as the options leave it open."""
        assert self.output is not None
        like = source.write_options(self.output)
        return replace(
            like,
            format=self.writing.format,
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


def _keep(text: str) -> list[str] | None:
    if text == ALL:
        return None
    return [] if text == NONE else _names(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _list_ignored(source: "Source", used: list[str], keep: list[str] | None) -> None:
    """Say once which columns are neither read nor kept."""
    if keep is None:
        return
    every = dict.fromkeys(name for file in source.files for name in file.columns)
    ignored = [name for name in every if name not in used and name not in keep]
    if ignored:
        typer.echo(f"ignored columns: {', '.join(ignored)}", err=True)

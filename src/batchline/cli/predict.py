"""The command that predicts every row of files."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

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
    read_choices,
    read_sample,
)
from batchline.cli.options import DatabaseUrl
from batchline.cli.predict_files import FileRun
from batchline.cli.predict_options import (
    ALL,
    Add,
    AsJson,
    Check,
    Columns,
    Decimal,
    Delimiter,
    Encoding,
    ErrorColumn,
    InputFormat,
    Keep,
    MaxErrors,
    Model,
    ModelColumns,
    Null,
    OnlyErrors,
    Output,
    OutputFormat,
    Rename,
    Resume,
    Sources,
    Thousands,
    delimiter_of,
    error_limit,
    file_format,
    kept_names,
    split_names,
)
from batchline.cli.predict_process import exit_at_signals, start_process
from batchline.cli.predict_ray import (
    CpusPerActor,
    Engine,
    EngineName,
    GpusPerActor,
    MaxActors,
    MinActors,
    RayAddress,
    check_ray,
)
from batchline.cli.predict_sql import (
    Id,
    IfExistsOption,
    Into,
    OnlyNew,
    Query,
    SqlRun,
    check_file_options,
    check_sides,
    read_options,
)
from batchline.cli.runtime import runtime_of
from batchline.cli.wiring import configure_logging, configure_silently, connect
from batchline.machine import collect_garbage_rarely, keep_freed_memory

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.scoring.columns import Added
    from batchline.scoring.model import ScoringModel

app = typer.Typer()

WITH_ERRORS = 3
"""The exit code if some rows have errors."""


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
    keep: Keep = ALL,
    add: Add = ALL,
    columns: Columns = None,
    rename: Rename = None,
    error_column: ErrorColumn = True,
    model_columns: ModelColumns = False,
    max_errors: MaxErrors = None,
    resume: Resume = False,
    only_errors: OnlyErrors = None,
    check: Check = False,
    input_format: InputFormat = None,
    output_format: OutputFormat = None,
    delimiter: Delimiter = None,
    decimal: Decimal = ".",
    thousands: Thousands = "",
    encoding: Encoding = "utf-8",
    null: Null = None,
    labels: Labels = None,
    sample: Sample = None,
    missing: Missing = None,
    no_missing: NoMissing = None,
    missing_text: MissingText = None,
    probabilities: Probabilities = None,
    rows_axis: RowsAxis = None,
    allow_non_finite: AllowNonFinite = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    engine: Engine = EngineName.LOCAL,
    ray_address: RayAddress = None,
    min_actors: MinActors = 1,
    max_actors: MaxActors = None,
    cpus_per_actor: CpusPerActor = 1.0,
    gpus_per_actor: GpusPerActor = 0.0,
) -> None:
    """Predict every row of files or of a query, and write a file or a table.

    Columns are found by name. All others pass through unchanged. The output has one row for each
    row of the input, in the same order. It appears once it is complete. A row that cannot be read
    or predicted has its reason in the column error. Exit code 3: some rows have errors.
    """
    exit_at_signals()
    collect_garbage_rarely()
    keep_freed_memory()
    settings = configure_silently({"database_url": database_url})
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.scoring.ray_options import RayOptions

    choices = read_choices(
        columns, missing, no_missing, missing_text, probabilities, rows_axis, allow_non_finite
    )
    reading = ReadOptions(
        file_format(input_format),
        delimiter_of(delimiter),
        decimal,
        thousands,
        encoding,
        tuple(null or ()),
    )
    writing = WriteOptions(file_format(output_format), delimiter_of(delimiter))
    check_sides(sources or [], output, query, into, check=check)
    sql = read_options(query, into, key, if_exists, only_new=only_new)
    check_file_options(sql, resume=resume, only_errors=only_errors)
    unfit = {"--query": query, "--into": into, "--only-errors": only_errors, "--check": check}
    ray = check_ray(
        engine,
        sources or [],
        unfit,
        RayOptions(ray_address, min_actors, max_actors, cpus_per_actor, gpus_per_actor),
    )
    attempt = None
    if output is not None and not check and not sql.is_used:
        attempt = start_process(sources or [], output, settings, resume=resume)
    from batchline.scoring.columns import named_columns

    limit = error_limit(max_errors, error_column=error_column)
    loaded = _load(settings, model, choices, labels, read_sample(sample))
    loaded = loaded.with_signature(
        named_columns(loaded.predictor.signature, split_names(columns or "") if columns else ())
    )
    added = _added(
        loaded,
        kept_names(add),
        rename or [],
        error_column=error_column,
        model_columns=model_columns or bool(into),
    )
    both = loaded, added, reading, writing, kept_names(keep), limit, as_json
    if sql.is_used:
        run = SqlRun(settings, sources or [], output, *both, sql)
        failed = run.check() if check else run.execute()
    else:
        files = FileRun(settings, sources or [], output, *both, only_errors, ray)
        failed = files.execute(attempt, resume=resume) if attempt else files.check()
    if failed:
        raise typer.Exit(WITH_ERRORS)


def _load(
    settings: "Settings", model: str, choices: Any, labels: Any, sample: Any
) -> "ScoringModel":
    from batchline.ml.background import try_in_time
    from batchline.ml.examination.report import Choices
    from batchline.registry.model_file import ModelFile
    from batchline.scoring.model import is_file, load_file, load_version

    runtime = runtime_of(settings)
    if is_file(model):
        file = ModelFile.read(model, labels, choices)
        return try_in_time(
            settings.model_timeout,
            lambda limit: load_file(file, sample, replace(runtime, limit=limit)),
        )
    if labels or sample or replace(choices, features=None) != Choices():
        raise typer.BadParameter(
            "options about a model file were chosen by `batchline models add` for a model of the "
            "database, and cannot be changed here",
            param_hint="--model",
        )
    configure_logging(settings)
    return load_version(partial(connect, settings), model, runtime)


def _added(
    model: "ScoringModel",
    chosen: list[str] | None,
    rename: list[str],
    *,
    error_column: bool,
    model_columns: bool,
) -> "Added":
    from batchline.scoring.columns import ERROR, MODEL, VERSION, added_columns

    extra = [ERROR] * error_column + [MODEL, VERSION] * model_columns
    added = added_columns(model.predictor, extra, chosen)
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

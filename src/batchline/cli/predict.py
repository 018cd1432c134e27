"""The command that predicts every row of files."""

from dataclasses import replace

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
from batchline.cli.options import DatabaseUrl, examples
from batchline.cli.predict_ask import Ask, ModelAsk, RunSettings
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
    renamed_columns,
    split_names,
)
from batchline.cli.predict_process import run_in_child
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
from batchline.cli.predict_signals import exit_at_signals
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
from batchline.cli.wiring import configure_silently
from batchline.machine import (
    collect_garbage_rarely,
    keep_freed_memory,
    keep_numpy_single_threaded,
)

app = typer.Typer()

WITH_ERRORS = 3
"""The exit code if some rows have errors."""


@app.command(
    epilog=examples(
        "batchline predict rows.csv -o out.csv --model m.onnx --columns age,income",
        "batchline predict 'rows/*.csv' -o out.parquet --model churn@2",
        "batchline predict --query @rows.sql --into scores --id id --model churn",
    )
)
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
    keep_numpy_single_threaded()
    settings = configure_silently({"database_url": database_url})
    from batchline.files import ReadOptions, WriteOptions, check_installed
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
    renamed = renamed_columns(rename or [])
    limit = error_limit(max_errors, error_column=error_column)
    asked = ModelAsk(
        model,
        labels,
        read_sample(sample),
        choices,
        tuple(split_names(columns)) if columns else (),
        kept_names(add),
        renamed,
        error_column,
        model_columns or bool(into),
    )
    _check_model(asked)
    check_installed()
    run_settings = RunSettings.of(settings, database_url)
    files = sources or []
    common = reading, writing, kept_names(keep), limit, as_json
    if sql.is_used:
        from batchline.cli.predict_model import load

        loaded, added = load(asked, run_settings)
        run = SqlRun(settings, files, output, loaded, added, *common, sql)
        failed = run.check() if check else run.execute()
        raise typer.Exit(WITH_ERRORS if failed else 0)
    ask = Ask(run_settings, files, output, asked, *common, resume, only_errors, ray)
    if check or output is None:
        from batchline.cli.predict_work import run_of

        run_of(ask).check()
    else:
        run_in_child(ask, output)


def _check_model(ask: ModelAsk) -> None:
    """Check that no option about a model file is given for a model of the database.

    Raises:
        BadParameter: one is, and could only be ignored.
    """
    from batchline.ml.examination.report import Choices
    from batchline.registry.files import is_file

    if is_file(ask.name):
        return
    if ask.labels or ask.sample or replace(ask.choices, features=None) != Choices():
        raise typer.BadParameter(
            "options about a model file were chosen by `batchline models add` for a model of the "
            "database, and cannot be changed here",
            param_hint="--model",
        )

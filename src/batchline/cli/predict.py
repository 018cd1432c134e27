"""The command that predicts every row of files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from batchline.cli.option_record import takes
from batchline.cli.options import examples
from batchline.cli.predict_ask import WITH_ERRORS, Ask, ModelAsk, RunSettings
from batchline.cli.predict_options import Options
from batchline.cli.predict_process import run_in_child
from batchline.cli.predict_signals import exit_at_signals
from batchline.cli.predict_sql_options import SqlOptions
from batchline.cli.wiring import configure_silently
from batchline.machine import (
    collect_garbage_rarely,
    keep_freed_memory,
    keep_numpy_single_threaded,
)

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.ml.examination.report import Choices

app = typer.Typer()


@app.command(
    epilog=examples(
        "batchline predict rows.csv -o out.csv --model m.onnx --columns age,income",
        "batchline predict 'rows/*.csv' -o out.parquet --model churn@2",
        "batchline predict --query @rows.sql --into scores --id id --model churn",
    )
)
@takes(Options)
def predict(options: Options) -> None:
    """Predict every row of files or of a query, and write a file or a table.

    Columns are found by name. All others pass through unchanged. The output has one row for each
    row of the input, in the same order. It appears once it is complete. A row that cannot be read
    or predicted has its reason in the column error. Exit code 3: some rows have errors.
    """
    exit_at_signals()
    collect_garbage_rarely()
    keep_freed_memory()
    keep_numpy_single_threaded()
    settings = configure_silently({"database_url": options.database_url})
    sql, ask = _read(options, RunSettings.of(settings, options.database_url))
    if sql.is_used:
        failed = _run_with_sql(ask, settings, sql, check=options.check)
        raise typer.Exit(WITH_ERRORS if failed else 0)
    if options.check or ask.output is None:
        from batchline.cli.predict_work import run_of

        run_of(ask).check()
    else:
        run_in_child(ask, ask.output)


def _read(options: Options, settings: RunSettings) -> tuple[SqlOptions, Ask]:
    """Check the options, and return what they ask for.

    Raises:
        BadParameter: an option has no meaning, or does not fit another one.
        BatchlineError: a file that an option names cannot be read, or a package is missing.
    """
    from batchline.files import check_installed

    choices = options.model_file.choices(options.columns.columns)
    reading, writing = options.formats.reading(), options.formats.writing()
    options.check_sides()
    sql = options.sql.checked()
    sql.check_file_options(resume=options.resume, only_errors=options.only_errors)
    ray = options.engine.ray(options.sources or (), options.only_local())
    renamed, limit = options.columns.renamed(), options.columns.limit()
    model = _model(options, choices, renamed)
    _check_model(model)
    check_installed()
    ask = Ask(
        settings,
        options.sources or [],
        options.output,
        model,
        reading,
        writing,
        options.columns.kept(),
        limit,
        options.as_json,
        options.resume,
        options.only_errors,
        ray,
    )
    return sql, ask


def _model(options: Options, choices: "Choices", renamed: Mapping[str, str]) -> ModelAsk:
    columns, file = options.columns, options.model_file
    return ModelAsk(
        options.model,
        file.labels,
        file.read_sample(),
        choices,
        columns.features(),
        columns.added(),
        renamed,
        columns.error_column,
        columns.model_columns or bool(options.sql.into),
    )


def _run_with_sql(ask: Ask, settings: "Settings", sql: SqlOptions, *, check: bool) -> int:
    """Return how many rows have errors."""
    from batchline.cli.predict_model import load
    from batchline.cli.predict_sql import SqlRun

    run = SqlRun(ask, *load(ask.model, ask.settings), settings, sql)
    return run.check() if check else run.execute()


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

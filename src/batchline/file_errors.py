"""The errors of `batchline predict`: of files, queries, tables and the run as a whole.

They follow the rules of `errors`.
"""

from batchline.errors import BatchlineError


class TooManyErrors(BatchlineError):
    """More rows have errors than `--max-errors` allows.

    Correct the rows, or raise `--max-errors`.
    """

    code = "too_many_errors"


class RunStopped(BatchlineError):
    """A run over a file ended before all rows were predicted."""

    code = "run_stopped"


class QueryFailed(BatchlineError):
    """The query of `predict --query` failed, or its rows have no unique id."""

    code = "query_failed"


class SourceLost(BatchlineError):
    """The connection was lost before all rows of a query were read.

    Run the command again. With `--id`, a run continues by itself.
    """

    code = "source_lost"


class TableUnfit(BatchlineError):
    """A table cannot take the predictions of `predict --into`.

    Nothing was written. Name another table, or change its columns.
    """

    code = "table_unfit"


class FileError(BatchlineError):
    """A file cannot be read or written."""

    code = "file_error"


class FileOptionInvalid(FileError):
    """An option for reading or writing files is invalid."""

    code = "file_option_invalid"


class FormatUnknown(FileError):
    """The name of a file does not show its format.

    Add `--input-format` or `--output-format` with `csv`, `jsonl` or `parquet`.
    """

    code = "format_unknown"


class NoFileFound(FileError):
    """No file has this name or matches this pattern."""

    code = "no_file_found"


class FileUnreadable(FileError):
    """A file cannot be opened, is damaged or is not in the stated format."""

    code = "file_unreadable"


class InvalidColumns(FileError):
    """The columns of a file are not those that are needed.

    `faults` lists the problems of all files.
    """

    code = "invalid_columns"


class SourceChanged(FileError):
    """A file changed while Batchline read it.

    Wait until nothing writes to the file, then run the command again.
    """

    code = "source_changed"


class NotWritten(FileError):
    """An output cannot be written. A file that was there before is unchanged."""

    code = "not_written"


class RunChanged(FileError):
    """A run cannot be continued, since its input, its model or an option changed.

    Go back to what it was to continue, or run the command without `--resume` to start over.
    """

    code = "run_changed"

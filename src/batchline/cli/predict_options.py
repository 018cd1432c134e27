"""The options of `predict`, and what their texts mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.cli.model_options import ModelFileOptions
from batchline.cli.options import DatabaseUrl
from batchline.cli.predict_ray import EngineOptions
from batchline.cli.predict_sql_options import SqlOptions

if TYPE_CHECKING:
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.scoring.error_limit import ErrorLimit

ALL, NONE = "all", "none"

FILES = "Files"
COLUMNS = "Columns"
CSV = "CSV"
MODEL = "Model"


def _option(text: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class ColumnOptions:
    """The columns of the input and of the output."""

    keep: Annotated[
        str,
        _option("Keep these columns of the input: all, none, or names.", COLUMNS, metavar="NAMES"),
    ] = ALL
    add: Annotated[
        str,
        _option(
            "Add these columns of the prediction: all, none, or names.", COLUMNS, metavar="NAMES"
        ),
    ] = ALL
    columns: Annotated[
        str | None,
        _option(
            "Read the values of a row from these columns, in the order of the model.",
            COLUMNS,
            metavar="NAMES",
        ),
    ] = None
    rename: Annotated[
        list[str] | None, _option("Give an added column another name.", COLUMNS, metavar="OLD=NEW")
    ] = None
    error_column: Annotated[
        bool,
        _option("Add the column error. Without it, the first bad row ends the run.", COLUMNS),
    ] = True
    model_columns: Annotated[
        bool, _option("Add the columns model and version.", COLUMNS, "--model-columns")
    ] = False
    max_errors: Annotated[
        str | None,
        _option(
            "Stop without output if more rows have errors: a number, or a share such as 5%.",
            FILES,
            metavar="N|P%",
        ),
    ] = None

    def features(self) -> tuple[str, ...]:
        """Return the columns with the values of a row, or nothing."""
        return tuple(_split_names(self.columns)) if self.columns else ()

    def kept(self) -> list[str] | None:
        """Return the columns of the input for the output. None: all."""
        return _chosen_names(self.keep)

    def added(self) -> list[str] | None:
        """Return the columns of the prediction for the output. None: all."""
        return _chosen_names(self.add)

    def renamed(self) -> dict[str, str]:
        """Return own name → new name of each `OLD=NEW`."""
        renamed: dict[str, str] = {}
        for text in self.rename or ():
            old, equals, new = text.partition("=")
            if not equals or not new:
                raise typer.BadParameter(f"expected OLD=NEW, got {text}", param_hint="--rename")
            if old in renamed:
                raise typer.BadParameter(f"{old} has two new names", param_hint="--rename")
            renamed[old] = new
        return renamed

    def limit(self) -> "ErrorLimit":
        """Return how many rows may have errors."""
        from batchline.scoring.error_limit import ErrorLimit

        text = self.max_errors
        if text is None:
            return ErrorLimit() if self.error_column else ErrorLimit(count=0)
        if not self.error_column:
            raise typer.BadParameter(
                "needs the column error, which has the reasons", param_hint="--max-errors"
            )
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
            f"expected a number of rows, or a share such as 5%, got {text}",
            param_hint="--max-errors",
        )


@dataclass(frozen=True)
class FormatOptions:
    """The formats of the files."""

    input_format: Annotated[
        str | None,
        _option(
            "Read this format: csv, jsonl or parquet. \\[default: by extension]",
            FILES,
            metavar="FORMAT",
        ),
    ] = None
    output_format: Annotated[
        str | None,
        _option("Write this format. \\[default: by extension]", FILES, metavar="FORMAT"),
    ] = None
    delimiter: Annotated[
        str | None,
        _option("Separate cells by this character, such as ; or \\t.", CSV, metavar="CHARACTER"),
    ] = None
    decimal: Annotated[str, _option("Read this as the decimal mark.", CSV)] = "."
    thousands: Annotated[str, _option("Skip this mark between groups of digits.", CSV)] = ""
    encoding: Annotated[str, _option("Decode texts from this encoding.", CSV)] = "utf-8"
    null: Annotated[
        list[str] | None, _option("Read this word as a missing value.", CSV, metavar="WORD")
    ] = None

    def reading(self) -> "ReadOptions":
        from batchline.files.options import ReadOptions

        return ReadOptions(
            _file_format(self.input_format),
            self._separator,
            self.decimal,
            self.thousands,
            self.encoding,
            tuple(self.null or ()),
        )

    def writing(self) -> "WriteOptions":
        from batchline.files.options import WriteOptions

        return WriteOptions(_file_format(self.output_format), self._separator)

    @property
    def _separator(self) -> str | None:
        tab = self.delimiter == "\\t"  # most shells leave the two characters as they are
        return "\t" if tab else self.delimiter


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options, in the order of the help."""

    model: Annotated[
        str,
        _option(
            "Predict with this ONNX file, or with this model of the database: NAME or "
            "NAME@VERSION.",
            MODEL,
            "--model",
            metavar="MODEL",
        ),
    ]
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SRC...",
            help="Read these files, folders, patterns or URLs: CSV, JSON Lines or Parquet. "
            "-: standard input.",
        ),
    ] = None
    output: Annotated[
        str | None,
        _option(
            "Write this file, URL or folder. -: standard output.",
            FILES,
            "--output",
            "-o",
            metavar="DST",
        ),
    ] = None
    sql: SqlOptions
    columns: ColumnOptions
    resume: Annotated[
        bool,
        _option("Continue a run of this command that was interrupted.", FILES, "--resume"),
    ] = False
    only_errors: Annotated[
        str | None,
        _option(
            "Predict only the rows that have an error in this earlier output, and merge them.",
            FILES,
            metavar="PREVIOUS",
        ),
    ] = None
    check: Annotated[
        bool, _option("Check the model and all columns, and predict nothing.", FILES, "--check")
    ] = False
    formats: FormatOptions
    model_file: ModelFileOptions
    as_json: Annotated[
        bool,
        _option("Print the summary as JSON, on stdout unless the rows are there.", FILES, "--json"),
    ] = False
    database_url: DatabaseUrl = None
    engine: EngineOptions

    def only_local(self) -> Mapping[str, object]:
        """Return option → its value, of those that Ray does not support."""
        return {
            "--query": self.sql.query,
            "--into": self.sql.into,
            "--only-errors": self.only_errors,
            "--check": self.check,
        }

    def check_sides(self) -> None:
        """Check that there is one input and one output."""
        query, into = self.sql.query, self.sql.into
        if bool(self.sources) == (query is not None):
            raise typer.BadParameter("name one input: files or --query", param_hint="SRC")
        if self.output is not None and into is not None:
            raise typer.BadParameter("name one output: -o or --into", param_hint="--output")
        if self.output is None and into is None and not self.check:
            raise typer.BadParameter(
                "name the output: -o FILE or --into TABLE, or add --check", param_hint="--output"
            )


def _file_format(text: str | None) -> Any:
    from batchline.files.options import Format

    if text is None:
        return None
    try:
        return Format(text)
    except ValueError:
        names = ", ".join(Format)
        raise typer.BadParameter(f"expected one of {names}, got {text}") from None


def _chosen_names(text: str) -> list[str] | None:
    if text == ALL:
        return None
    return [] if text == NONE else _split_names(text)


def _split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]

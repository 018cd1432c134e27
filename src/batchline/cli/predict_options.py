"""The options of `predict` about files and columns, and what their texts mean."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchline.scoring.error_limit import ErrorLimit

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


Keep = Annotated[
    str,
    _option("Keep these columns of the input: all, none, or names.", COLUMNS, metavar="NAMES"),
]
Add = Annotated[
    str,
    _option("Add these columns of the prediction: all, none, or names.", COLUMNS, metavar="NAMES"),
]
Columns = Annotated[
    str | None,
    _option(
        "Read the values of a row from these columns, in the order of the model.",
        COLUMNS,
        metavar="NAMES",
    ),
]
Rename = Annotated[
    list[str] | None, _option("Give an added column another name.", COLUMNS, metavar="OLD=NEW")
]
ErrorColumn = Annotated[
    bool,
    _option("Add the column error. Without it, the first bad row ends the run.", COLUMNS),
]
ModelColumns = Annotated[
    bool, _option("Add the columns model and version.", COLUMNS, "--model-columns")
]
MaxErrors = Annotated[
    str | None,
    _option(
        "Stop without output if more rows have errors: a number, or a share such as 5%.",
        FILES,
        metavar="N|P%",
    ),
]
Resume = Annotated[
    bool,
    _option("Continue a run of this command that was interrupted.", FILES, "--resume"),
]
OnlyErrors = Annotated[
    str | None,
    _option(
        "Predict only the rows that have an error in this earlier output, and merge them.",
        FILES,
        metavar="PREVIOUS",
    ),
]
Check = Annotated[
    bool, _option("Check the model and all columns, and predict nothing.", FILES, "--check")
]
InputFormat = Annotated[
    str | None,
    _option(
        "Read this format: csv, jsonl or parquet. \\[default: by extension]",
        FILES,
        metavar="FORMAT",
    ),
]
OutputFormat = Annotated[
    str | None,
    _option("Write this format. \\[default: by extension]", FILES, metavar="FORMAT"),
]
Delimiter = Annotated[
    str | None,
    _option("Separate cells by this character, such as ; or \\t.", CSV, metavar="CHARACTER"),
]
Decimal = Annotated[str, _option("Read this as the decimal mark.", CSV)]
Thousands = Annotated[str, _option("Skip this mark between groups of digits.", CSV)]
Encoding = Annotated[str, _option("Decode texts from this encoding.", CSV)]
Null = Annotated[
    list[str] | None, _option("Read this word as a missing value.", CSV, metavar="WORD")
]
AsJson = Annotated[
    bool,
    _option("Print the summary as JSON, on stdout unless the rows are there.", FILES, "--json"),
]


def error_limit(text: str | None, *, error_column: bool) -> "ErrorLimit":
    from batchline.scoring.error_limit import ErrorLimit

    if text is None:
        return ErrorLimit() if error_column else ErrorLimit(count=0)
    if not error_column:
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
        f"expected a number of rows, or a share such as 5%, got {text}", param_hint="--max-errors"
    )


def file_format(text: str | None) -> Any:
    from batchline.files.options import Format

    if text is None:
        return None
    try:
        return Format(text)
    except ValueError:
        names = ", ".join(Format)
        raise typer.BadParameter(f"expected one of {names}, got {text}") from None


def delimiter_of(text: str | None) -> str | None:
    return "\t" if text == "\\t" else text  # most shells leave the two characters as they are


def kept_names(text: str) -> list[str] | None:
    if text == ALL:
        return None
    return [] if text == NONE else split_names(text)


def split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def renamed_columns(texts: list[str]) -> dict[str, str]:
    """Return own name → new name of each `OLD=NEW`."""
    renamed: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not new:
            raise typer.BadParameter(f"expected OLD=NEW, got {text}", param_hint="--rename")
        if old in renamed:
            raise typer.BadParameter(f"{old} has two new names", param_hint="--rename")
        renamed[old] = new
    return renamed

"""How files are read and written, as the user states it."""

import codecs
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from batchline.file_errors import FileOptionInvalid, FormatUnknown
from batchline.redaction import urls

STANDARD_STREAM = "-"
"""The path of standard input and of standard output."""

NUMBER_NULLS = ("NA", "N/A", "NULL", "null")
"""A CSV cell with one of these words is a missing number. In a text column it is text."""


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


EXTENSIONS = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}
COMPRESSIONS = {".gz": "gzip", ".bgz": "gzip", ".zst": "zstd"}

MARK = "one ASCII character and no letter, digit, quote or line break"
"""A character that can separate cells or decimals."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read files. All but `format` and `encoding` are for CSV.

    Args:
        format: None: by the extension of each file.
        delimiter: an ASCII character that is no letter, digit, quote or line break. None: a tab for
            .tsv, a comma for all others.
        decimal: the decimal mark of numbers.
        thousands: the mark between groups of three digits, or "" if there is none.
        encoding: the name of a Python codec. Texts become UTF-8.
        nulls: words that, without quotes, mean a missing value in every column.

    Raises:
        FileOptionInvalid: an option has no meaning, or two of them contradict each other.
    """

    format: Format | None = None
    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    encoding: str = "utf-8"
    nulls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_delimiter(self.delimiter)
        if not _is_mark(self.decimal) or self.decimal in "+-":
            raise FileOptionInvalid(f"the decimal mark must be {MARK}, got {self.decimal!r}")
        if len(self.thousands) > 1 or self.thousands in tuple("0123456789+-eE"):
            raise FileOptionInvalid(f"the thousands mark is one character, got {self.thousands!r}")
        if self.decimal == self.thousands:
            raise FileOptionInvalid(f"{self.decimal!r} is both the decimal and the thousands mark")
        try:
            "".encode(self.encoding)  # `codecs.lookup` also knows base64, which is for bytes
        except LookupError as error:
            raise FileOptionInvalid(f"the encoding {self.encoding!r} is unknown") from error

    @property
    def transcodes(self) -> bool:
        """Whether texts must be converted to UTF-8."""
        return codecs.lookup(self.encoding).name not in ("utf-8", "utf-8-sig", "ascii")

    def format_of(self, path: str) -> Format:
        """Return the format of a file.

        Raises:
            FormatUnknown: neither this option nor the extension shows it.
        """
        return self.format or format_of(path, input_name(path), "--input-format")

    def delimiter_of(self, path: str) -> str:
        return self.delimiter or default_delimiter(path)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write a file. All but `format` and `compression` are for CSV.

    Args:
        format: None: by the extension.
        delimiter: as for `ReadOptions`.
        decimal: the decimal mark of new columns.
        newline: the end of each record.
        compression: "gzip", "zstd" or "". None: by the extension. Parquet compresses inside.
    """

    format: Format | None = None
    delimiter: str | None = None
    decimal: str = "."
    newline: str = "\n"
    compression: str | None = None

    def __post_init__(self) -> None:
        check_delimiter(self.delimiter)

    def format_of(self, path: str) -> Format:
        return self.format or format_of(path, output_name(path), "--output-format")

    def delimiter_of(self, path: str) -> str:
        return self.delimiter or default_delimiter(path)

    @property
    def ending(self) -> str:
        """The ending of the names of files in a folder."""
        suffix = {"gzip": ".gz", "zstd": ".zst"}.get(self.compression or "", "")
        return f".{self.format}" + ("" if self.format is Format.PARQUET else suffix)

    def compression_of(self, path: str) -> str:
        by_name = COMPRESSIONS.get(PurePosixPath(path).suffix.lower(), "")
        return by_name if self.compression is None else self.compression


def check_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and not _is_mark(delimiter):
        hint = "for a tab, add --delimiter '\\t', with the quotes" if delimiter == "t" else ""
        raise FileOptionInvalid(f"the delimiter must be {MARK}, got {delimiter!r}", hint=hint)


def _is_mark(text: str) -> bool:
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n'


def is_folder(path: str) -> bool:
    return path.endswith("/") or ("://" not in path and Path(path).is_dir())


def input_name(path: str) -> str:
    return "standard input" if path == STANDARD_STREAM else urls(path)


def output_name(path: str) -> str:
    return "standard output" if path == STANDARD_STREAM else urls(path)


def plain_name(path: str) -> PurePosixPath:
    """Return the name of a file without the extension of its compression."""
    name = PurePosixPath(path.partition("?")[0] if "://" in path else path)
    return name.with_suffix("") if name.suffix.lower() in COMPRESSIONS else name


def format_of(path: str, name: str, option: str) -> Format:
    """Return the format of a file by its extension.

    Args:
        name: the file in errors.
        option: the one to add if the extension does not show it.
    """
    try:
        return EXTENSIONS[plain_name(path).suffix.lower()]
    except KeyError:
        raise FormatUnknown(
            f"the name does not show the format of {name}"
            if path != STANDARD_STREAM
            else f"{name} has no name that shows its format",
            hint=f"add {option} csv, {option} jsonl or {option} parquet",
        ) from None


def default_delimiter(path: str) -> str:
    return "\t" if plain_name(path).suffix.lower() == ".tsv" else ","

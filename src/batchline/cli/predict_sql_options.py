"""The options of `predict` about a query and a table."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from batchline.constants import IfExists

SQL = "SQL"


def _option(text: str, name: str, **more: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel=SQL, **more)


@dataclass(frozen=True)
class SqlOptions:
    """A query as the input, a table as the output, or both."""

    query: Annotated[
        str | None,
        _option(
            "Read the rows of this SELECT, instead of files. @FILE: of the SELECT in this file. "
            "-: of that on standard input.",
            "--query",
            metavar="SQL",
        ),
    ] = None
    into: Annotated[
        str | None,
        _option(
            "Write this table, instead of a file. It is created if needed.",
            "--into",
            metavar="TABLE",
        ),
    ] = None
    key: Annotated[
        str | None,
        _option(
            "Find a row by this column. Its values must be unique. A query is read in its order.",
            "--id",
            metavar="COLUMN",
        ),
    ] = None
    if_exists: Annotated[
        str | None,
        _option(
            "Choose what happens to a table that exists: fail, replace, append or upsert. "
            "\\[default: upsert with --id, else fail]",
            "--if-exists",
            metavar="WORD",
        ),
    ] = None
    only_new: Annotated[
        bool,
        _option("Read only rows without a prediction by this version in the table.", "--only-new"),
    ] = False

    @property
    def is_used(self) -> bool:
        return self.query is not None or self.into is not None

    @property
    def policy(self) -> IfExists:
        """What happens to a table that exists."""
        return IfExists(self.if_exists or ("upsert" if self.key else "fail"))

    def checked(self) -> "SqlOptions":
        """Check the options, and read the query from its file."""
        if self.only_new and (self.query is None or self.into is None or self.key is None):
            raise typer.BadParameter("needs --query, --into and --id", param_hint="--only-new")
        if self.into is None and self.if_exists is not None:
            raise typer.BadParameter("needs --into", param_hint="--if-exists")
        if self.key is not None and not self.is_used:
            raise typer.BadParameter("needs --query or --into", param_hint="--id")
        self._check_policy()
        return replace(self, query=_query_text(self.query))

    def _check_policy(self) -> None:
        try:
            policy = self.policy
        except ValueError:
            raise typer.BadParameter(
                f"expected one of {', '.join(IfExists)}, got {self.if_exists}",
                param_hint="--if-exists",
            ) from None
        if policy is IfExists.UPSERT and self.into is not None and self.key is None:
            raise typer.BadParameter("upsert needs --id", param_hint="--if-exists")
        if self.only_new and policy not in (IfExists.UPSERT, IfExists.APPEND):
            raise typer.BadParameter("needs --if-exists upsert or append", param_hint="--only-new")

    def check_file_options(self, *, resume: bool, only_errors: str | None) -> None:
        """Check that options about files are not given for a query or a table.

        Raises:
            BadParameter: one is, and could only be ignored.
        """
        if not self.is_used or not (resume or only_errors):
            return
        name = "--resume" if resume else "--only-errors"
        if self.into is None:
            again = "run the command again without it, which reads the query from its start"
        elif self.policy is IfExists.UPSERT:
            again = "run the command again without it, which completes the table"
        else:
            again = "add --id COLUMN instead, with which a second run completes the table"
        raise typer.BadParameter(
            f"only a run from files to a file takes it: {again}", param_hint=name
        )


def _query_text(query: str | None) -> str | None:
    if query == "-":
        return sys.stdin.read()
    if query is None or not query.startswith("@"):
        return query
    try:
        return Path(query[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise typer.BadParameter(
            f"{query[1:]} cannot be read: {reason}", param_hint="--query"
        ) from None

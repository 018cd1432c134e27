"""`predict` with a query as its input, a table as its output, or both."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from batchline.cli.output import count
from batchline.cli.predict_output import show_progress, show_summary
from batchline.cli.predict_run import Run
from batchline.cli.predict_signals import NOTHING_WRITTEN, stopped_by_signals
from batchline.cli.predict_sql_options import SqlOptions
from batchline.cli.wiring import connect_to
from batchline.constants import IfExists
from batchline.errors import BatchlineError

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.db.scoring_target import Target, Version
    from batchline.scoring.sql_source import SqlSource


@dataclass(frozen=True)
class SqlRun(Run):
    """A run with SQL on one side at least."""

    settings: "Settings"
    sql: SqlOptions

    def check(self) -> int:
        """Check the columns of both sides, and print what the output would have."""
        with self._opened() as (source, kept, target):
            typer.echo(f"source: {self._source_name(source)}")
            if target is not None:
                typer.echo(f"table: {self.sql.into}, --if-exists {self.sql.policy}")
        kinds = self.kinds
        typer.echo(f"reads: {', '.join(f'{name} ({kind})' for name, kind in kinds.items())}")
        last = ["predicted_at"] if target is not None else []
        typer.echo(f"writes: {', '.join([*kept.names, *self.added.schema.names, *last])}")
        return 0

    def execute(self) -> int:
        """Predict all rows, and return how many have errors."""
        from batchline.scoring.local import LocalEngine

        with (
            self.isolated_scorer() as scorer,
            self._opened() as (source, kept, target),
            stopped_by_signals(partial(self._outcome, target)) as complete,
            self._with_outcome(target),
            self._sink(source, kept, target) as sink,
            show_progress(source, self.ask.settings) as on_progress,
        ):
            summary = LocalEngine(
                source,
                sink,
                scorer,
                threads=self.ask.settings.worker_threads,
                keep=kept.names,
                limit=self.ask.limit,
                on_progress=on_progress,
            ).run()
            complete()
        place = self.ask.output or f"the table {self.sql.into}"
        replaced = target.replaced if target else 0
        noun = "new row" if self.sql.only_new else "row"
        show_summary(summary, place, replaced, as_json=self.ask.as_json, noun=noun)
        return summary.failed

    @contextmanager
    def _with_outcome(self, target: "Target | None") -> Iterator[None]:
        """Let an error say which rows the table has."""
        try:
            yield
        except BatchlineError as error:
            if target is not None and target.stored:
                error.hint = "\n".join(filter(None, [error.hint, self._outcome(target)]))
            raise

    def _outcome(self, target: "Target | None") -> str:
        """Return what the output has after a run that did not get to its end."""
        if target is None or not target.stored:
            return NOTHING_WRITTEN
        stored = f"{count(target.stored, 'row')} of this run are in the table {self.sql.into}"
        if self.sql.policy is IfExists.APPEND and not self.sql.only_new:
            return f"{stored}, and a second run adds them again. Delete them first"
        return f"{stored}. Run the command again to complete it"

    @contextmanager
    def _opened(self) -> "Iterator[tuple[Any, Any, Target | None]]":
        """Open both sides and check their columns."""
        with ExitStack() as stack:
            source = self._open_source(stack)
            kept = source.check(self.kinds, self._kept_names())
            target = None
            if self.sql.into is not None:
                target = self._target(kept)
                stack.callback(target.close)
                target.check()
                if self.sql.only_new:
                    self._leave_out(source, target)
            yield source, kept, target

    def _open_source(self, stack: ExitStack) -> Any:
        if self.sql.query is None:
            from batchline.files import open_source

            return stack.enter_context(open_source(self.ask.sources, self.ask.reading))
        from batchline.db.scoring_source import SourceQuery
        from batchline.scoring.sql_source import SqlSource

        database = self._connect(self.settings.source_url(), "source")
        query = SourceQuery(database, self.sql.query, self.sql.key)
        stack.callback(query.close)
        database.close()
        return SqlSource(query, self.sql.key)

    def _kept_names(self) -> list[str] | None:
        """Return the columns of the input for the output. A table has the id alone, if any."""
        key = self.sql.key
        if self.sql.into is None or key is None:
            return self.ask.keep
        return list(dict.fromkeys([key, *(self.ask.keep or [])]))

    def _target(self, kept: Any) -> "Target":
        from batchline.db.scoring_target import Target
        from batchline.scoring.sql_sink import table_columns

        assert self.sql.into is not None
        database = self._connect(self.settings.target_url(), "target")
        columns = table_columns(kept, self.added.schema)
        return Target(database, self.sql.into, columns, self.sql.key, self.sql.policy)

    def _leave_out(self, source: "SqlSource", target: "Target") -> None:
        """Leave out rows that have a prediction: in the query, if it can see the table."""
        version = self._version()
        if self.settings.source_url() != self.settings.target_url():
            source.predicted = partial(target.predicted, version)
        elif (condition := target.unpredicted(version)) is not None:
            source.only(condition)

    def _version(self) -> "Version":
        from batchline.db.scoring_target import Version
        from batchline.scoring.columns import MODEL, VERSION

        values = {
            self._renamed(MODEL): self.model.name,
            self._renamed(VERSION): self.model.version,
        }
        return Version(values, self._error_column())

    def _error_column(self) -> str | None:
        from batchline.scoring.columns import ERROR

        return self._renamed(ERROR) if ERROR in self.added.extra else None

    def _renamed(self, name: str) -> str:
        return dict(self.added.renamed).get(name, name)

    def _sink(self, source: Any, kept: Any, target: "Target | None") -> Any:
        if target is None:
            from batchline.files import open_sink

            assert self.ask.output is not None
            return open_sink(self.ask.output, kept, self.added.schema, self.ask.writing)
        from batchline.scoring.sql_sink import TableSink

        return TableSink(
            self.sql.into or "",
            target,
            kept,
            self.added.schema,
            key=self.sql.key,
            error=self._error_column(),
        )

    def _connect(self, url: str, side: str) -> "Database":
        own = getattr(self.settings, f"{side}_database_url") is None
        variable = "DATABASE_URL" if own else f"{side.upper()}_DATABASE_URL"
        return connect_to(self.settings, url, variable)

    def _source_name(self, source: Any) -> str:
        if self.sql.query is not None:
            return f"query with {count(len(source.columns), 'column')}"
        return f"{count(len(source.files), 'file')}, {source.format}"

"""`predict` with files as its input and its output."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from batchline.cli.predict_output import show_progress, show_summary
from batchline.cli.predict_run import Run
from batchline.cli.predict_signals import stopped_by_signals
from batchline.cli.predict_streams import why_once
from batchline.files import STANDARD_STREAM, encoder_of, open_source
from batchline.files.columns import SHOWN
from batchline.files.options import Format, WriteOptions, is_folder
from batchline.files.outputs import check_is_no_input, check_place
from batchline.files.sink import Encoder, check_columns
from batchline.files.source import Source
from batchline.scoring.continued import facts_of, open_output
from batchline.scoring.local import LocalEngine
from batchline.scoring.only_errors import (
    check_earlier,
    check_earlier_format,
    check_earlier_keys,
    open_earlier,
    paired,
)
from batchline.scoring.rounding import rounded_integers
from batchline.scoring.scorer import Scorer
from batchline.scoring.supervisor import Attempt
from batchline.scoring.watched import Watch, WatchedPredictor


@dataclass(frozen=True)
class FileRun(Run):
    """A run from files to a file."""

    def check(self) -> int:
        """Check all columns of all files, and print what the output would have."""
        kinds = self.kinds
        with open_source(self.ask.sources, self.ask.reading) as source:
            kept = source.check(kinds, self.ask.keep)
            path = self.ask.output or STANDARD_STREAM
            self._check_output(source)
            format_ = self._write_options(source, path).format_of(path)
            check_columns(path, kept, self.added.schema, format_)
            check_place(path)
            print(f"files: {len(source.files)}, {source.format}")
            list_ignored(source, list(kinds), self.ask.keep)
            for name, before, after in rounded_integers(source, kinds):
                print(f"warning: {name} {before} becomes {after} as {kinds[name]}", file=sys.stderr)
        print(f"reads: {', '.join(f'{name} ({kind})' for name, kind in kinds.items())}")
        print(f"writes: {', '.join([*kept.names, *self.added.schema.names])}")
        print("not checked: the values of the rows, which the run checks")
        return 0

    def execute(self, attempt: Attempt) -> int:
        """Predict all rows, and return how many have errors."""
        ask, output, kinds = self.ask, self.ask.output, self.kinds
        assert output is not None
        new, again = self.added.schema, attempt.number > 0
        with open_source(ask.sources, ask.reading) as source, self._earlier(source) as before:
            kept = source.check(kinds, ask.keep)
            if not again:
                self._check_output(source)
                list_ignored(source, list(kinds), ask.keep)
            options = self._write_options(before or source, output)
            facts = facts_of(self.model, self.added, kept, ask.reading, options)
            if before:
                self._check_earlier(before, source, kept, options)
            with (
                stopped_by_signals() as complete,
                open_output(output, kept, new, options, facts, resume=ask.resume or again) as (
                    sink,
                    journal,
                ),
                show_progress(source, ask.settings) as on_progress,
                self._engine(
                    source,
                    before,
                    sink,
                    partial(encoder_of, output, kept, new, options),
                    attempt,
                    on_progress=on_progress,
                    journal=journal,
                ) as engine,
            ):
                summary = engine.run()
                complete()
        show_summary(summary, output, as_json=ask.as_json)
        return summary.failed

    def _check_output(self, source: Source) -> None:
        if self.ask.output is not None:
            check_is_no_input(self.ask.output, [each.location.path for each in source.files])

    @contextmanager
    def _engine(
        self,
        source: Source,
        before: Source | None,
        sink: Any,
        encoder: Callable[[], Encoder],
        attempt: Attempt,
        **more: Any,
    ) -> Iterator[LocalEngine]:
        """Return the engine that was asked for. See `LocalEngine` for the other arguments."""
        watch = Watch(attempt.board, attempt.case)
        more |= {"watch": watch, "limit": self.ask.limit}
        with self._scorer(watch) as scorer:
            if self.ask.ray:
                from batchline.cli.predict_ray import ray_engine

                which = self.ask.settings, self.model, scorer, encoder(), self.ask.keep
                with ray_engine(self.ask.ray, *which, source, sink, **more) as engine:
                    yield engine
                return
            whole = source, sink, scorer
            yield LocalEngine(
                *(paired(source, before, sink, scorer) if before else whole),
                threads=self.ask.settings.worker_threads,
                keep=self.ask.keep,
                **more,
            )

    def _earlier(self, source: Source) -> AbstractContextManager[Source | None]:
        path = self.ask.only_errors
        if path is None:
            return nullcontext()
        return open_earlier(path, source, self.ask.reading, self._write_options(source, path))

    def _check_earlier(
        self, before: Source, source: Source, kept: Any, options: WriteOptions
    ) -> None:
        if before.format is source.format is Format.JSONL:
            keeps_all = self.ask.keep is None
            check_earlier_keys(before, kept, self.added, self.kinds, keeps_all=keeps_all)
        else:
            check_earlier(before, kept, self.added)
        check_earlier_format(before, options, self.ask.output or STANDARD_STREAM)

    @contextmanager
    def _scorer(self, watch: Watch) -> Iterator[Scorer]:
        """A scorer with which a row that ends its process is found.

        The supervisor starts the run again, unless that is not possible.
        """
        if self.ask.ray is None and why_once(self.ask.sources, self.ask.output or ""):
            with self.isolated_scorer() as scorer:
                yield scorer
            return
        model = self.model
        predictor = WatchedPredictor.of(model.predictor, watch)
        yield Scorer(predictor, self.kinds, self.added, model.name, model.version)

    def _write_options(self, source: Source, path: str) -> WriteOptions:
        """Write as the input is written, as far as the options and the name leave it open."""
        like = source.write_options(path)
        like_input = source.format if path == STANDARD_STREAM or is_folder(path) else None
        return replace(
            like,
            format=self.ask.writing.format or like_input,
            delimiter=self.ask.writing.delimiter or like.delimiter,
        )


def list_ignored(source: Source, used: list[str], keep: list[str] | None) -> None:
    """Say once which columns are neither read nor kept."""
    if keep is None:
        return
    every = dict.fromkeys(name for file in source.files for name in file.columns)
    ignored = [name for name in every if name not in used and name not in keep]
    if ignored:
        more = f" and {len(ignored) - SHOWN} more" if len(ignored) > SHOWN else ""
        names = ", ".join(name or "''" for name in ignored[:SHOWN])
        print(f"ignored columns: {names}{more}", file=sys.stderr)

"""Secrets, values of rows and local folders are left out of messages."""

import asyncio
import gc
import logging
import sys
import traceback
from io import StringIO

import pytest
import structlog

from batchline import logs, redaction
from batchline.errors import BatchlineError
from tests.in_process import process_as_before


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("models/m.onnx", "models/m.onnx"),
        ("/a?b#c@d", "/a?b#c@d"),
        ("s3://bucket/dir@v1/m.onnx", "s3://bucket/dir@v1/m.onnx"),
        ("https://host:8000/dir@v1/m.onnx", "https://host:8000/dir@v1/m.onnx"),
        ("https://me:pw@host/m.onnx", "https://***@host/m.onnx"),
        ("https://TOKEN@host/m.onnx", "https://***@host/m.onnx"),
        ("https://me:p/w@host/m.onnx", "https://***@host/m.onnx"),
        ("https://me:p@w@host/m.onnx", "https://***@host/m.onnx"),
        ("https://host/m.onnx?sig=abc&se=1", "https://host/m.onnx?***"),
        ("https://host/m.onnx#abc", "https://host/m.onnx?***"),
        ("cache::https://me:pw@host/m.onnx", "cache::https://***@host/m.onnx"),
    ],
)
def test_the_url_of_a_model_is_shown_without_its_user_and_its_query(given: str, shown: str) -> None:
    assert redaction.location(given) == shown
    assert redaction.has_secrets(given) == (given != shown)


@pytest.mark.parametrize(
    "said",
    [
        "404, url='https://me:hunter2@host/m.onnx?X-Amz-Signature=abcdef123'",
        "no access for me:hunter2",
        "hunter2 is wrong",
        "bad signature abcdef123",
        "<Code>X-Amz-Signature=abcdef123</Code>",
    ],
)
def test_what_a_library_says_of_a_url_has_none_of_its_secrets(said: str) -> None:
    shown = redaction.without(said, "https://me:hunter2@host/m.onnx?X-Amz-Signature=abcdef123")
    assert "hunter2" not in shown
    assert "abcdef123" not in shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("the model file /srv/prod/m.onnx cannot be read", "the model file m.onnx cannot be read"),
        ("'/srv/prod/m.onnx' is gone", "'m.onnx' is gone"),
        ("s3://bucket/prod/m.onnx: no", "m.onnx: no"),
        ("2 / 3 and 4/5 of it", "2 / 3 and 4/5 of it"),
    ],
)
def test_a_path_is_shown_as_the_name_of_its_file(given: str, shown: str) -> None:
    assert redaction.folders(given) == shown


ROW = "".join(("PLAN", "TED"))
"""It is in no line of code, which a traceback has."""


def fail_with(row: str, number: float) -> None:
    try:
        float(f"x{row}")
    except ValueError as error:
        more = ValueError(f"{number} is '{row}'\n{row}")
        raise ExceptionGroup(f"of '{row}'", [KeyError(row), more]) from error


def planted() -> Exception:
    try:
        fail_with(ROW, 41.25)
    except ExceptionGroup as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_in_the_log_has_the_code_and_no_values(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with process_as_before():
        logs.configure("DEBUG", format)
        structlog.get_logger("ours").error("failed", exc_info=planted())
        logging.getLogger("theirs").error("failed", exc_info=planted())
        error = planted()
        sys.excepthook(type(error), error, error.__traceback__)
    found = written.getvalue()
    assert found.count("in fail_with") >= 3
    assert found.count("ValueError: * is *") == 3
    assert found.count("KeyError: *") == 3
    assert "41.2" not in found.replace("fail_with(ROW, 41.25)", "")
    assert ROW not in found


@pytest.mark.parametrize("format", ["console", "json"])
def test_foreign_text_begins_no_line_of_its_own_and_moves_no_cursor(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    forged = "/v2/models/a\n2026-01-01 [info] all is well\r\x1b[2K\u2028"
    with process_as_before():
        logs.configure("DEBUG", format, "api")
        structlog.get_logger("ours").error("failed", path=forged)
        logging.getLogger("theirs").error("failed: %s", forged)
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and "api" in line for line in lines)


async def leave_a_failed_task() -> None:
    async def fail() -> None:
        raise planted()

    task = asyncio.create_task(fail(), name="lost")
    await asyncio.sleep(0)
    del task
    gc.collect()


def test_an_error_of_a_task_that_nobody_awaits_is_logged_without_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with process_as_before():
        logs.configure("DEBUG", "json")
        asyncio.run(leave_a_failed_task())
    assert "Task exception was never retrieved" in written.getvalue()
    assert ROW not in written.getvalue()


def test_a_traceback_has_the_causes_and_batchlines_own_words() -> None:
    try:
        try:
            {}[ROW]
        except KeyError as error:
            raise BatchlineError("item 3 failed") from error
    except BatchlineError as error:
        text = redaction.traceback_text(error)
        full = "".join(traceback.format_exception(error))
    assert "BatchlineError: item 3 failed" in text
    assert "KeyError: *\nwhich led to:" in text
    assert ROW in full

"""What a command line shows of itself."""

import shlex
from typing import Any

import pytest

from batchline.redaction import urls
from scripts.commands_page import commands


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_the_terminal_and_not_the_source_wraps_a_help_text(name: str, command: Any) -> None:
    for paragraph in command.help.split("\n\n"):
        assert "\n" not in paragraph


@pytest.mark.parametrize(("name", "command"), [each for each in commands() if each[1].epilog])
def test_an_example_of_a_help_text_can_be_read_as_that_command(name: str, command: Any) -> None:
    _, *examples = command.epilog.split("\n\n")
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[: len(name.split())] == name.split()
        command.make_context(name, words[len(name.split()) :])


def test_the_help_of_predict_begins_with_its_required_option() -> None:
    [predict] = [command for name, command in commands() if name == "batchline predict"]
    panels = [getattr(each, "rich_help_panel", None) for each in predict.params]
    named = list(dict.fromkeys(filter(None, panels)))
    assert named[:2] == ["Model", "Files"]
    assert {each.name for each in predict.params if not getattr(each, "rich_help_panel", None)} == {
        "sources",
        "database_url",
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("mysql+pymysql://me:p@ss:w0rd@db:3306/rows", "mysql+pymysql://me:***@db:3306/rows"),
        ("postgresql://me:p/w?x@db/rows", "postgresql://me:***@db/rows"),
        ("--database-url=postgresql://me:pw@db/rows", "--database-url=postgresql://me:***@db/rows"),
        ("postgresql://db/rows?user=me&password=pw", "postgresql://db/rows?***"),
        ("https://host/in.csv?X-Amz-Signature=abc", "https://host/in.csv?***"),
        ("https://host/in/2026-??.csv", "https://host/in/2026-??.csv"),
        ("sqlite:///rows.db", "sqlite:///rows.db"),
        ("s3://bucket/a:b@c.csv", "s3://bucket/a:b@c.csv"),
        ("--columns", "--columns"),
    ],
)
def test_no_secret_of_a_url_is_repeated(given: str, shown: str) -> None:
    assert urls(given) == shown

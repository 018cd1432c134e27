"""The reference page of the commands, from their options and help texts."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from batchline import cli

EXIT_CODES = (
    "| 0 | done. `status`: predictions come in time. A stopped `up`, `api` or `job` that has "
    "finished what it had begun |",
    "| 1 | an error, with a sentence and a hint. `status`: predictions are late or failing |",
    "| 2 | wrong usage. `status`: the database does not respond, or a setting is wrong |",
    "| 3 | `predict`: rows have errors. `verify`: predictions differ |",
    "| 128 + signal | a signal stopped the command before its work was done, or a second signal "
    "stopped it at once. 130 is Ctrl-C, 143 is SIGTERM |",
)


def text(note: str) -> str:
    parts = [
        "# Commands",
        note,
        "`batchline COMMAND --help` describes a command. If an option names an environment "
        "variable, you can set that variable instead. The option overrides the variable.",
        "\n".join(["| exit code | |", "| ---: | --- |", *EXIT_CODES]),
    ]
    for name, command in commands():
        parts += [f"## `{name}`", described(command)]
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Return every command with its whole name."""
    waiting: list[tuple[str, Any]] = [("batchline", get_command(cli.app))]
    while waiting:
        name, command = waiting.pop(0)
        inner = getattr(command, "commands", {})
        waiting = [(f"{name} {each}", inner[each]) for each in inner] + waiting
        if not inner:
            yield name, command


def described(command: Any) -> str:
    about = inspect.cleandoc(command.help or "")
    rows = [row for parameter in command.params if (row := option_row(parameter))]
    table = ["| option | |", "| --- | --- |", *rows]
    parts = [about, *shown_examples(command.epilog or ""), "\n".join(table) if rows else ""]
    return "\n\n".join(filter(None, parts))


def shown_examples(epilog: str) -> list[str]:
    """Return the examples of a command as a block to copy."""
    lines = epilog.split("\n\n")[1:]
    return ["\n".join(["```sh", *lines, "```"])] if lines else []


def option_row(parameter: Any) -> str:
    if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
        return ""
    names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    if not parameter.opts[0].startswith("-"):
        names = parameter.metavar or parameter.name.upper()
    words = [parameter.help or "", *facts(parameter)]
    return f"| `{names}` | {cell(' '.join(filter(None, words)))} |"


def facts(parameter: Any) -> Iterator[str]:
    """Say which values a parameter allows, whether it is required, and its default."""
    if re.fullmatch(r"[a-z]+(\|[a-z]+)+", parameter.metavar or ""):
        yield f"One of {', '.join(f'`{each}`' for each in parameter.metavar.split('|'))}."
    if getattr(parameter, "min", None) is not None:
        yield (
            f"At least {parameter.min:,}."
            if parameter.max is None
            else (f"From {parameter.min:,} to {parameter.max:,}.")
        )
    if parameter.required:
        yield "Required."
    default = getattr(parameter.default, "value", parameter.default)
    if default is None or default == "" or getattr(parameter, "is_flag", False):
        return
    yield f"Default: `{default:g}`." if isinstance(default, float) else f"Default: `{default}`."


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()

"""The documentation names what there is: every setting, command, endpoint, table and error code."""

import json
import re
from pathlib import Path

import pytest
from jsonpointer import resolve_pointer
from typer.main import get_command

from batchline import cli, errors
from batchline.api.app import create_app
from batchline.configurations import SECRETS, Settings
from batchline.db.models import metadata
from benchmarks import picture
from tests.faults import report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HTTP = (ROOT / "docs" / "http.md").read_text()
DATABASE = (ROOT / "docs" / "database.md").read_text()
CODE = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_row_in_the_readme(name: str) -> None:
    assert f"| `{name.upper()}` |" in README


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_may_come_from_a_file(name: str) -> None:
    assert f"`{name.upper()}_FILE`" in README


def test_the_readme_states_the_defaults() -> None:
    for name, field in Settings.model_fields.items():
        if name == "worker_threads":  # it depends on the machine
            assert re.search(r"\| `WORKER_THREADS` \| 2 to 4, by cores \|", README)
        elif isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert re.search(rf"\| `{name.upper()}` \| {field.default:g} \|", README), name


def command_names() -> list[str]:
    names = []
    for name, command in get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        names += [f"{name} {sub}" for sub in inner] if inner else [name]
    return names


@pytest.mark.parametrize("name", command_names())
def test_every_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"`batchline {name}( --all| [A-Z ]+)?`", README)


def test_every_option_has_a_help_text() -> None:
    waiting = [get_command(cli.app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        assert command.help
        assert all(getattr(option, "help", True) for option in command.params), command.name


def test_every_endpoint_is_in_the_readme() -> None:
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in README


def references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for value in part.values() for ref in references(value)]
    return [ref for value in part for ref in references(value)] if isinstance(part, list) else []


def test_every_reference_of_the_openapi_document_leads_somewhere() -> None:
    document = create_app(Settings()).openapi()
    found = references(document)
    assert found
    for reference in found:
        assert resolve_pointer(document, reference.removeprefix("#"))


def error_classes() -> list[type[errors.BatchlineError]]:
    found: list[type[errors.BatchlineError]] = []
    waiting = [errors.BatchlineError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_code_of_http_is_documented(error: type[errors.BatchlineError]) -> None:
    never_over_http = {"configuration", "claim_lost", "unavailable"}
    assert error.code in never_over_http or f"`{error.code}`" in HTTP


def test_every_kind_of_fault_is_documented() -> None:
    found = set()
    for text in CODE.values():
        found |= set(re.findall(r'Fault\([^\n]*?, "([a-z_]+)"', text))
        found |= set(re.findall(r'Failure\("([a-z_]+)"', text))
    assert len(found) > 10
    assert {code for code in found if f"`{code}`" not in HTTP} == set()


@pytest.mark.parametrize("table", metadata.tables)
def test_every_table_is_documented(table: str) -> None:
    assert f"`{table}`" in DATABASE


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+)\b", README)) - {"and"}
    assert {"demo", "run", "test", "lint", "bench", "help"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_figures_on_reliability_are_those_that_were_counted() -> None:
    page, results = report.PAGE.read_text(), json.loads(report.RESULTS.read_text())
    assert report.with_figures(page, results) == page


def test_the_picture_shows_the_figures_of_the_last_benchmark() -> None:
    assert picture.FILE.read_text() == picture.draw(picture.read_rates())

"""The documentation names what there is, and the generated pages are those of the code."""

import inspect
import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from jsonpointer import resolve_pointer
from pydantic import BaseModel
from typer.main import get_command

from batchline import cli, errors
from batchline.api.app import create_app
from batchline.api.schemas import Line, PredictRequest
from batchline.configurations import Settings
from batchline.db.models import metadata
from batchline.ml.forms import Form, read
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature
from batchline.ml.table import tensors
from benchmarks import picture
from scripts import examples, model_kinds, reference_pages
from tests.faults import report

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
HTTP = (DOCS / "reference" / "http.md").read_text()
ERRORS = (DOCS / "reference" / "errors.md").read_text()
DATABASE = (DOCS / "reference" / "database.md").read_text()
PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md")})
CODE = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}


# What comes from the code ------------------------------------------------------------------------


@pytest.mark.parametrize("page", reference_pages.pages(), ids=lambda page: page.name)
def test_a_generated_page_is_what_the_code_says_today(page: Path) -> None:
    assert page.read_text() == reference_pages.pages()[page], "run `make docs`"


def test_the_table_of_model_kinds_is_what_models_add_says_today() -> None:
    assert model_kinds.PAGE.read_text() == model_kinds.page(), "run `make docs`"


@pytest.mark.parametrize("name", examples.PAGES)
def test_the_examples_of_a_page_print_what_it_shows(name: str) -> None:
    found = list(examples.played((ROOT / name).read_text()))
    assert found
    for step, printed in found:
        assert examples.agree(step.shown, printed), f"$ {step.command}{printed}"


def test_every_setting_and_option_is_described() -> None:
    assert [n for n, field in Settings.model_fields.items() if not field.description] == []
    for _, command in commands():
        assert command.help
        assert all(getattr(option, "help", True) for option in command.params), command.name


def test_the_page_of_the_commands_has_defaults_allowed_values_and_what_is_required() -> None:
    page = (DOCS / "reference" / "cli.md").read_text()
    for words in (
        "| `--status` | Predict items with this status. One of `succeeded`, `failed`. Default: `s",
        "| `--limit` | Show this number of entries. From 1 to 1,000,000. Default: `100`. |",
        "One of `read`, `write`, `admin`. Required. |",
    ):
        assert words in page


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, such as `models` and `add`."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), get_command(cli.app))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        nested = getattr(command, "commands", {})
        waiting += [((*words, name), each) for name, each in nested.items()]


def test_every_option_that_a_message_names_exists() -> None:
    existing = {"--help"}
    for _, command in commands():
        for option in command.params:
            existing |= {*option.opts, *option.secondary_opts}
    named = {name for text in CODE.values() for name in re.findall(r"--[a-z][a-z-]+", text)}
    assert len(named) > 20
    assert named - existing == set()


def test_a_command_in_a_hint_gives_each_option_its_value() -> None:
    found = {hint for text in CODE.values() for hint in re.findall(r"`(batchline [^`]*)`", text)}
    for words, command in commands():
        values = {
            name
            for each in command.params
            if not getattr(each, "is_flag", False)
            for name in each.opts
        }
        start = ["batchline", *words]
        for typed in [hint.split() for hint in found if hint.split()[: len(start)] == start]:
            for word, value in zip_longest(typed, typed[1:], fillvalue="--"):
                assert word not in values or not value.startswith("--"), typed


def test_the_figures_on_reliability_are_those_that_were_counted() -> None:
    page, results = report.PAGE.read_text(), json.loads(report.RESULTS.read_text())
    assert report.with_figures(page, results) == page


def test_the_picture_shows_the_figures_of_the_last_benchmark() -> None:
    assert picture.FILE.read_text() == picture.draw(picture.read_figures())


# What is written by hand -------------------------------------------------------------------------


def test_every_endpoint_is_in_the_http_reference() -> None:
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in HTTP


def test_all_forms_of_rows_in_the_http_reference_are_the_same_rows() -> None:
    signature = Signature((Input("x", "float32", (2,)),), features=("age", "income"))
    section = HTTP.partition("### Rows")[2].partition("\n### ")[0]
    two_rows, one_row = section.split("And these are one row")
    for part, rows in ((two_rows, [[47, 1200.5], [31, 800]]), (one_row, [[47, 1200.5]])):
        forms = re.findall(r"^\| [a-z ]+ \| `([\[{].*)` \|$", part, re.MULTILINE)
        assert len(forms) >= len(Form) // 2
        for form in forms:
            found = read([json.loads(form)], signature)
            assert found is not None, form
            assert tensors(found[0], signature)[0].tensors["x"].tolist() == rows


def error_classes() -> list[type[errors.BatchlineError]]:
    found: list[type[errors.BatchlineError]] = []
    waiting = [errors.BatchlineError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_code_is_in_the_reference(error: type[errors.BatchlineError]) -> None:
    never_shown = {"configuration", "claim_lost", "unavailable", "conflict", "file_error"}
    assert error.code in never_shown or f"`{error.code}`" in ERRORS
    assert inspect.getdoc(error)


def test_every_kind_of_validation_error_and_failure_is_in_the_reference() -> None:
    found = set()
    for text in CODE.values():
        found |= set(re.findall(r'Fault\([^\n]*?, "([a-z_]+)"', text))
        found |= set(re.findall(r'Failure\(\s*"([a-z_]+)"', text))
    assert len(found) > 10
    assert {code for code in found if f"`{code}`" not in ERRORS} == set()


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.name)
def test_every_table_is_in_the_reference_and_so_are_the_columns_for_everybody(table) -> None:
    everybody, _, batchlines = DATABASE.partition("## Tables for Batchline")
    if f"`{table.name}`" in batchlines:
        return
    _, _, section = everybody.partition(f"**`{table.name}`**")
    section = section.partition("\n**`")[0]
    assert [column.name for column in table.columns if f"`{column.name}`" not in section] == []


def test_the_readme_is_short_and_says_early_when_not_to_use_it() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert len(prose.split()) < 850
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    assert headings[:2] == ["Batchline", "When to use it"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / page).read_text()))
    assert {"test", "lint", "docs", "help"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)]*))?\)", page.read_text()):
        if target.startswith("https://"):
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_message_of_the_troubleshooting_page_is_in_the_code() -> None:
    page = (DOCS / "howto" / "troubleshooting.md").read_text()
    code = re.sub(r'"\s+f?"', "", "".join(CODE.values()))  # strings that continue on the next line
    messages = re.findall(r"\*\*[^*`\n]*`([^`]+)`", page)
    assert len(messages) > 15
    for message in messages:
        for part in re.split(r"…|[0-9]", message):
            assert part.strip() in code, message


def test_every_guide_that_calls_batchline_says_how_to_put_it_on_the_path() -> None:
    guides = [page.read_text() for page in (DOCS / "howto").glob("*.md")]
    callers = [page for page in guides if re.search(r"^(\$ )?batchline ", page, re.MULTILINE)]
    assert len(callers) > 5
    assert all("../index.md#before-you-follow-a-guide" in page for page in callers)


def test_nothing_says_to_install_batchline_from_the_package_index_where_it_is_not() -> None:
    guides = [page.read_text() for page in PAGES]
    for text in [*guides, *CODE.values()]:
        assert re.findall(r"pip install (?:--?\w+ )*['\"]?batchline\b", text) == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md") if page.name != "index.md"]
    assert [str(page) for page in pages if f"({page})" not in index] == []


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


@pytest.mark.parametrize("schema", [PredictRequest, Line])
def test_openapi_says_that_other_names_are_rejected_by_default(schema: type[BaseModel]) -> None:
    extra = schema.model_json_schema()["properties"]["extra"]
    assert "default" not in extra
    assert "rejected" in extra["description"]


def test_the_licence_is_in_the_package() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "src" / "batchline" / "py.typed").exists()

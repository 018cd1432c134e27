"""`batchline keys` and `batchline audit`, and which changes the audit log has."""

import getpass
import json
import os
import socket
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from batchline import api_keys
from batchline.constants import IRIS_MODEL
from scripts import commands_page
from tests import models
from tests.conftest import Servers, Templates
from tests.in_process import run_here

Batchline = Callable[..., CompletedProcess[str]]


@pytest.fixture
def url(servers: Servers, templates: Templates, tmp_path: Path) -> str:
    """A migrated database on SQLite."""
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    templates("sqlite").copy_to(url, None)
    return url


@pytest.fixture
def batchline(url: str) -> Batchline:
    def run(*words: object, **settings: str) -> CompletedProcess[str]:
        return run_here(*words, **{"DATABASE_URL": url, **settings})

    return run


def listed(batchline: Batchline) -> list[dict[str, Any]]:
    return list(json.loads(batchline("keys", "list", "--json").stdout)["keys"])


def audited(batchline: Batchline) -> list[dict[str, Any]]:
    """The entries of the audit log, the oldest first."""
    return list(json.loads(batchline("audit", "--json").stdout)["entries"])[::-1]


def error_of(done: CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# Keys


def test_a_new_key_is_all_that_is_printed_to_stdout_and_only_its_hash_is_stored(
    batchline: Batchline, url: str
) -> None:
    limits = ("--rate", "2.5", "--items-per-day", "1000")
    done = batchline("keys", "create", "shop", "--role", "write", *limits)
    assert done.returncode == 0
    key = done.stdout.removesuffix("\n")
    assert api_keys.is_key(key)
    assert key not in done.stderr
    [stored] = listed(batchline)
    assert (stored["name"], stored["role"]) == ("shop", "write")
    assert (stored["rate"], stored["items_per_day"]) == (2.5, 1000)
    assert (stored["last_used_at"], stored["revoked_at"]) == (None, None)
    with sqlite3.connect(file_of(url)) as connection:
        found = connection.execute("SELECT sha256 FROM api_keys").fetchall()
    assert found == [(api_keys.digest(key),)]
    assert key.encode() not in file_of(url).read_bytes()


def test_keys_are_listed_with_their_limits_and_when_they_were_revoked(batchline: Batchline) -> None:
    assert batchline("keys", "list").stdout == "no API keys\n"
    batchline("keys", "create", "shop", "--role", "read", "--rate", "5", "--items-per-day", "2000")
    assert batchline("keys", "revoke", "shop").stdout == "API key shop is revoked\n"
    assert batchline("keys", "revoke", "shop").stdout == "API key shop was revoked before\n"
    assert listed(batchline)[0]["revoked_at"] is not None
    table = " ".join(batchline("keys", "list").stdout.split())
    for words in ("shop ", " read ", " 5 ", " 0 of 2,000 ", " never "):
        assert words in table


def test_a_list_of_keys_is_whole_on_a_narrow_terminal_and_counts_the_items_of_today(
    batchline: Batchline, url: str
) -> None:
    batchline("keys", "create", "partner", "--role", "write", "--items-per-day", "2000")
    batchline("keys", "create", "shop", "--role", "read")
    with sqlite3.connect(file_of(url)) as connection:
        for number, column in enumerate(("created_at", "last_used_at", "revoked_at"), start=10):
            value = f"2026-{number}-27 03:12:45"
            connection.execute(f"UPDATE api_keys SET {column} = '{value}' WHERE id = 1")
        connection.execute(f"INSERT INTO key_usage VALUES (1, '{datetime.now(UTC).date()}', 1204)")
        connection.execute("INSERT INTO key_usage VALUES (1, '2026-01-01', 7)")
    shown = batchline("keys", "list", COLUMNS="80").stdout
    assert "…" not in shown
    for words in ("2026-10-27", "2026-11-27", "2026-12-27", "03:12", "1,204 of", "2,000", "never"):
        assert words in shown
    assert [each["items_today"] for each in listed(batchline)] == [1204, None]


def test_a_name_is_taken_also_by_a_revoked_key(batchline: Batchline) -> None:
    batchline("keys", "create", "shop", "--role", "read")
    assert "'shop'" in error_of(batchline("keys", "create", "shop", "--role", "read"))
    batchline("keys", "revoke", "shop")
    told = error_of(batchline("keys", "create", "shop", "--role", "read"))
    assert "hint: use another name" in told


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("", "0 characters"),
        ("x" * 65, "65 characters"),
        ("a b", "' ' in 'a b'"),
        ("shop\n", "'\\n' in 'shop\\n'"),
        ("sh\x1b[31mop", "'\\x1b' in"),
    ],
)
def test_a_name_is_short_and_one_word(batchline: Batchline, name: str, got: str) -> None:
    told = error_of(batchline("keys", "create", name, "--role", "read"))
    assert f"1 to 64 letters, digits, dots, underscores or dashes, got {got}" in told
    assert "\x1b" not in told


def test_a_key_that_is_given_as_a_name_is_not_repeated(batchline: Batchline) -> None:
    key = api_keys.generate()
    for words in (("create", key, "--role", "read"), ("revoke", key)):
        told = error_of(batchline("keys", *words))
        assert key not in told
        assert "hint: give the name of the key, not the key" in told


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e9", "fast"])
def test_a_rate_is_a_positive_number(batchline: Batchline, rate: str) -> None:
    done = batchline("keys", "create", "shop", "--role", "read", "--rate", rate)
    assert done.returncode == 2
    assert "above 0, up to 1,000,000" in " ".join(done.stderr.replace("│", " ").split())


def test_an_unknown_role_is_an_error_that_names_the_roles(batchline: Batchline) -> None:
    done = batchline("keys", "create", "shop", "--role", "writer", COLUMNS="120")
    assert done.returncode == 2
    assert "'--role': expected one of read, write, admin, got writer" in done.stderr


def test_a_key_whose_name_has_a_space_can_be_revoked(batchline: Batchline, url: str) -> None:
    batchline("keys", "create", "shop", "--role", "read")
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("UPDATE api_keys SET name = 'the shop'")
    assert batchline("keys", "revoke", "the shop").stdout == "API key the shop is revoked\n"


def test_an_unknown_key_cannot_be_revoked(batchline: Batchline) -> None:
    told = error_of(batchline("keys", "revoke", "nobody"))
    assert "'nobody'" in told
    assert "hint: run `batchline keys list`" in told


def test_keys_need_a_migrated_database_and_create_none(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    done = run_here("keys", "create", "a", "--role", "read", DATABASE_URL=f"sqlite:///{missing}")
    assert "batchline db upgrade" in error_of(done)
    assert not missing.exists()


# Key files


def test_a_key_file_is_written_once_for_its_owner_alone_and_can_be_used_again(
    batchline: Batchline, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    words = ("keys", "create", "shop", "--role", "write", "--key-file", file)
    first = batchline(*words)
    assert (first.returncode, first.stdout) == (0, "")
    key = file.read_text().strip()
    assert api_keys.is_key(key)
    assert file.stat().st_mode & 0o777 == 0o600
    second = batchline(*words)
    assert (second.returncode, second.stdout) == (0, "")
    assert "API key shop is stored already" in second.stderr
    assert file.read_text().strip() == key
    assert len(listed(batchline)) == 1
    assert len([each for each in audited(batchline) if each["action"] == "keys.create"]) == 1
    assert key not in first.stderr + second.stderr


def test_a_key_that_a_user_brings_is_stored_with_a_warning_if_everybody_can_read_it(
    batchline: Batchline, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{api_keys.PREFIX}{'aB3-_' * 8}")
    file.chmod(0o644)
    done = batchline("keys", "create", "shop", "--role", "write", "--key-file", file)
    assert done.returncode == 0
    assert f"hint: run `chmod o-r {file}`" in done.stderr
    assert listed(batchline)[0]["name"] == "shop"


@pytest.mark.parametrize("content", ["", "hunter2", "bl_short", f"xx_{'a' * 64}", "bl_" + "é" * 40])
def test_a_file_without_a_key_is_rejected_and_not_repeated(
    batchline: Batchline, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    told = error_of(batchline("keys", "create", "shop", "--role", "write", "--key-file", file))
    assert "contains no API key" in told
    assert content not in told or not content
    assert listed(batchline) == []


def test_what_contradicts_a_stored_key_is_an_error(batchline: Batchline, tmp_path: Path) -> None:
    file, other = tmp_path / "key", tmp_path / "other"
    create = ("keys", "create", "shop", "--role", "write", "--key-file")
    batchline(*create, file)
    assert "another API key has the name 'shop'" in error_of(batchline(*create, other))
    assert not other.exists()
    other.write_text(api_keys.generate())
    assert "another API key has the name 'shop'" in error_of(batchline(*create, other))
    again = batchline("keys", "create", "office", "--role", "write", "--key-file", file)
    assert "this API key has the name 'shop' already" in error_of(again)
    admin = batchline("keys", "create", "shop", "--role", "admin", "--key-file", file)
    assert "with another role or other limits" in error_of(admin)
    batchline("keys", "revoke", "shop")
    assert "the API key 'shop' was revoked" in error_of(batchline(*create, file))


def test_a_key_file_that_cannot_be_written_or_read_is_an_error(
    batchline: Batchline, tmp_path: Path
) -> None:
    create = ("keys", "create", "shop", "--role", "write", "--key-file")
    assert "cannot be written: No such file" in error_of(batchline(*create, tmp_path / "no" / "k"))
    assert "is a folder" in error_of(batchline(*create, tmp_path))
    assert "cannot be read: File name too long" in error_of(batchline(*create, "k" * 300))
    assert listed(batchline) == []


# Audit


RECORDED = {
    *("models add", "models activate", "models remove", "models prune", "backfill", "retry"),
    *("keys create", "keys revoke", "db upgrade", "up", "job"),
}
CHANGE_NOTHING = {
    *("models check", "models list", "models show", "models diff", "keys list", "audit"),
    *("failures", "status", "verify", "check", "api", "demo", "predict"),
}


def test_each_command_is_known_to_be_recorded_or_to_change_nothing_that_is() -> None:
    found = {name.removeprefix("batchline ") for name, _ in commands_page.commands()}
    assert found == RECORDED | CHANGE_NOTHING


def test_the_audit_log_has_every_change_of_models_and_keys_with_who_did_it(
    batchline: Batchline, url: str, tmp_path: Path
) -> None:
    first, second = models.doubling(tmp_path / "1.onnx"), models.negated(tmp_path / "2.onnx")
    commands = [
        ("models", "add", "m", first),
        ("models", "add", "m", second, "--no-activate"),
        ("models", "activate", "m", 2),
        ("models", "remove", "m", 1),
        ("models", "add", "m", models.square_root(tmp_path / "3.onnx")),
        ("models", "prune", "m", "--keep", 1),
        ("keys", "create", "shop", "--role", "admin"),
        ("keys", "revoke", "shop"),
    ]
    for words in commands:
        done = batchline(*words)
        assert done.returncode == 0, done.stderr
    found = [(each["action"], each["subject"], each["detail"]) for each in audited(batchline)]
    for _, _, detail in found:
        (detail or {}).pop("sha256", None)
    assert found == [
        ("models.add", "m", {"version": 1}),
        ("models.activate", "m", {"version": 1}),
        ("models.add", "m", {"version": 2}),
        ("models.activate", "m", {"version": 2}),
        ("models.remove", "m", {"version": 1}),
        ("models.add", "m", {"version": 3}),
        ("models.activate", "m", {"version": 3}),
        ("models.remove", "m", {"version": 2}),
        ("keys.create", "shop", {"role": "admin"}),
        ("keys.revoke", "shop", None),
    ]
    assert {each["actor"] for each in audited(batchline)} == {
        f"cli:{getpass.getuser()}@{socket.gethostname()}"
    }
    line = batchline("audit", "--limit", 1).stdout
    assert line.endswith(f"  cli:{getpass.getuser()}@{socket.gethostname()}  keys.revoke  shop\n")


def test_the_audit_log_has_what_changes_many_items_and_the_default_model(
    batchline: Batchline, url: str, tmp_path: Path
) -> None:
    assert batchline("audit").stdout == "no entries\n"
    batchline("job", "--once", MODEL_FILEPATH=str(models.doubling(tmp_path / "1.onnx")))
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("INSERT INTO items (data) VALUES ('[[1, 2]]'), ('[[1]]'), ('[[2]]')")
    batchline("job", "--once", MODEL_FILEPATH=str(models.doubling(tmp_path / "1.onnx")))
    assert "2 items pending again" in batchline("retry", "--all").stdout
    batchline("models", "add", "default", models.negated(tmp_path / "2.onnx"), "--no-activate")
    batchline("backfill", "default", "--version", 2, "--since", "2026-01-01")
    entries = audited(batchline)
    found = [(each["action"], each["subject"], each["detail"].get("items")) for each in entries]
    assert found == [
        ("models.add", "default", None),
        ("models.activate", "default", None),
        ("items.retry", None, 2),
        ("models.add", "default", None),
        ("backfills.start", "default", None),
    ]
    since = "2026-01-01T00:00:00+00:00"
    assert entries[-1]["detail"] == {"version": 2, "status": "succeeded", "since": since}


def test_a_retry_of_many_transactions_is_one_entry_with_the_sum(
    batchline: Batchline, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.db.retries.RETRY_ITEMS", 2)
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("INSERT INTO items (data) VALUES ('1'), ('2'), ('3'), ('4'), ('5')")
    batchline("job", "--once", MODEL_FILEPATH=str(IRIS_MODEL))
    done = batchline("retry", "--code", "invalid_data")
    assert "5 items pending again" in done.stdout, done.stderr
    retries = [each for each in audited(batchline) if each["action"] == "items.retry"]
    assert [each["detail"] for each in retries] == [{"code": "invalid_data", "items": 5}]
    assert batchline("retry", "--code", "invalid_data").returncode == 1  # nothing to retry
    assert [each for each in audited(batchline) if each["action"] == "items.retry"] == retries


def test_the_user_is_that_of_the_process_and_not_of_the_environment(batchline: Batchline) -> None:
    batchline("keys", "create", "shop", "--role", "read", USER="root2", LOGNAME="root2")
    assert "root2" not in audited(batchline)[-1]["actor"]


def test_a_user_without_a_name_is_a_number(
    batchline: Batchline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    monkeypatch.setattr(socket, "gethostname", lambda: "pod\x1b[2J-1")
    batchline("keys", "create", "shop", "--role", "read")
    assert audited(batchline)[-1]["actor"] == "cli:10001@pod?[2J-1"


def test_control_characters_that_an_sql_client_wrote_do_not_reach_the_terminal(
    batchline: Batchline, url: str
) -> None:
    with sqlite3.connect(file_of(url)) as connection:
        values = ("sh\x1b[2Jop", "read", "0" * 64)
        connection.execute("INSERT INTO api_keys (name, role, sha256) VALUES (?, ?, ?)", values)
        entry = ("me\x1b[2J", "\x07", "x" * 10, "not json")
        insert = "INSERT INTO audit_entries (actor, action, subject, detail) VALUES (?, ?, ?, ?)"
        connection.execute(insert, entry)
    assert "\x1b" not in batchline("keys", "list").stdout
    assert "\x1b" not in batchline("audit").stdout
    assert audited(batchline)[-1]["detail"] == "not json"


def test_what_an_sql_client_wrote_can_be_listed_and_revoked(batchline: Batchline, url: str) -> None:
    with sqlite3.connect(file_of(url)) as connection:
        insert = "INSERT INTO api_keys (name, role, sha256, rate, items_per_day) VALUES "
        connection.execute(f"{insert} (x'ff', 'read', '1', 'fast', 'many')")
        connection.execute(f"{insert} ('two words', 'admin', '2', NULL, -5)")
        connection.execute("INSERT INTO audit_entries (actor, action) VALUES (x'ff', 'none')")
    assert batchline("keys", "list").returncode == batchline("audit").returncode == 0
    assert [key["name"] for key in listed(batchline)] == ["b'\\xff'", "two words"]
    assert audited(batchline)[-1]["actor"] == "b'\\xff'"
    assert batchline("keys", "revoke", "two words").stdout == "API key two words is revoked\n"
    assert listed(batchline)[1]["revoked_at"]


def test_a_change_that_cannot_be_audited_is_not_made(batchline: Batchline, url: str) -> None:
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit_entries "
            "BEGIN SELECT RAISE(ABORT, 'no audit'); END"
        )
    assert batchline("keys", "create", "shop", "--role", "read").returncode == 1
    assert listed(batchline) == []

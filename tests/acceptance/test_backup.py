"""The commands of the guide back a database up and restore it."""

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

import devservers
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from devservers.clients import folder_of_clients
from tests.conftest import Servers
from tests.in_process import run_here
from tests.migrated import name_of
from tests.service import IRIS, migrate

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "operations.md"
SECTION = GUIDE.read_text().partition("## Back up and restore")[2].partition("\n## ")[0]
PASSWORD = "secret"
RESULT = "SELECT label FROM results WHERE custom_id = 'mine'"


def command(kind: str, number: int) -> str:
    """The command of the guide that backs up, which is number 0, or restores, which is number 1."""
    return re.findall(rf"^# {kind}\b.*\n(.+)$", SECTION, re.MULTILINE)[number]


def type_in(server: devservers.Server, url: str, number: int, folder: Path) -> None:
    """Type a command of the guide, with the account and the database of a URL."""
    to = make_url(url)
    typed = command(server.name, number)
    for words, meant in (
        ("postgresql://USER:PASSWORD", f"postgresql://{to.username}:{to.password}"),
        ("@HOST/batchline", f"@{to.host}:{to.port}/{to.database}"),
        ("--host=HOST --user=USER", f"--host={to.host} --port={to.port} --user={to.username}"),
        ("--password batchline", f"--password={to.password} {to.database}"),
    ):
        typed = typed.replace(words, meant)
    environment = {**os.environ, "PATH": f"{folder_of_clients(server)}:{os.environ['PATH']}"}
    done = subprocess.run(
        typed, shell=True, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def owned_by(user: str, server: devservers.Server, url: str) -> str:
    """The URL of a database for a user who owns it, and has no other rights on the server."""
    name = name_of(url)
    if server.name == "postgresql":
        server.execute(f"ALTER DATABASE {name} OWNER TO {user}")
    else:
        server.execute(f"GRANT ALL ON {name}.* TO {user}")
    account = make_url(url).set(username=user, password=PASSWORD)
    return account.render_as_string(hide_password=False)


def predict_one(url: str) -> None:
    migrate(url)
    with closing(Database(url)) as database:
        new = NewItems([f"[{IRIS}]"], custom_ids=["mine"])
        database.transaction(lambda c: items.register(c, new))
    assert run_here("job", "--once", DATABASE_URL=url).returncode == 0


def assert_restored(url: str) -> None:
    for words in (("db", "upgrade"), ("check",), ("verify", "--sample", "1000")):
        done = run_here(*words, DATABASE_URL=url)
        assert done.returncode == 0, done.stdout + done.stderr
    with closing(Database(url)) as database:
        with database.read() as connection:
            assert connection.exec_driver_sql(RESULT).scalars().all() == ["setosa"]
        [new] = database.transaction(lambda c: items.register(c, NewItems(["[]"])))
    assert new > 1


@pytest.mark.parametrize("kind", ["mysql", "mariadb", "postgresql"])
def test_a_backup_of_a_server_is_restored(kind: str, servers: Servers, tmp_path: Path) -> None:
    server = servers.get(kind)
    urls = server.create_database(), server.create_database()
    user = f"owner_{name_of(urls[0])}"
    words = "PASSWORD" if kind == "postgresql" else "IDENTIFIED BY"
    server.execute(f"CREATE USER {user} {words} '{PASSWORD}'")
    before, after = (owned_by(user, server, url) for url in urls)
    predict_one(before)
    type_in(server, before, 0, tmp_path)
    server.drop_database(before)
    type_in(server, after, 1, tmp_path)
    assert_restored(after)
    server.drop_database(after)
    server.execute(f"DROP USER {user}")


def test_a_backup_of_sqlite_is_restored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    predict_one(url)
    [statement] = re.findall(r'"(.*)"', command("sqlite", 0))
    target = f"{tmp_path / 'backup.db'}"
    with closing(Database(url)) as in_use, in_use.read() as connection:
        connection.exec_driver_sql(RESULT)
        with closing(sqlite3.connect(name_of(url))) as program:
            program.execute(statement.replace("backup.db", target))
    for file in tmp_path.glob("batchline.db*"):
        file.unlink()
    assert command("sqlite", 1) == "cp backup.db batchline.db"
    Path(target).rename(name_of(url))
    assert_restored(url)

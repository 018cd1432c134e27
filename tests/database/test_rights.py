"""The grants of the guide for operators are enough, and not more than they say."""

import re
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

import devservers
from batchline.db.cruds import idempotency
from batchline.db.database import Database
from batchline.db.new_items import Key, NewItems
from batchline.errors import BatchlineError
from tests.conftest import Servers
from tests.in_process import run_here
from tests.migrated import name_of
from tests.service import IRIS, migrate

pytestmark = pytest.mark.every_server

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "operations.md"
USERS = ("batchline_owner", "batchline", "client")
DATA = f"[{IRIS}]"


class Operator:
    """An administrator of a server who does what the guide says, in a database of its own."""

    def __init__(self, kind: str, server: devservers.Server) -> None:
        self.kind, self._server = kind, server
        self.url = server.create_database()
        self._admin = Database(self.url)
        self._suffix = name_of(self.url)[-6:]

    def follow(self, title: str) -> None:
        """Type the statements of a block of the guide, with names that no other test has."""
        head = rf"-- [a-z, ]*{self.kind}[a-z, ]*: {title}\n"
        block = re.search(rf"{head}(.*?)```", GUIDE.read_text(), re.DOTALL)
        assert block, title
        self.execute(self._renamed(block[1]))

    def revoke(self) -> None:
        """Take rights away from the user of `run`."""
        user, name = f"batchline_{self._suffix}", name_of(self.url)
        if self.kind == "postgresql":
            self.execute(
                f"REVOKE INSERT, UPDATE ON predictions, claims FROM {user};"
                f"REVOKE USAGE ON SEQUENCE items_id_seq FROM {user}"
            )
        else:
            self.execute(f"REVOKE INSERT, DELETE ON {name}.* FROM '{user}'@'%'")

    def revoke_entry(self) -> None:
        """Take away what the user of `run` needs before it can read anything."""
        user, name = f"batchline_{self._suffix}", name_of(self.url)
        if self.kind == "postgresql":
            self.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {user}")
            self.execute(f"REVOKE USAGE ON SCHEMA public FROM {user}, PUBLIC")
        else:
            self.execute(f"REVOKE ALL ON {name}.* FROM '{user}'@'%'")
            self.execute(f"GRANT INSERT ON {name}.items TO '{user}'@'%'")

    def execute(self, statements: str) -> None:
        for statement in filter(str.strip, statements.split(";")):
            with self._admin.write() as connection:
                connection.execution_options(no_parameters=True).exec_driver_sql(statement)

    def _renamed(self, sql: str) -> str:
        sql = sql.replace("batchline.", f"{name_of(self.url)}.").replace("'PASSWORD'", "'secret'")
        return re.sub(rf"\b({'|'.join(USERS)})\b", rf"\1_{self._suffix}", sql)

    def as_user(self, name: str) -> str:
        url = make_url(self.url).set(username=f"{name}_{self._suffix}", password="secret")
        return url.render_as_string(hide_password=False)

    def clean(self) -> None:
        self._admin.close()
        self._server.drop_database(self.url)
        for name in USERS:
            if self.kind == "postgresql":
                self._server.execute(f"DROP ROLE IF EXISTS {name}_{self._suffix}")
            else:
                self._server.execute(f"DROP USER IF EXISTS '{name}_{self._suffix}'@'%'")


@pytest.fixture(params=["mysql", "mariadb", "postgresql"])
def operator(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Operator]:
    operator = Operator(request.param, servers.get(request.param))
    yield operator
    operator.clean()


def sql(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(Database(url)) as database, database.write() as connection:
        found = connection.exec_driver_sql(statement)
        return [tuple(row) for row in found] if found.returns_rows else []


MODEL = "src/batchline/iris/iris.onnx"
COMMANDS = [
    ("check",),
    ("job", "--once"),
    ("failures",),
    ("retry", "--all"),
    ("models", "add", "default", MODEL, "--no-activate"),
    ("backfill", "default", "--version", "2"),
    ("verify",),
    ("models", "remove", "default", "2"),
    ("keys", "create", "shop", "--role", "write"),
    ("keys", "revoke", "shop"),
    ("audit",),
]
TOO_MUCH = [
    ("batchline", "CREATE TABLE mine (id INTEGER)"),
    ("batchline", "DROP TABLE items"),
    ("client", "SELECT content FROM model_files"),
    ("client", "UPDATE items SET data = '[]'"),
    ("client", "DELETE FROM items"),
    ("client", "INSERT INTO items (data, status) VALUES ('[]', 'succeeded')"),
    ("client", "INSERT INTO predictions (item_id, model_id, prediction) VALUES (1, 1, '1')"),
]


def test_the_rights_of_the_guide_are_enough_and_no_more(operator: Operator) -> None:
    operator.follow("migrate")
    operator.follow("run")
    owner, runner, client = map(operator.as_user, USERS)
    assert run_here("db", "upgrade", DATABASE_URL=owner).returncode == 0
    operator.follow("client")
    sql(client, f"INSERT INTO items (data, custom_id) VALUES ('{DATA}', 'mine')")
    with closing(Database(runner)) as database:
        for new in (
            NewItems([DATA], keys=[Key("a" * 64, "b" * 64)]),
            NewItems([DATA] * 200),
            NewItems(["[[1]]"]),
        ):
            database.transaction(partial(idempotency.register, new=new))
    operator.revoke()
    done = run_here("check", DATABASE_URL=runner)
    assert done.returncode == 1
    assert "lacks rights" in done.stdout
    operator.execute(done.stdout.partition("as an administrator, run ")[2].partition("\n")[0])
    for words in COMMANDS:
        done = run_here(*words, DATABASE_URL=runner)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert sql(client, "SELECT label FROM results WHERE custom_id = 'mine'") == [("setosa",)]
    for user, statement in TOO_MUCH:
        with pytest.raises(BatchlineError, match=r"denied|permission|must be owner"):
            sql(operator.as_user(user), statement)


def granted(url: str) -> str:
    """Return the statements that `check` names."""
    done = run_here("check", DATABASE_URL=url)
    assert done.returncode == 1, done.stdout
    return done.stdout.partition("as an administrator, run ")[2].partition("\n")[0]


def test_check_names_rights_that_it_needs_itself(operator: Operator) -> None:
    operator.follow("migrate")
    operator.follow("run")
    owner, runner, _ = map(operator.as_user, USERS)
    assert run_here("db", "upgrade", DATABASE_URL=owner).returncode == 0
    operator.revoke_entry()
    if operator.kind == "postgresql":
        operator.execute(granted(runner))  # the schema comes first
    operator.execute(granted(runner))
    done = run_here("check", DATABASE_URL=runner)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_a_grant_for_a_database_with_an_odd_name_can_be_typed(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    place, user = "`odd-name ``#`", "'o''dd'@'%'"
    url = make_url(server.url("x")).set(database="odd-name `#")
    mine = url.set(username="o'dd", password="secret").render_as_string(hide_password=False)
    try:
        server.execute(f"CREATE DATABASE {place}")
        migrate(url.render_as_string(hide_password=False))
        server.execute(f"CREATE USER {user} IDENTIFIED BY 'secret'")
        server.execute(f"GRANT SELECT, INSERT ON {place}.* TO {user}")
        [statement] = granted(mine).split("; ")
        server.execute(statement)
        assert run_here("check", DATABASE_URL=mine).returncode == 0
    finally:
        server.execute(f"DROP USER IF EXISTS {user}")
        server.execute(f"DROP DATABASE IF EXISTS {place}")

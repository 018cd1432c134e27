"""`POST /items`: files of lines, also those larger than memory, and all that may end them early."""

import asyncio
import http.client
import json
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, cast

import pytest

from batchline.api import ndjson, uploads
from batchline.api.signatures import Signatures
from batchline.api.uploads import Upload, UploadPool
from batchline.constants import (
    MAX_BODY_BYTES,
    MAX_UPLOADS,
    UPLOAD_GROUP_LINES,
    UPLOAD_RESPONSE_BUFFER_BYTES,
)
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.errors import BatchlineError, CommitUnknown, DatabaseUnavailable, SchemaOutdated
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature
from tests.api_here import ApiHere
from tests.conftest import SQLITE_AND_A_SERVER, Servers
from tests.faults.proxy import COMMIT, Proxy
from tests.service import IRIS, PATIENCE, HttpApi, Service, migrate, wait_for

LINE = json.dumps({"data": [IRIS]}).encode() + b"\n"
GROUP = LINE * UPLOAD_GROUP_LINES
NDJSON = {"Content-Type": "application/x-ndjson"}
SERVERS = ["mysql", "mariadb", "postgresql"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApi]:
    folder: Path = tmp_path_factory.mktemp("bulk")
    url = f"sqlite:///{folder / 'batchline.db'}"
    migrate(url)
    with ApiHere(url) as api:
        yield api


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions of 500 lines, of which none takes too long for an API on a busy machine."""
    monkeypatch.setattr(ndjson, "UPLOAD_GROUP_LINES", 500)


def upload(api: HttpApi, body: bytes | Iterable[bytes]) -> list[dict[str, Any]]:
    response = api.http.post("/items", content=body, headers=NDJSON)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def ids_of(answer: list[dict[str, Any]]) -> dict[int, int]:
    """Each stored line's id."""
    found: dict[int, int] = {}
    for told in answer:
        if "ids" in told:
            (first, last), (low, high) = told["lines"], told["ids"]
            lines, ids = range(first, last + 1), range(low, high + 1, told.get("step", 1))
            found |= dict(zip(lines, ids, strict=True))
    return found


def keyed(number: int, *row: float) -> bytes:
    body = {"data": [list(row) or IRIS], "idempotency_key": f"line-{number}"}
    return json.dumps(body).encode() + b"\n"


def count_items(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM items").scalar_one())


# What a line may be ----------------------------------------------------------------------------


def test_ids_come_in_the_order_of_the_lines(database_url: str) -> None:
    migrate(database_url)
    rows = [[n, 3.5, 1.4, 0.2] for n in range(2 * UPLOAD_GROUP_LINES)]
    with ApiHere(database_url) as api:
        answer = upload(api, b"".join(json.dumps({"data": [row]}).encode() + b"\n" for row in rows))
    assert answer[-1] == {"done": True, "lines": len(rows), "registered": len(rows), "rejected": 0}
    ids = ids_of(answer)
    assert list(ids) == list(range(1, len(rows) + 1))
    database = Database(database_url)
    with database.read() as connection:
        found = dict(tuple(r) for r in connection.exec_driver_sql("SELECT id, data FROM items"))
    database.close()
    stored = [json.loads(found[item_id]) for item_id in ids.values()]
    assert stored == [[row] for row in rows]
    assert list(ids.values()) == sorted(ids.values())


def test_a_bad_line_harms_no_other(api: HttpApi) -> None:
    *told, end = upload(api, LINE + b"{\n" + LINE + b'{"data": [[1]], "x": 1}\n' + LINE)
    assert [line["lines"] for line in told] == [[n, n] for n in range(1, 6)]
    assert told[1]["error"]["code"] == "invalid_json"
    assert told[3]["error"]["code"] == "invalid_data"
    assert told[3]["error"]["errors"][0]["pointer"] == "/x"
    assert end == {"done": True, "lines": 5, "registered": 3, "rejected": 2}
    assert [api.read(item_id)["status"] for item_id in ids_of(told).values()] == ["pending"] * 3


def test_lines_may_end_with_crlf_be_blank_and_the_last_one_without_an_end(api: HttpApi) -> None:
    one = LINE.strip()
    answer = upload(api, one + b"\r\n\r\n  \n" + one + b"\n\n" + one)
    assert list(ids_of(answer)) == [1, 4, 6]
    assert answer[-1] == {"done": True, "lines": 6, "registered": 3, "rejected": 0}


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\r\n"])
def test_a_body_without_lines_is_fine(api: HttpApi, body: bytes) -> None:
    lines = body.count(b"\n")
    assert upload(api, body) == [{"done": True, "lines": lines, "registered": 0, "rejected": 0}]


def test_a_line_that_is_too_large_is_refused_alone(api: HttpApi) -> None:
    large = b'{"data": [' + b" " * (3 * MAX_BODY_BYTES) + b"]}\n"
    *told, end = upload(api, LINE + large + LINE)
    assert told[1]["error"]["code"] == "line_too_large"
    assert (end["registered"], end["rejected"]) == (2, 1)


def test_bytes_that_are_no_text_are_refused_alone(api: HttpApi) -> None:
    *told, end = upload(api, b'{"data": "\xff"}\n\xff\xfe\n\x00\n' + LINE)
    assert {line["error"]["code"] for line in told[:-1]} == {"invalid_json"}
    assert list(ids_of(told)) == [4]
    assert (end["registered"], end["rejected"]) == (1, 3)


def test_what_is_sent_as_something_else_is_read_as_lines_too(api: HttpApi) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain", ""):
        response = api.http.post("/items", content=LINE, headers={"Content-Type": kind})
        assert response.status_code == 200


# Keys ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_groups")
def test_a_file_with_keys_may_be_sent_again(database_url: str) -> None:
    lines = 1_200
    body = b"".join(map(keyed, range(lines)))
    migrate(database_url)
    with ApiHere(database_url) as api:
        first, again = upload(api, body[: len(body) // 2]), upload(api, body)
        known = ids_of(first)
        known.popitem()  # its line was cut in two
        assert known.items() <= ids_of(again).items()
        other = upload(api, keyed(1) + keyed(2, 1, 2, 3, 4) + keyed(2) + b"\n" + keyed(1))
        assert ids_of(other) == {1: known[2], 3: known[3], 5: known[2]}
        assert other[1] == {"lines": [2, 2], "error": other[1]["error"]}
        assert other[1]["error"]["code"] == "idempotency_key_reused"
        single = api.http.post(
            "/predict", json={"data": [IRIS]}, headers={"Idempotency-Key": "line-1"}
        )
        assert single.json()["id"] == known[2]
        assert again[-1]["registered"] == lines


def test_a_key_for_the_whole_body_is_refused(api: HttpApi) -> None:
    response = api.http.post("/items", content=LINE, headers={"Idempotency-Key": "x"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    told = upload(api, LINE.replace(b"}", b', "idempotency_key": 5}'))
    assert told[0]["error"]["code"] == "invalid_idempotency_key"


# Length, and clients ---------------------------------------------------------------------------


class Talk:
    """An upload that is sent piece by piece, and whose answer can be read in between."""

    def __init__(self, api: HttpApi) -> None:
        self._socket = socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE)
        self._socket.sendall(
            b"POST /items HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, piece: bytes) -> None:
        self._socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def read(self) -> dict[str, Any]:
        """The next line of the answer; heads and the sizes of chunks are passed over."""
        while line := self._file.readline():
            if line.startswith(b"{"):
                return dict(json.loads(line))
        raise EOFError

    def read_until(self, line: int) -> list[dict[str, Any]]:
        told = [self.read()]
        while told[-1]["lines"][1] < line:
            told.append(self.read())
        return told


def memory(api: Service) -> int:
    """The most that the process ever had, in bytes."""
    status = Path(f"/proc/{api.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


def test_a_file_larger_than_memory_is_stored_for_a_client_that_reads_only_at_the_end(
    tmp_path: Path,
) -> None:
    """What `requests` does; bad lines make for an answer that no socket's buffer holds."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    long = json.dumps({"data": [IRIS] * 1_000}).encode() + b"\n"
    with Service(url, "api") as api:
        upload(api, long + GROUP)
        before = memory(api)
        pieces = [long * 30 + (b"x\n" + LINE) * 300] * 100
        client = http.client.HTTPConnection("127.0.0.1", api.port, timeout=120)
        client.request("POST", "/items", iter(pieces), encode_chunked=True)
        answer = [json.loads(line) for line in client.getresponse().read().splitlines()]
        client.close()
        assert answer[-1] == {
            "done": True,
            "lines": 63_000,
            "registered": 33_000,
            "rejected": 30_000,
        }
        assert len(ids_of(answer)) == 33_000
        assert len(b"".join(pieces)) > 60 * 1024 * 1024
        assert memory(api) - before < 40 * 1024 * 1024


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_what_was_answered_is_stored_when_the_client_hangs_up_in_the_middle(
    database_url: str,
) -> None:
    migrate(database_url)
    with Service(database_url, "api") as api:
        with Talk(api) as client:
            client.send(GROUP * 4)
            answered = ids_of(client.read_until(UPLOAD_GROUP_LINES))
        for item_id in list(answered.values())[:: UPLOAD_GROUP_LINES // 5]:
            assert api.read(item_id)["status"] == "pending"
        assert upload(api, LINE)[-1]["registered"] == 1
        assert "error" not in api.output


def test_uploads_are_limited_and_keep_nobody_else_out(
    api: HttpApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_SLOW_AFTER", 600)  # so none of them makes room
    with ExitStack() as stack:
        clients = [stack.enter_context(Talk(api)) for _ in range(MAX_UPLOADS)]
        for client in clients:
            client.send(GROUP * 3)
            client.read()
        refused = api.http.post("/items", content=LINE)
        assert (refused.status_code, refused.json()["code"]) == (503, "intake_full")
        assert int(refused.headers["retry-after"]) > 0
        assert api.register(IRIS) > 0
    wait_for(lambda: api.http.post("/items", content=LINE).status_code == 200, "a free place")


class Client:
    """The two ends that a server gives an application, of a client that stops in the middle."""

    def __init__(self, pieces: list[bytes], reads: int) -> None:
        self._pieces = pieces
        self._reads = reads
        self.answer = b""

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        if self._reads == 0:
            await asyncio.Event().wait()
        self._reads -= 1
        self.answer += message.get("body", b"")


async def serve(database: Database, client: Client) -> None:
    async def signatures() -> Signatures:
        return Signatures({"default": Signature((Input("x", "float32", (4,)),))})

    bulk = UploadPool(database)
    await Upload(bulk, signatures, timeout=0.2)({"type": "http"}, client.receive, client.send)
    await bulk.close()


def test_a_client_that_sends_no_more_is_let_go_and_told(database: Database) -> None:
    client = Client([GROUP * 4, b'{"data'], reads=100)
    asyncio.run(serve(database, client))
    told = [json.loads(line) for line in client.answer.splitlines()]
    end = told[-1]
    assert end["error"]["code"] == "body_timeout"
    assert end["error"]["hint"] == f"send the lines from line {end['from_line']} on again"
    assert not end["done"]
    assert end["from_line"] == end["registered"] + 1 == count_items(database) + 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)  # nothing is stored in it
@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_client_that_never_reads_is_let_go(reads: int, database: Database) -> None:
    bad = b"".join(b"%s%d\n" % (b"x" * (n % 2), n) for n in range(10))
    lines = UPLOAD_RESPONSE_BUFFER_BYTES // 20
    client = Client([(bad * 1_000)] * (lines // 10_000), reads)
    asyncio.run(serve(database, client))
    assert count_items(database) == 0


class Failing:
    """A database whose second transaction fails."""

    def __init__(self, database: Database, error: Exception) -> None:
        self._database = database
        self.outages = database.outages
        self._errors: list[Exception | None] = [None, error]

    def transaction(self, work: Any) -> Any:
        if error := self._errors.pop(0):
            raise error
        return self._database.transaction(work)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (DatabaseUnavailable("no", hint="ask alice"), ""),
        (SchemaOutdated("no", hint="ask alice"), "run `batchline db upgrade`"),
        (CommitUnknown("no", hint="ask alice"), "the same idempotency_key"),
    ],
    ids=lambda x: getattr(x, "code", ""),
)
def test_the_last_line_says_how_to_go_on(
    error: BatchlineError, hint: str, database: Database
) -> None:
    client = Client([GROUP * 4], reads=100)
    asyncio.run(serve(cast(Database, Failing(database, error)), client))
    end = json.loads(client.answer.splitlines()[-1])
    assert (end["done"], end["error"]["code"]) == (False, error.code)
    assert f"send the lines from line {end['lines'] + 1} on again" in end["error"]["hint"]
    assert hint in end["error"]["hint"]
    assert "alice" not in str(end)


# Outages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVERS)
def test_a_database_that_goes_away_in_the_middle_leaves_what_was_answered(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    migrate(url)
    with Service(url, "api") as api:  # a job that is still starting would end, and the API with it
        with Talk(api) as client:
            client.send(GROUP * 3)
            answered = client.read_until(UPLOAD_GROUP_LINES)
            server.kill()
            try:
                client.send(GROUP * 20)
                while "done" not in answered[-1]:
                    answered.append(client.read())
                refused = api.http.post("/items", content=LINE)
            finally:
                server.restart()
        end = answered[-1]
        assert not end["done"]
        assert end["error"]["code"] in ("database_unavailable", "commit_unknown")
        assert end["from_line"] == end["lines"] + 1
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["code"] == "database_unavailable"
        wait_for(api.is_ready, "the recovery")
        database = Database(url)
        stored = count_items(database)
        database.close()
        ids = ids_of(answered)
        assert len(ids) == end["registered"] > 0
        if end["error"]["code"] == "database_unavailable":
            assert stored == len(ids)
        assert upload(api, GROUP)[-1]["done"]
    server.drop_database(url)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("kind", SERVERS)
def test_lines_whose_commit_was_not_confirmed_are_told_and_keys_tell_what_became_of_them(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    migrate(url)
    database = Database(url)
    body = [b"".join(map(keyed, range(n, n + 1_000))) for n in range(0, 12_000, 1_000)]
    with Proxy(url) as proxy, ApiHere(proxy.url) as api:
        with Talk(api) as client:
            for part in body[:6]:
                client.send(part)
            answered = [client.read()]
            proxy.lose_reply_to(COMMIT)
            for part in body[6:]:
                client.send(part)
            while "done" not in answered[-1]:
                answered.append(client.read())
        end = answered[-1]
        assert end["error"]["code"] == "commit_unknown"
        assert "the same idempotency_key" in end["error"]["hint"]
        first, last = end["maybe_stored"]
        assert first == end["from_line"] == end["registered"] + 1
        assert count_items(database) == last
        again = upload(api, b"".join(body))
        assert ids_of(answered).items() <= ids_of(again).items()
        assert again[-1]["registered"] == count_items(database) == 12_000
    database.close()
    server.drop_database(url)


def test_stopped_in_the_middle_the_client_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    with Service(url, "api") as api, Talk(api) as client:
        client.send(GROUP * 3)
        answered = [client.read()]
        api.send(signal.SIGTERM)
        while "done" not in answered[-1]:
            answered.append(client.read())
        end = answered[-1]
        assert (end["done"], end["error"]["code"]) == (False, "shutting_down")
        assert end["from_line"] == end["registered"] + 1 == len(ids_of(answered)) + 1
        assert api.wait() == 0
        assert "Traceback" not in api.output


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_killed_in_the_middle_what_was_answered_is_stored(database_url: str) -> None:
    migrate(database_url)
    with Service(database_url, "api") as api, Talk(api) as client:
        client.send(GROUP * 10)
        answered = ids_of(client.read_until(UPLOAD_GROUP_LINES))
        api.process.kill()
    database = Database(database_url)
    with database.read() as connection:
        found = [items.get(connection, item_id) for item_id in list(answered.values())[::100]]
    assert all(found)
    assert count_items(database) >= len(answered)
    database.close()

"""What one client's connection may hold: heads, responses that it does not read, connections."""

import json
import select
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from batchline.constants import (
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
    MAX_PAGE_BYTES,
    MAX_UPLOADS,
    UPLOAD_BLOCK_BYTES,
)
from tests.service import IRIS, PATIENCE, Service, migrate, wait_for

HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = HEAD + b"\r\n"
LIMITS = {
    "CONNECTION_CHECK_INTERVAL": 0.05,
    "HEAD_TIMEOUT": 0.5,
    "MAX_CONNECTIONS": 20,
    "RESPONSE_TIMEOUT": 1.0,
}
"""Smaller than the real ones, so that the tests are quick."""


class SmallService(Service):
    """`batchline api` with some limits of its own."""

    def __init__(self, database_url: str, **limits: float) -> None:
        patches = "".join(f"constants.{name} = {limit}; " for name, limit in limits.items())
        script = (
            f"from batchline import constants; {patches}import batchline.__main__ as m; m.main()"
        )
        self.program = ("-c", script)
        super().__init__(database_url, "api")


LARGE = '"' + "x" * (MAX_PAGE_BYTES - 1000) + '"'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with one item, whose prediction is large."""
    path = tmp_path_factory.mktemp("connections") / "batchline.db"
    migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO items (data, status) VALUES ('[]', 'succeeded')")
        insert = "INSERT INTO predictions (item_id, model_id, prediction) VALUES (1, 1, ?)"
        connection.execute(insert, (LARGE,))
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[Service]:
    with SmallService(url, **LIMITS) as service:
        yield service


def connect(api: Service, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE)
    with suppress(ConnectionError):  # the API may refuse it before it has read everything
        client.sendall(sent)
    return client


def all_of(client: socket.socket) -> bytes:
    """Everything that the API sends until it closes the connection."""
    received = bytearray()
    with suppress(ConnectionError):
        while part := client.recv(65536):
            received += part
    return bytes(received)


def is_closed(client: socket.socket) -> bool:
    """Whether the API has closed it. What it has sent stays unread."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def closed(clients: list[socket.socket]) -> list[bool]:
    return [is_closed(client) for client in clients]


# Heads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEAD_FIELDS)) + b"\r\n",
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(2 * MAX_HEAD_FIELDS)),
        HEAD + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        HEAD + b"X: " + b"x" * MAX_HEAD_BYTES,
        b"GET /" + b"x" * MAX_HEAD_BYTES,
        b"\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["fields", "endless fields", "long field", "endless field", "endless path", "line ends"],
)
def test_a_head_beyond_its_limits_is_431(api: Service, sent: bytes) -> None:
    with connect(api, sent) as client:
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in received
    assert b'"code":"head_too_large"' in received


def test_a_head_within_its_limits_is_served(api: Service) -> None:
    fields = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEAD_FIELDS - 2))
    long = b"Y: " + b"x" * (MAX_HEAD_BYTES - 2_000) + b"\r\n"
    with connect(api, HEAD + fields + long + b"\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("endless", [b"X: 1\r\n", b"x"], ids=["trailers", "one trailer"])
def test_endless_trailers_end_the_request(api: Service, endless: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(api, head + b"1\r\n{\r\n0\r\n") as client:
        with suppress(ConnectionError):
            client.sendall(endless * 10 * MAX_HEAD_BYTES)
        assert b" 431 " in all_of(client)


def test_endless_chunk_extensions_end_the_request(api: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(api, head + b"1;x=") as client:
        with suppress(ConnectionError):
            client.sendall(b"x" * 10 * MAX_HEAD_BYTES)
        assert b" 431 " in all_of(client)


def test_a_head_that_takes_too_long_is_408_even_if_its_bytes_keep_coming(api: Service) -> None:
    with connect(api, HEAD) as client:
        while not select.select([client], [], [], 0.05)[0]:
            client.sendall(b"X: 1\r\n")
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"head_timeout"' in received


def test_the_head_of_a_later_request_has_the_same_time(api: Service) -> None:
    with connect(api, REQUEST) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        client.sendall(HEAD)
        assert b"HTTP/1.1 408 " in all_of(client)


def test_a_connection_that_sends_nothing_is_closed(api: Service) -> None:
    with connect(api) as client:
        assert all_of(client) == b""


def test_something_else_than_http_is_400(api: Service) -> None:
    with connect(api, b"\x16\x03\x01\x02\x00") as client:
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in received


def test_requests_sent_ahead_are_served_in_order_up_to_a_limit(api: Service) -> None:
    with connect(api, REQUEST * 10) as client:
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 10:
            received += client.recv(65536)
    with connect(api, REQUEST * 5_000) as client:
        assert all_of(client).count(b"HTTP/1.1 ") < 100


# Responses that nobody reads -------------------------------------------------------------------


def ask_for_large(api: Service, requests: int = 1, buffer: int = 4096) -> socket.socket:
    """A client that has read nothing yet. The kernel receives `buffer` bytes for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(("127.0.0.1", api.port))
    client.sendall(b"GET /items HTTP/1.1\r\nHost: localhost\r\n\r\n" * requests)
    return client


def peak_memory(api: Service) -> int:
    """The most bytes that the API's process has had in memory."""
    status = Path(f"/proc/{api.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_unread_responses_are_limited_in_total_and_keep_no_reader_out(url: str) -> None:
    limit = 3 * MAX_PAGE_BYTES
    with SmallService(url, RESPONSES_MAX_BYTES=limit) as api, ExitStack() as stack:
        before = peak_memory(api)
        clients = [stack.enter_context(ask_for_large(api, requests=5)) for _ in range(40)]
        wait_for(lambda: sum(closed(clients)) >= 37, "the end of unread responses")
        assert len(api.http.get("/items").json()["items"][0]["prediction"]) == len(LARGE) - 2
        assert peak_memory(api) - before < limit + 20 * MAX_PAGE_BYTES  # 20 while pages are made


def test_a_client_that_reads_nothing_is_dropped(api: Service) -> None:
    with ask_for_large(api) as client:
        wait_for(lambda: is_closed(client), "the end of patience")
        assert len(all_of(client)) < len(LARGE)


def test_a_client_that_reads_slowly_gets_all_of_its_response_and_the_next(api: Service) -> None:
    with ask_for_large(api, requests=2, buffer=65536) as client:
        received, until = 0, time.monotonic() + 2 * LIMITS["RESPONSE_TIMEOUT"]
        while received < 2 * len(LARGE):
            part = client.recv(65536)
            assert part
            received += len(part)
            if time.monotonic() < until:
                time.sleep(0.05)


# Uploads ---------------------------------------------------------------------------------------


def test_a_slow_upload_makes_room_for_others_and_says_what_was_stored(url: str) -> None:
    head = b"POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    line = json.dumps({"data": [IRIS]}).encode() + b"\n"
    lines = line * (2 * UPLOAD_BLOCK_BYTES // len(line))
    with SmallService(url, UPLOAD_SLOW_AFTER=0.3, HEAD_TIMEOUT=0.2) as api, ExitStack() as stack:
        slow = [stack.enter_context(connect(api, head + lines)) for _ in range(MAX_UPLOADS)]
        for client in slow:
            assert client.recv(1000)  # its first lines are stored, so it has a place
        with httpx.Client(base_url=api.http.base_url, timeout=PATIENCE, trust_env=False) as other:
            wait_for(lambda: other.post("/items", content=line).status_code == 200, "a place")
        wait_for(lambda: any(closed(slow)), "the end of one upload")
        (ended,) = [client for client in slow if is_closed(client)]
        last_line = all_of(ended)
    assert b'"code":"intake_full"' in last_line
    assert b'"from_line"' in last_line


def begin_long_line(api: Service, size: int) -> socket.socket:
    """An upload of a line that has not ended yet."""
    head = b"POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    client = connect(api, head)
    with suppress(OSError):  # the API may refuse it before it has read everything
        client.sendall(b" " * size)
    return client


LONG_LINES = {"LONG_LINES_MAX_BYTES": 4_200_000, "UPLOAD_LONG_LINE_BYTES": 1_000_000}
"""Room for two of three long lines."""
LINE = json.dumps({"data": [IRIS]}).encode() + b"\n"
LONG_LINE = LINE.rstrip() + b" " * 2_500_000 + b"\n"


def test_long_lines_that_do_not_end_are_bounded(url: str) -> None:
    with SmallService(url, UPLOAD_SLOW_AFTER=600, **LONG_LINES) as api, ExitStack() as stack:
        endless: list[socket.socket] = []

        def refused() -> httpx.Response | None:
            endless.append(stack.enter_context(begin_long_line(api, 2_500_000)))
            response = api.http.post("/items", content=LONG_LINE)
            return None if response.status_code == 200 else response

        response = wait_for(refused, "two that the API has read")
        assert (response.status_code, response.json()["code"]) == (503, "intake_full")
        assert int(response.headers["retry-after"]) > 0
        assert api.http.post("/items", content=LINE * 1_000).status_code == 200
        assert closed(endless).count(False) >= 2


def test_long_lines_that_do_not_end_keep_no_other_upload_out(url: str) -> None:
    with SmallService(url, UPLOAD_SLOW_AFTER=0.5, **LONG_LINES) as api, ExitStack() as stack:
        endless = [stack.enter_context(begin_long_line(api, 2_500_000)) for _ in range(2)]
        long = wait_for(lambda: ended_well(api.http.post("/items", content=LONG_LINE)), "room")
        assert long["registered"] == 1
        again = b"".join([LINE * 1_000, LONG_LINE]) * 5
        many = wait_for(lambda: ended_well(api.http.post("/items", content=again)), "more room")
        assert many["registered"] == 5_005
        wait_for(lambda: all(closed(endless)), "the end of the others")


def ended_well(response: httpx.Response) -> dict[str, int]:
    if response.status_code != 200:
        return {}
    last: dict[str, int] = json.loads(response.text.splitlines()[-1])
    return last if last["done"] else {}


# Connections -----------------------------------------------------------------------------------


def test_at_the_limit_of_connections_the_oldest_without_a_head_makes_room(url: str) -> None:
    with SmallService(url, MAX_CONNECTIONS=20) as api, ExitStack() as stack:
        clients = [stack.enter_context(connect(api, HEAD)) for _ in range(25)]
        with httpx.Client(base_url=str(api.http.base_url), trust_env=False) as other:
            assert other.get("/health/ready").status_code == 200
            assert other.post("/predict", json={"data": [IRIS]}).status_code == 202
        wait_for(lambda: all(closed(clients[:5])), "room for new connections")
        assert closed(clients)[-10:] == [False] * 10


def test_health_checks_get_in_beside_requests_whose_bodies_never_end(url: str) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with SmallService(url, MAX_CONNECTIONS=20) as api, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(api, head))
        for _ in range(3):
            ready = httpx.get(f"{api.http.base_url}/health/ready", timeout=PATIENCE)
            assert ready.status_code == 200


def test_health_checks_do_not_wait_for_pages(url: str) -> None:
    with (
        SmallService(url, PAGE_READERS=0, API_SHUTDOWN_TIMEOUT=0.1) as api,
        connect(api, b"GET /items HTTP/1.1\r\n\r\n"),
    ):
        for path in ("/health/ready", "/v2/health/ready"):
            assert api.http.get(path).status_code == 200

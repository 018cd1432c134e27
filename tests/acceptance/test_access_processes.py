"""Keys in running API processes: revoked under load, in no log, and in no header of a response."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from batchline.api_keys import Role
from tests.api import add_key, bearer, revoke_key
from tests.service import IRIS, PATIENCE, Service, wait_for

ROW = {"data": [IRIS]}
SECONDS_TO_REVOKE = 5.0


class Registering:
    """A client that registers until its key is refused, and ten times more."""

    def __init__(self, api: Service, key: str) -> None:
        self.statuses: list[int] = []
        self.accepted_at = 0.0
        """When it sent the last request that was accepted."""
        self._api, self._key = api, key

    def run(self) -> None:
        url = self._api.http.base_url
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as http:
            while self.statuses.count(401) < 10:
                sent_at = time.monotonic()
                response = http.post("/predict", json=ROW, headers=bearer(self._key))
                if response.status_code == 202:
                    self.accepted_at = sent_at
                self.statuses.append(response.status_code)


def test_a_revoked_key_stops_working_in_each_process_under_load(iris_url: str) -> None:
    key, other = add_key(iris_url, name="shop"), add_key(iris_url, name="other")
    with (
        Service(iris_url, "api") as one,
        Service(iris_url, "api") as two,
        ThreadPoolExecutor() as threads,
    ):
        clients = [Registering(api, key) for api in (one, two, one, two)]
        running = [threads.submit(client.run) for client in clients]
        wait_for(lambda: all(202 in client.statuses for client in clients), "a registration")
        revoke_key(iris_url, "shop")
        revoked_at = time.monotonic()
        for client, end in zip(clients, running, strict=True):
            end.result(PATIENCE)
            assert client.accepted_at - revoked_at < SECONDS_TO_REVOKE
            assert set(client.statuses) == {202, 401}
            assert client.statuses == sorted(client.statuses)  # refused once, refused for ever
        for api in (one, two):
            response = api.http.post("/predict", json=ROW, headers=bearer(other))
            assert response.status_code == 202


@pytest.fixture(scope="module")
def api(iris_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("access") / "batchline.db"
    file.write_bytes(iris_template.read_bytes())
    with Service(f"sqlite:///{file}", "api", LOG_LEVEL="DEBUG") as service:
        yield service


def raw(api: Service, request: bytes) -> bytes:
    """The response to a request after which the API closes the connection."""
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_every_response_tells_browsers_what_not_to_do_with_it(api: Service) -> None:
    line = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    requests = {
        200: line + b"\r\n",
        404: line.replace(b"/health/live", b"/nothing") + b"\r\n",
        405: line.replace(b"GET", b"DELETE") + b"\r\n",
        421: line.replace(b"/health/live", b"/items").replace(b"localhost", b"evil") + b"\r\n",
        400: b"no request\r\n\r\n",
        431: line + b"X: y\r\n" * 200 + b"\r\n",
    }
    for status, request in requests.items():
        head = raw(api, request).partition(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 %d " % status), head
        for field in (
            b"cache-control: no-store",
            b"x-content-type-options: nosniff",
            b"x-frame-options: deny",
            b"referrer-policy: no-referrer",
        ):
            assert head.count(field) == 1, (status, field)


def test_a_target_with_a_host_of_its_own_does_not_replace_the_header(api: Service) -> None:
    request = (
        b"GET http://localhost/items HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert raw(api, request).startswith(b"HTTP/1.1 421 ")
    assert raw(api, b"GET /items HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421 ")


def test_a_field_after_the_body_is_not_one_of_the_head(api: Service) -> None:
    """A proxy checks the head and may pass on what follows the body."""
    head = b"POST /predict HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n0\r\n%b\r\n"
    fields = b"Host: localhost\r\nOrigin: http://evil.example\r\n"
    refused = raw(api, head.replace(b"Host: %b\r\n", b"") + body % fields)
    assert refused.startswith(b"HTTP/1.1 421 "), refused  # it has no Host
    read = raw(api, head % b"localhost" + body % fields)
    assert b"invalid_json" in read, read  # neither a second Host nor an Origin


INNER = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 34\r\n\r\n"
INNER += b'{"data": [[5.1, 3.5, 1.4, 0.2]]}  '


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 0\r\n",
        b"Content-Length: 0, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5\r\n 0\r\n",
        b"Transfer-Encoding: identity, chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_a_request_whose_end_is_ambiguous_hides_no_other_request(api: Service, head: bytes) -> None:
    """Two servers could see different ends, and only one of them the second request."""
    request = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n"
    responses = raw(api, request + b"0\r\n\r\n" + INNER)
    assert responses.startswith(b"HTTP/1.1 400 "), responses
    assert responses.count(b"HTTP/1.1 ") == 1


def test_the_body_of_a_refused_request_is_no_request(api: Service) -> None:
    length = b"Content-Length: %d\r\n" % len(INNER)
    for sent, status in (
        (b"Host: evil.example\r\n", 421),
        (b"Host: localhost\r\nOrigin: null\r\n", 403),
    ):
        head = b"POST /predict HTTP/1.1\r\n" + sent + length + b"Connection: close\r\n\r\n"
        responses = raw(api, head + INNER)
        assert responses.startswith(b"HTTP/1.1 %d " % status), responses
        assert responses.count(b"HTTP/1.1 ") == 1


def test_no_key_is_in_the_log(api: Service) -> None:
    """This test comes last, because from now on the API requires keys."""
    keys = [add_key(api.database_url, role) for role in Role] + ["bl_unknown-secret"]
    for key in keys:
        for headers in (bearer(key), {"Authorization": key}, {"Authorization": f"Basic {key}"}):
            for path in ("/predict", f"/items?key={key}", f"/{key}", "/items"):
                api.http.post(path, content=b"{", headers=headers)
                api.http.get(path, headers=headers)
    for line in (b"Authorization: %b", b"\x00%b", b"Authorization : %b"):
        raw(api, b"GET / HTTP/1.1\r\nConnection: close\r\n" + line % keys[0].encode() + b"\r\n\r\n")
    assert "secret" not in api.output
    assert [key for key in keys if key in api.output] == []


def test_auth_off_is_logged(iris_url: str) -> None:
    with Service(iris_url, "api", AUTH="off", HOST="0.0.0.0") as api:
        assert api.http.get("/items").status_code == 200
        assert "AUTH=off: the API requires no keys" in api.output

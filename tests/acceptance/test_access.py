"""Who may send which request, and what everybody else gets."""

import re
import time
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from batchline.api.access import Auth
from batchline.api.app import create_app
from batchline.api.roles import NEEDS, Open, methods_of, routes_of
from batchline.api_keys import Role
from batchline.cli.exposure import listen_if_allowed, log_listening, rules_of
from batchline.configurations import Settings, read_settings
from batchline.constants import KEYS_LIFETIME
from batchline.db.database import Database
from devservers.server import free_port
from tests.api import add_key, api, bearer, revoke_key
from tests.in_process import run_here
from tests.service import IRIS

ROUTES = [
    (method, route.path)
    for route in routes_of(create_app(Settings()))
    for method in methods_of(route)
]
ROW = {"data": [IRIS]}


# Roles -------------------------------------------------------------------------------------------


def test_every_route_has_a_declared_role() -> None:
    assert {f"{method} {path}" for method, path in ROUTES} - set(NEEDS) == set()


def test_each_role_may_use_its_routes_and_no_others(iris_url: str) -> None:
    keys = {role: add_key(iris_url, role) for role in Role}
    unknown = {"nobody": {}, "a stranger": bearer("bl_" + 64 * "0")}
    with api(iris_url) as client:
        for method, path in ROUTES:
            need = NEEDS[f"{method} {path}"]
            address = path.format(item_id=1, name="default")
            for role, key in keys.items():
                status = client.request(method, address, headers=bearer(key)).status_code
                is_allowed = isinstance(need, Open) or role.includes(need)
                assert (status == 403) is not is_allowed, (method, path, role)
                assert status != 401
            for who, headers in unknown.items():
                status = client.request(method, address, headers=headers).status_code
                assert (status == 401) is isinstance(need, Role), (method, path, who)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_method_and_no_spelling_of_a_path_avoids_the_key(iris_url: str, method: str) -> None:
    add_key(iris_url)
    with api(iris_url) as client:
        for path in ("/predict", "/items", "/predict/", "//items", "/%69tems", "/health/../items"):
            response = client.request(method, path, follow_redirects=False)
            assert response.status_code == 401, path


def test_a_path_that_a_pattern_accepts_needs_the_role_of_its_route(iris_url: str) -> None:
    read, write = add_key(iris_url, Role.READ), add_key(iris_url)
    with api(iris_url) as client:
        for path in ("/items%0A", "/predict%0A", "/items", "/predict"):
            assert client.post(path, json=ROW, headers=bearer(read)).status_code == 403, path
        assert client.post("/items%0A", json=ROW, headers=bearer(write)).status_code == 200


def test_the_errors_say_what_to_send(iris_url: str) -> None:
    read = add_key(iris_url, Role.READ)
    with api(iris_url) as client:
        missing = client.post("/predict", json=ROW)
        wrong = client.post("/predict", json=ROW, headers=bearer("bl_guess"))
        denied = client.post("/predict", json=ROW, headers=bearer(read))
    assert (missing.status_code, missing.json()["code"]) == (401, "unauthorized")
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.headers["www-authenticate"] == 'Bearer realm="batchline"'
    assert "Authorization: Bearer KEY" in missing.json()["hint"]
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
    assert "guess" not in wrong.text
    assert (denied.status_code, denied.json()["code"]) == (403, "forbidden")
    assert 'error="insufficient_scope", scope="write"' in denied.headers["www-authenticate"]


# The header --------------------------------------------------------------------------------------


def test_the_scheme_may_have_any_case(iris_url: str) -> None:
    key = add_key(iris_url)
    with api(iris_url) as client:
        for scheme in ("Bearer ", "bearer ", "BEARER  "):
            sent = {"Authorization": f"{scheme}{key} "}
            assert client.post("/predict", json=ROW, headers=sent).status_code == 202


def test_anything_else_in_the_header_is_refused(iris_url: str) -> None:
    key = add_key(iris_url)
    wrong = [
        *(b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwYXNz", b"Token " + key.encode()),
        *(key.encode(), b"Bearer" + key.encode(), b"Bearer\t" + key.encode()),
        *(f"Bearer {key}, Bearer {key}".encode(), f"Bearer {key} x".encode()),
        *(b"Bearer \xff\xfe", f"Bearer {key}é".encode(), f"Bearer {key}".encode("utf-16")),
        *(
            f"Bearer {key.upper()}".encode(),
            f"Bearer {key[:-1]}".encode(),
            f'Bearer "{key}"'.encode(),
        ),
        b"Bearer " + 60_000 * b"x",
    ]
    with api(iris_url) as client:
        for value in wrong:
            response = client.post("/predict", json=ROW, headers={b"authorization": value})
            assert response.status_code == 401, value
            assert key not in response.text


def test_two_headers_are_refused_although_one_has_a_valid_key(iris_url: str) -> None:
    key = add_key(iris_url)
    with api(iris_url) as client:
        for other in (key, "bl_other"):
            headers = [("Authorization", f"Bearer {each}") for each in (key, other)]
            response = client.post("/predict", json=ROW, headers=headers)
            assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
            assert key not in response.text


def test_a_key_in_the_url_is_refused_and_not_repeated(iris_url: str) -> None:
    key = add_key(iris_url)
    with api(iris_url) as client:
        response = client.get(f"/items?access_token={key}")
    assert response.status_code == 401
    assert "in its URL" in response.json()["detail"]
    assert key not in response.text


# When a key is required ---------------------------------------------------------------------------


def test_without_a_key_everything_on_loopback_is_open_until_the_first_one_exists(
    iris_url: str,
) -> None:
    with api(iris_url) as client:
        assert client.post("/predict", json=ROW).status_code == 202
    add_key(iris_url)
    revoke_key(iris_url, "write")
    with api(iris_url) as client:  # a revoked key counts
        assert client.post("/predict", json=ROW).status_code == 401


def test_an_open_api_requires_keys_as_soon_as_it_sees_the_first_one(iris_url: str) -> None:
    with api(iris_url) as client:
        assert client.get("/items").status_code == 200
        key = add_key(iris_url)
        client.state.keys._clock = lambda: time.monotonic() + KEYS_LIFETIME
        assert client.get("/items").status_code == 401
        assert client.get("/items", headers=bearer(key)).status_code == 200
        with closing(Database(iris_url)) as database, database.write() as connection:
            connection.exec_driver_sql("DELETE FROM api_keys")
        client.state.keys._clock = lambda: time.monotonic() + 2 * KEYS_LIFETIME
        assert client.get("/items").status_code == 401  # never open again


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_only_loopback_addresses_need_no_key(iris_url: str, host: str) -> None:
    with closing(Database(iris_url)) as database:
        listen_if_allowed(settings(iris_url, host), database, "api").close()


@pytest.mark.parametrize(("auth", "has_key"), [("on", False), ("off", False), ("auto", True)])
def test_an_api_that_is_protected_listens_anywhere(iris_url: str, auth: str, has_key: bool) -> None:
    if has_key:
        add_key(iris_url)
        revoke_key(iris_url, "write")  # it counts
    with closing(Database(iris_url)) as database:
        listen_if_allowed(settings(iris_url, "0.0.0.0", auth), database, "api").close()


def test_other_machines_need_a_key_although_an_sql_client_deletes_all(iris_url: str) -> None:
    add_key(iris_url)
    found = settings(iris_url, "0.0.0.0")
    with closing(Database(iris_url)) as database:
        with listen_if_allowed(found, database, "api") as listener:
            assert rules_of(found, listener).auth is Auth.ON
        found = settings(iris_url, "127.0.0.1")
        with listen_if_allowed(found, database, "api") as listener:
            assert rules_of(found, listener).auth is Auth.AUTO


def settings(url: str, host: str, auth: str = "auto") -> Settings:
    return read_settings(database_url=url, host=host, port=free_port(), auth=auth)


def test_auth_on_requires_a_key_although_none_exists(iris_url: str) -> None:
    with api(iris_url, auth="on") as client:
        assert client.get("/items").status_code == 401
        assert client.get("/health/ready").status_code == 200
        key = add_key(iris_url)
        assert client.get("/docs").status_code == 200
        headers = bearer(key)
        while (status := client.get("/items", headers=headers).status_code) == 401:
            pass  # an unknown key is looked for once a second
        assert status == 200


def test_auth_off_looks_at_no_key(iris_url: str) -> None:
    add_key(iris_url)
    with api(iris_url, auth="off") as client:
        for headers in ({}, bearer("bl_unknown")):
            assert client.post("/predict", json=ROW, headers=headers).status_code == 202


@pytest.mark.parametrize("command", ["api", "up"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_cannot_reach_an_api_without_keys(
    iris_url: str, command: str, host: str
) -> None:
    done = run_here(command, DATABASE_URL=iris_url, HOST=host, PORT=str(free_port()))
    assert done.returncode == 1
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error == f"error: other machines can reach {host}, and no API key exists"
    assert "`batchline keys create NAME --role write`" in hint
    assert f"`batchline {command} --host {host}`" in hint


@pytest.mark.parametrize(
    ("host", "auth", "says"),
    [
        ("0.0.0.0", "auto", "✗ other machines can reach 0.0.0.0, and no API key exists"),
        ("127.0.0.1", "on", "✗ AUTH=on requires an API key, and no API key exists"),
        ("127.0.0.1", "auto", "✓ access to the API"),
        ("0.0.0.0", "off", "✓ access to the API"),
    ],
)
def test_check_finds_that_no_client_could_use_the_api(
    iris_url: str, host: str, auth: str, says: str
) -> None:
    done = run_here("check", DATABASE_URL=iris_url, HOST=host, AUTH=auth)
    lines = done.stdout.splitlines()
    assert says in lines
    assert done.returncode == says.startswith("✗")
    if done.returncode:
        assert "hint: run `batchline keys create NAME --role" in lines[lines.index(says) + 1]
    add_key(iris_url)
    assert run_here("check", DATABASE_URL=iris_url, HOST=host, AUTH=auth).returncode == 0


@pytest.mark.parametrize(
    ("host", "auth", "on", "keys"),
    [
        ("127.0.0.1", "auto", "http://127.0.0.1:{port}", "none, since none exists"),
        ("::1", "on", "http://[::1]:{port}", "required"),
        ("0.0.0.0", "off", "port {port} of every address of this machine", "off"),
    ],
)
def test_the_api_logs_where_it_listens_and_whether_it_requires_keys(
    iris_url: str, host: str, auth: str, on: str, keys: str
) -> None:
    chosen = settings(iris_url, host, auth)
    with (
        closing(Database(iris_url)) as database,
        listen_if_allowed(chosen, database, "api") as listener,
        capture_logs() as logged,
    ):
        log_listening(chosen, database, listener)
        first, *warnings = logged
        assert (first["on"], first["keys"]) == (on.format(port=chosen.port), keys)
        assert [each["log_level"] for each in warnings] == ["warning"] * (auth == "on")
        add_key(iris_url)
        logged.clear()
        log_listening(chosen, database, listener)
        assert [each["keys"] for each in logged] == ["off" if auth == "off" else "required"]


# Hosts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:80", "[::1]:8000"),
        *("[0:0:0:0:0:0:0:1]", "api.example.com", "a.example.org:1", "B.A.EXAMPLE.ORG"),
    ],
)
def test_the_api_answers_to_its_own_names(iris_url: str, host: str) -> None:
    names = "localhost,127.0.0.1,[::1],api.example.com,*.example.org"
    with api(iris_url, allowed_hosts=names) as client:
        assert client.get("/items", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8000", "example.org", ""),
        *("127.0.0.1.nip.io", "localhost@evil.example", "evil.example#localhost", "[::2]"),
        *("xexample.org", "localhost, evil.example", "localhost evil.example", "127.0.0.1:80:80"),
    ],
)
def test_a_name_that_leads_here_but_is_not_the_apis_gets_nothing(iris_url: str, host: str) -> None:
    with api(iris_url, allowed_hosts="localhost,*.example.org") as client:
        for method, path in (("GET", "/items"), ("POST", "/predict"), ("GET", "/openapi.json")):
            response = client.request(method, path, json=ROW, headers={"Host": host})
            assert (response.status_code, response.json()["code"]) == (421, "unknown_host")
        assert client.get("/health/ready", headers={"Host": host}).status_code == 200


def test_two_hosts_are_refused(iris_url: str) -> None:
    with api(iris_url) as client:
        response = client.get("/items", headers=[("Host", "localhost"), ("Host", "localhost")])
        assert response.status_code == 400


def test_with_a_key_the_name_does_not_matter(iris_url: str) -> None:
    key = add_key(iris_url)
    with api(iris_url) as client:
        headers = {"Host": "api.example.com", **bearer(key)}
        assert client.get("/items", headers=headers).status_code == 200


# Browsers ----------------------------------------------------------------------------------------

JSON = "application/json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 202),  # curl -d
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": JSON}, 202),
        ({"Sec-Fetch-Site": "none", "Content-Type": "Application/JSON; charset=utf-8"}, 202),
        ({"Origin": "http://127.0.0.1", "Content-Type": JSON}, 202),
        ({"Origin": "https://app.example", "Content-Type": JSON}, 202),
        (
            {
                "Origin": "https://app.example",
                "Sec-Fetch-Site": "cross-site",
                "Content-Type": JSON,
            },
            202,
        ),
        ({"Sec-Fetch-Site": "cross-site", "Content-Type": JSON}, 403),
        ({"Sec-Fetch-Site": "same-site", "Content-Type": JSON}, 403),
        ({"Origin": "null", "Content-Type": JSON}, 403),
        ({"Origin": "http://127.0.0.1:81", "Content-Type": JSON}, 403),
        ({"Origin": "http://evil.example", "Content-Type": JSON}, 403),
        ({"Origin": "http://evil.example/127.0.0.1", "Content-Type": JSON}, 403),
        ({"Origin": "http://[", "Content-Type": JSON}, 403),
        ({"Origin": "", "Content-Type": JSON}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"}, 415),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": "multipart/form-data; x"}, 415),
        ({"Origin": "http://127.0.0.1", "Content-Type": "text/plain;charset=json"}, 415),
        ({"Origin": "http://127.0.0.1"}, 415),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/items"])
def test_only_pages_of_the_api_and_allowed_ones_register(
    iris_url: str, path: str, headers: dict[str, str], status: int
) -> None:
    with api(iris_url, cors_origins="https://app.example,https://other.example") as client:
        response = client.post(path, content=b'{"data": [[5.1, 3.5, 1.4, 0.2]]}', headers=headers)
        expected = 200 if path == "/items" and status == 202 else status
        assert response.status_code == expected, response.text


def test_an_allowed_page_may_send_a_key_and_read_the_response(iris_url: str) -> None:
    key = add_key(iris_url)
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    asks |= {"Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}
    with api(iris_url, cors_origins="https://app.example") as client:
        preflight = client.request("OPTIONS", "/predict", headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        sent = {"Origin": "https://app.example"}
        for headers, status in ((sent | bearer(key), 202), (sent, 401)):
            response = client.post("/predict", json=ROW, headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "https://app.example"
        refused = client.request(
            "OPTIONS", "/predict", headers=asks | {"Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in refused.headers
    with api(iris_url) as client:
        response = client.get("/items", headers=sent | bearer(key))
        assert "access-control-allow-origin" not in response.headers


# /docs -------------------------------------------------------------------------------------------


def test_the_docs_load_nothing_from_other_hosts(iris_url: str) -> None:
    with api(iris_url) as client:
        page = client.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
        assert len(loaded) == 3
        for address in loaded:
            assert client.get(f"/{address}").status_code == 200, address
        start = client.get("/docs/start.js").text
        assert not re.search(r"https?:|//", page.text + start)
        assert "SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").text


def test_the_openapi_document_says_where_a_key_is_needed() -> None:
    document = create_app(Settings()).openapi()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            need = NEEDS[f"{method.upper()} {path}"]
            needs_key = isinstance(need, Role)
            assert ("security" in operation) is needs_key
            assert ({"401", "403", "429"} <= set(operation["responses"])) is needs_key


# Odd values and outages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("revoked_at", "'garbage'", 401),
        ("revoked_at", "0", 401),
        ("rate", "'abc'", 401),
        ("rate", "-1", 401),
        ("rate", "9e999", 401),
        ("rate", "0", 202),  # the first request, and then one never
        ("rate", "1e-300", 202),
        ("items_per_day", "'x'", 401),
        ("items_per_day", "1.5", 401),
        ("items_per_day", "0", 429),
        ("role", "'ADMIN'", 401),
        ("name", "x'ff'", 202),
        ("created_at", "'garbage'", 202),
    ],
)
def test_an_odd_value_in_the_table_of_keys_harms_no_other_key(
    iris_url: str, column: str, value: str, status: int
) -> None:
    odd, other = add_key(iris_url, name="odd"), add_key(iris_url, name="other")
    with closing(Database(iris_url)) as database, database.write() as connection:
        connection.exec_driver_sql(f"UPDATE api_keys SET {column} = {value} WHERE name = 'odd'")
    with api(iris_url) as client:
        assert client.post("/predict", json=ROW, headers=bearer(odd)).status_code == status
        assert client.get("/items", headers=bearer(odd)).status_code in (200, 401, 429)
        for _ in range(2):
            assert client.post("/predict", json=ROW, headers=bearer(other)).status_code == 202


def test_while_the_keys_cannot_be_read_known_ones_go_on_and_others_get_503(iris_url: str) -> None:
    key = add_key(iris_url)
    with api(iris_url) as client:
        assert client.post("/predict", json=ROW, headers=bearer(key)).status_code == 202
        with closing(Database(iris_url)) as database, database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO away")
        client.state.keys._clock = lambda: time.monotonic() + KEYS_LIFETIME
        assert client.post("/predict", json=ROW, headers=bearer(key)).status_code == 202
        unknown = client.post("/predict", json=ROW, headers=bearer("bl_unknown"))
        assert (unknown.status_code, unknown.json()["code"]) == (503, "database_unavailable")
        assert "retry-after" in unknown.headers
        assert client.post("/predict", json=ROW).status_code == 401

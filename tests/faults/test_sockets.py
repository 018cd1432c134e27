"""Connections that are cut in the middle of a transaction, and COMMITs that are never confirmed."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchline.db.database import Database
from tests import models
from tests.conftest import KINDS
from tests.faults.conftest import Figures
from tests.faults.load import Audit, Registrars, audit, count_pending, key_of, read, settle, store
from tests.faults.proxy import ANYTHING, COMMIT, Fault, Proxy
from tests.jobs import make_job
from tests.service import Command, Service, run, wait_for

SEED = 20261124
PREDICTIONS = rb"(INSERT INTO|COPY) predictions"  # COPY from a hundred rows on, on PostgreSQL
STORE = PREDICTIONS + rb".*"
REGISTRATION = (rb"FROM idempotency_keys", rb"INSERT INTO items", rb"INTO idempotency_keys")
BATCH = (
    rb"FOR UPDATE",
    rb"INSERT INTO claims",
    rb"SELECT items.id, CASE",
    rb"UPDATE items",
    PREDICTIONS,
    rb"DELETE FROM claims",
)


@pytest.fixture(params=[kind for kind in KINDS if kind != "sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url, SEED) as proxy:
        yield proxy


@pytest.fixture
def model(database: Database, tmp_path: Path) -> str:
    """The model that the audit expects, published, so that an API can start without a job."""
    path = models.doubling(tmp_path / "doubling.onnx")
    make_job(database, path)
    return str(path)


def register(service: Service, numbers: range, threads: int = 1) -> Registrars:
    """Clients that have registered these numbers."""
    with Registrars(str(service.http.base_url), threads=threads, numbers=numbers) as clients:
        clients.wait_for_end(patience=1800)
    return clients


# Registrations ---------------------------------------------------------------------------------


def test_a_registration_whose_commit_is_not_confirmed_is_503_and_its_key_finds_the_item(
    database: Database, model: str, proxy: Proxy
) -> None:
    with Service(proxy.url, "api") as api:
        fault = proxy.lose_reply_to(rb"INSERT INTO items.*" + COMMIT)
        headers = {"Idempotency-Key": key_of(1)}
        answer = api.http.post("/predict", json={"data": [[1, 2]]}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "commit_unknown")
        assert fault.struck == 1
        (stored,) = read(database, "SELECT id FROM items")
        for _ in range(3):
            assert register(api, range(1, 2)).acknowledged == {key_of(1): stored[0]}
    assert audit(database, {key_of(1): stored[0]}) == Audit(unfinished=1)


def test_a_connection_cut_before_the_commit_of_a_registration_costs_no_request(
    database: Database, model: str, proxy: Proxy
) -> None:
    acknowledged: dict[str, int] = {}
    with Service(proxy.url, "api") as api:
        for number, statement in enumerate(REGISTRATION, start=1):
            fault = proxy.cut_at(statement)
            clients = register(api, range(number, number + 1))
            assert fault.struck == 1
            assert clients.answers == {"registered": 1}
            acknowledged |= clients.acknowledged
    assert audit(database, acknowledged) == Audit(unfinished=len(REGISTRATION))


# Batches ---------------------------------------------------------------------------------------


def test_a_run_whose_store_is_not_confirmed_looks_it_up(
    database: Database, model: str, proxy: Proxy
) -> None:
    stored = store(database, range(100))
    fault = proxy.lose_reply_to(STORE + COMMIT)
    once = run("job", "--once", DATABASE_URL=proxy.url, MODEL_FILEPATH=model)
    assert fault.struck == 1
    assert (once.returncode, once.stdout) == (0, "100 items predicted, 0 failed\n"), once.stderr
    assert "run failed" not in once.stderr
    assert audit(database, stored) == Audit()


def test_a_job_goes_on_after_stores_that_were_not_confirmed(
    database: Database, model: str, proxy: Proxy
) -> None:
    stored: dict[str, int] = {}
    with Command("job", DATABASE_URL=proxy.url, MODEL_FILEPATH=model, BATCH_WAIT_TIME="0.1") as job:
        for first in range(0, 60, 20):
            fault = proxy.lose_reply_to(STORE + COMMIT)
            stored |= predict_despite(proxy, fault, database, range(first, first + 20))
        assert job.process.poll() is None, job.output
    assert audit(database, stored) == Audit()


def test_a_job_cut_off_at_any_statement_of_a_batch_tears_nothing_and_goes_on(
    database: Database, model: str, proxy: Proxy
) -> None:
    stored: dict[str, int] = {}
    with Command("job", DATABASE_URL=proxy.url, MODEL_FILEPATH=model, BATCH_WAIT_TIME="0.1") as job:
        for place, statement in enumerate(BATCH):
            fault, first = proxy.cut_at(statement), 20 * place
            stored |= predict_despite(proxy, fault, database, range(first, first + 20))
        assert job.process.poll() is None, job.output
    assert audit(database, stored) == Audit()


def predict_despite(
    proxy: Proxy, fault: Fault, database: Database, numbers: range
) -> dict[str, int]:
    """Register these, and return when a running job has predicted them and met the fault.

    All connections are cut first, for psycopg prepares what it sends often, and the name of a
    prepared statement is no pattern. It is one more fault that the job must survive.
    """
    proxy.cut_all()
    stored = store(database, numbers)
    wait_for(lambda: count_pending(database) == 0, "the last prediction")
    assert fault.struck == 1
    return stored


# Load ------------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
def test_connections_cut_at_random_under_load_lose_double_and_tear_nothing(
    database: Database,
    database_kind: str,
    model: str,
    proxy: Proxy,
    long: bool,
    figures: Figures,
) -> None:
    count = 5_000 if long else 400
    settings = {"MODEL_FILEPATH": model, "BATCH_WAIT_TIME": "0.1"}
    with Service(proxy.url, **settings) as service:
        before = register(service, range(1, 2)).acknowledged
        settle(database)  # now the job has started too
        faults = [
            proxy.cut_at(ANYTHING, chance=0.02, times=math.inf),
            proxy.lose_reply_to(COMMIT, chance=0.1, times=math.inf),
        ]
        clients = register(service, range(2, count + 1), threads=8)
        proxy.heal()
        settle(database, patience=120)
        assert service.process.poll() is None, service.output
    found = audit(database, before | clients.acknowledged)
    figures(
        "sockets cut",
        database_kind,
        cuts=sum(fault.struck for fault in faults),
        replies_lost=faults[1].struck,
        commits_unknown=clients.answers["commit_unknown"],
        registered=len(clients.acknowledged),
        lost=found.lost,
        doubled=found.doubled,
        torn=found.torn,
        seed=SEED,
    )
    assert found == Audit()
    assert all(fault.struck for fault in faults)

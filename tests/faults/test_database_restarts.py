"""The database server is killed, again and again, while clients register and the job predicts."""

import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from batchline.db.database import Database
from devservers import Server
from tests import models
from tests.conftest import KINDS, Servers
from tests.faults.conftest import Figures
from tests.faults.load import Audit, Registrars, audit, read, settle
from tests.service import Service, wait_for

SEED = 20261124
SERVERS = [kind for kind in KINDS if kind != "sqlite"]


@dataclass
class Recovery:
    """Seconds from the moment when the server answered again, for each kill."""

    to_registration: list[float] = field(default_factory=list)
    to_prediction: list[float] = field(default_factory=list)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SERVERS)
def test_a_database_killed_under_load_loses_and_doubles_nothing_and_the_service_recovers(
    kind: str, servers: Servers, tmp_path: Path, long: bool, figures: Figures
) -> None:
    kills = 20 if long else 2
    server, dice, recovery = servers.get(kind), random.Random(SEED), Recovery()
    url = server.create_database()
    model = str(models.doubling(tmp_path / "doubling.onnx"))
    with Service(url, MODEL_FILEPATH=model, BATCH_WAIT_TIME="0.1") as service:
        with Registrars(str(service.http.base_url)) as clients:
            wait_for(lambda: last_prediction(url), "the first prediction")
            for _ in range(kills):
                clients.wait_for_more(dice.randint(1, 200))
                kill_and_recover(server, url, clients, recovery)
                assert service.process.poll() is None, service.output
        settled = finish(url, service)
        found = audit(settled, clients.acknowledged)
        settled.close()
    figures(
        "database killed",
        kind,
        kills=kills,
        registered=len(clients.acknowledged),
        lost=found.lost,
        doubled=found.doubled,
        torn=found.torn,
        recovery_seconds_median=round(statistics.median(recovery.to_registration), 2),
        recovery_seconds_max=round(max(recovery.to_registration), 2),
        prediction_seconds_median=round(statistics.median(recovery.to_prediction), 2),
        prediction_seconds_max=round(max(recovery.to_prediction), 2),
        seed=SEED,
    )
    assert found == Audit()
    server.drop_database(url)


def kill_and_recover(server: Server, url: str, clients: Registrars, recovery: Recovery) -> None:
    """One kill, until items are registered and predicted again; the clients never pause."""
    refused = refusals(clients)
    server.kill()
    try:
        wait_for(lambda: refusals(clients) >= refused + len(clients), "each client's refusal")
        acknowledged = len(clients.acknowledged)
    finally:
        server.restart()
    began = time.monotonic()
    predicted = last_prediction(url)
    wait_for(lambda: len(clients.acknowledged) > acknowledged, "a registration")
    recovery.to_registration.append(time.monotonic() - began)
    wait_for(lambda: last_prediction(url) > predicted, "a prediction")
    recovery.to_prediction.append(time.monotonic() - began)


def refusals(clients: Registrars) -> int:
    return sum(clients.answers.values()) - clients.answers["registered"]


def last_prediction(url: str) -> int:
    """The highest id; over a connection of its own, for a kill ends whatever is kept open."""
    database = Database(url)
    try:
        return int(read(database, "SELECT coalesce(max(id), 0) FROM predictions")[0][0])
    finally:
        database.close()


def finish(url: str, service: Service) -> Database:
    """The database, when the service has predicted everything."""
    database = Database(url)
    settle(database, patience=120)
    assert service.process.poll() is None, service.output
    return database

"""The deployment files agree with the code, with each other and with the documentation."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from batchline import __version__
from batchline.api_keys import is_key
from batchline.configurations import SECRETS, Settings
from tests.conftest import Servers, Templates
from tests.in_process import run_here
from tests.test_monitoring import promtool

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
CONTINUOUS = ROOT / "deploy" / "continuous"
KEDA = ROOT / "deploy" / "keda"
PROMETHEUS = ROOT / "deploy" / "prometheus"
IMAGE = "batchline"
SERVED_BY_KUBERNETES = {"ConfigMap", "CronJob", "Deployment", "Job", "Secret", "Service"}
OF_EXTENSIONS = {"Kustomization", "PodMonitor", "RayJob", "ScaledObject", "TriggerAuthentication"}
"""Kinds of objects that Kubernetes alone does not know."""
SETTINGS = {name.upper() for name in Settings.model_fields} | {
    f"{name.upper()}_FILE" for name in SECRETS
}


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


COMPOSE = _documents(ROOT / "compose.yaml")[0]
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}
OBJECTS = [each for path in sorted(KUBERNETES.glob("*.yaml")) for each in _documents(path)]
[CONTINUOUS_JOB] = _documents(CONTINUOUS / "job.yaml")
KUSTOMIZATION = next(each for each in OBJECTS if each["kind"] == "Kustomization")


def _pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in OBJECTS:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield each["metadata"]["name"], spec["template"]["spec"]


PODS = dict(_pod_specs())
CONTAINERS = {name: container for name, pod in PODS.items() for container in pod["containers"]}
ALL_CONTAINERS = {
    name: [*pod.get("initContainers", ()), *pod["containers"]] for name, pod in PODS.items()
}
COMMANDS = {
    **{f"compose {name}": service["command"] for name, service in OURS.items()},
    **{
        f"kubernetes {name} {container['name']}": container["args"]
        for name, containers in ALL_CONTAINERS.items()
        for container in containers
    },
}
CREATE_KEY = ["keys", "create"]
KEY_OF_KUBERNETES = CONTAINERS["batchline-migrate"]


def _dockerfile(instruction: str) -> list[str]:
    """What follows each `instruction` of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{instruction} +(.+)$", text, re.MULTILINE)


# Compose


def test_compose_runs_the_api_and_the_job_after_the_migration() -> None:
    assert set(SERVICES) == {"mysql", "migrate", "key", "api", "job"}
    assert {name: service["command"][:2] for name, service in OURS.items()} == {
        "migrate": ["db", "upgrade"],
        "key": CREATE_KEY,
        "api": ["api"],
        "job": ["job"],
    }
    conditions = {
        name: {on: what["condition"] for on, what in service["depends_on"].items()}
        for name, service in OURS.items()
    }
    ready = {"mysql": "service_healthy", "migrate": "service_completed_successfully"}
    assert conditions == {
        "migrate": {"mysql": "service_healthy"},
        "key": ready,
        "api": {"mysql": "service_healthy", "key": "service_completed_successfully"},
        "job": ready,
    }
    assert SERVICES["migrate"]["restart"] == SERVICES["key"]["restart"] == "no"


def test_compose_keeps_the_api_key_in_a_volume_that_the_image_s_user_can_write_to() -> None:
    [volume, folder] = SERVICES["key"]["volumes"][0].split(":")
    assert volume in COMPOSE["volumes"]
    assert f"chown 10001:10001 {folder}" in " ".join(_dockerfile("RUN"))
    command = SERVICES["key"]["command"]
    assert command[command.index("--key-file") + 1] == f"{folder}/api-key"
    guide = (ROOT / "docs" / "howto" / "docker-compose.md").read_text()
    assert f"docker compose run --rm --no-deps --entrypoint cat key {folder}/api-key" in guide


def test_compose_asks_mysql_over_tcp_as_the_user_of_the_services() -> None:
    test = SERVICES["mysql"]["healthcheck"]["test"][1]
    assert "--host=127.0.0.1" in test
    assert '--user="$$MYSQL_USER"' in test
    assert "--password" not in test
    for name in ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_DATABASE"):
        for service in OURS.values():
            assert service["environment"][name] == SERVICES["mysql"]["environment"][name]


def test_compose_offers_the_api_to_this_machine_only() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "ports" not in SERVICES["mysql"]


def test_compose_builds_the_image_once() -> None:
    assert [name for name, service in OURS.items() if "build" in service] == ["migrate"]


@pytest.mark.parametrize(
    ("name", "port", "path"), [("api", "8000", "/health/ready"), ("job", "8001", "/health/live")]
)
def test_compose_health_checks_are_programs_that_ask_the_right_port(
    name: str, port: str, path: str
) -> None:
    kind, python, flag, program = SERVICES[name]["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    compile(program, "healthcheck", "exec")
    assert f'("127.0.0.1", {port}, ' in program
    assert f'"{path}"' in program


def test_compose_offers_the_metrics_of_every_job_to_its_own_network() -> None:
    assert SERVICES["job"]["environment"]["METRICS_PORT"] == "8001"
    assert "ports" not in SERVICES["job"]  # two jobs cannot have one port of the machine


@pytest.mark.parametrize("command", [SERVICES["key"]["command"], KEY_OF_KUBERNETES["args"]])
def test_the_key_of_a_deployment_is_stored_once_however_often_it_is_deployed(
    command: list[str], tmp_path: Path, servers: Servers, templates: Templates
) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    templates("sqlite").copy_to(url, None)
    words = [str(tmp_path / "key") if each.startswith("/") else each for each in command]
    for state in ("is stored with the role write", "is stored already"):
        done = run_here(*words, DATABASE_URL=url)
        assert (done.returncode, done.stdout) == (0, "")
        assert state in done.stderr


# Kubernetes


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "deploy").rglob("*.yaml"))
        if any(each.get("kind") in SERVED_BY_KUBERNETES for each in _documents(path))
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_accepts_every_manifest_and_knows_every_field(path: Path, version: str) -> None:
    for each in _documents(path):
        if each["kind"] in SERVED_BY_KUBERNETES:
            kubernetes_validate.validate(each, version, strict=True)


def test_every_kind_of_object_is_known() -> None:
    kinds = {
        each["kind"]
        for path in (ROOT / "deploy").rglob("*.yaml")
        for each in _documents(path)
        if "kind" in each
    }
    assert kinds == SERVED_BY_KUBERNETES | OF_EXTENSIONS


def test_kubernetes_runs_every_role() -> None:
    assert {
        name: [container["args"][:2] for container in containers]
        for name, containers in ALL_CONTAINERS.items()
    } == {
        "batchline-migrate": [["db", "upgrade"], CREATE_KEY],
        "batchline-api": [["api"]],
        "batchline-job": [["job", "--once"]],
    }


def test_kubernetes_stores_the_key_of_its_secret_which_the_image_s_user_and_no_other_reads() -> (
    None
):
    pod, container = PODS["batchline-migrate"], CONTAINERS["batchline-migrate"]
    file = Path(container["args"][container["args"].index("--key-file") + 1])
    [mount] = [e for e in container["volumeMounts"] if e["mountPath"] == str(file.parent)]
    [volume] = [each["secret"] for each in pod["volumes"] if each["name"] == mount["name"]]
    [secret] = [e for e in OBJECTS if e.get("metadata", {}).get("name") == volume["secretName"]]
    assert not is_key(secret["stringData"][file.name])  # an example that is applied is refused
    assert volume["defaultMode"] & 0o007 == 0
    assert str(pod["securityContext"]["fsGroup"]) == _dockerfile("USER")[-1].partition(":")[2]
    others = [PODS["batchline-api"], PODS["batchline-job"]]
    assert all(volume["secretName"] not in str(each) for each in others)


@pytest.mark.parametrize("name", PODS)
def test_pods_can_neither_be_root_nor_write_nor_get_variables_from_services(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["enableServiceLinks"] is False  # MYSQL_PORT=tcp://… would be refused
    for container in ALL_CONTAINERS[name]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_api_gets_requests_while_ready_and_is_restarted_only_when_it_does_not_answer() -> None:
    api = CONTAINERS["batchline-api"]
    assert api["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert api["livenessProbe"]["httpGet"]["path"] == "/health/live"
    start = api["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > Settings().database_wait


def test_the_service_finds_the_api_and_nothing_else() -> None:
    service = next(each for each in OBJECTS if each["kind"] == "Service")
    found = [
        each["metadata"]["name"]
        for each in OBJECTS
        if each["kind"] == "Deployment"
        and service["spec"]["selector"].items()
        <= each["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert found == ["batchline-api"]
    ports = {port["name"] for port in CONTAINERS["batchline-api"]["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports


def test_one_batch_of_the_cron_job_at_a_time_and_none_for_ever() -> None:
    spec = next(each for each in OBJECTS if each["kind"] == "CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("name", PODS)
def test_config_maps_and_secrets_that_pods_name_exist(name: str) -> None:
    configs = {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "ConfigMap"}
    secrets = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == "Secret"}
    volumes = {each["name"]: each["secret"]["secretName"] for each in PODS[name]["volumes"]}
    for container in ALL_CONTAINERS[name]:
        for source in container["envFrom"]:
            assert source["configMapRef"]["name"] in configs
        files = {
            f"{mount['mountPath']}/{key}"
            for mount in container["volumeMounts"]
            for key in secrets[volumes[mount["name"]]]["stringData"]
        }
        named = {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
        named |= {each for each in container["args"] if each.startswith("/")}
        assert named == files


def test_the_kustomization_lists_every_manifest_but_the_example_secret() -> None:
    files = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert files - set(KUSTOMIZATION["resources"]) == {"kustomization.yaml", "secret.example.yaml"}


def test_the_kustomization_deploys_this_version() -> None:
    assert KUSTOMIZATION["images"] == [{"name": IMAGE, "newName": IMAGE, "newTag": __version__}]


# A job that goes on, and KEDA


def test_a_continuous_job_is_the_pod_of_the_cron_job_with_a_schedule_probes_and_metrics() -> None:
    pod = deepcopy(CONTINUOUS_JOB["spec"]["template"]["spec"])
    [container] = pod.pop("containers")
    once = {**PODS["batchline-job"]}
    [expected] = once.pop("containers")
    del once["restartPolicy"]  # a Deployment always restarts
    assert pod == once
    assert container.pop("args") == ["job"]
    assert container["env"].pop(0) == {"name": "BATCH_WAIT_TIME", "value": "5"}
    port = container["env"].pop(0)
    assert port["name"] == "METRICS_PORT"
    assert container.pop("ports") == [{"name": "metrics", "containerPort": int(port["value"])}]
    assert container.pop("livenessProbe")["httpGet"] == {"path": "/health/live", "port": "metrics"}
    assert container == {name: value for name, value in expected.items() if name != "args"}
    assert "replicas" not in CONTINUOUS_JOB["spec"]  # KEDA or the operator sets it


def test_the_continuous_job_replaces_the_cron_job() -> None:
    [kustomization] = _documents(CONTINUOUS / "kustomization.yaml")
    assert {*kustomization["resources"]} == {"../kubernetes", "job.yaml"}
    assert kustomization["images"] == KUSTOMIZATION["images"]
    removed = yaml.safe_load(kustomization["patches"][0]["patch"])
    cron_job = next(each for each in OBJECTS if each["kind"] == "CronJob")
    assert (removed["kind"], removed["metadata"]["name"]) == (
        "CronJob",
        cron_job["metadata"]["name"],
    )


def test_keda_scales_the_continuous_job() -> None:
    [kustomization] = _documents(KEDA / "kustomization.yaml")
    assert {*kustomization["resources"]} == {"../continuous", "scaledobject.yaml"}
    assert kustomization["images"] == KUSTOMIZATION["images"]
    scaled, _ = _documents(KEDA / "scaledobject.yaml")
    assert scaled["spec"]["scaleTargetRef"] == {"name": CONTINUOUS_JOB["metadata"]["name"]}


def test_keda_asks_the_database_of_the_config_map() -> None:
    scaled, authentication = _documents(KEDA / "scaledobject.yaml")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    [reference] = authentication["spec"]["secretTargetRef"]
    secrets = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == "Secret"}
    secret = secrets[reference["name"]]
    assert reference["key"] in secret["stringData"]
    [config] = [each["data"] for each in OBJECTS if each["kind"] == "ConfigMap"]
    asked = trigger["metadata"]
    assert asked["host"].split(".")[0] == config["MYSQL_SERVER"]
    assert (asked["port"], asked["username"], asked["dbName"]) == tuple(
        config[name] for name in ("MYSQL_PORT", "MYSQL_USER", "MYSQL_DATABASE")
    )


# Prometheus


def test_the_guide_s_command_makes_a_rule_of_the_prometheus_operator_of_the_alerts() -> None:
    guide = (ROOT / "docs" / "howto" / "kubernetes.md").read_text()
    [command] = re.findall(r"^    (\(printf .*?\)) \| kubectl apply -f -$", guide, re.M | re.S)
    made = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, check=True).stdout
    rule = yaml.safe_load(made)
    assert (rule["kind"], rule["metadata"]) == ("PrometheusRule", {"name": "batchline"})
    assert rule["spec"] == yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())


def test_the_guide_s_second_database_user_of_compose_only_migrates() -> None:
    services = yaml.safe_load(_blocks_of_the_compose_guide()[1])["services"]
    assert services.keys() == {"mysql", "migrate"} <= SERVICES.keys()
    owner = services["migrate"]["environment"]
    assert owner == services["mysql"]["environment"]
    assert owner.keys() <= SERVICES["migrate"]["environment"].keys()
    assert owner["MYSQL_USER"] != SERVICES["api"]["environment"]["MYSQL_USER"]


def test_the_guide_s_commands_take_mysql_out_of_the_manifests_for_postgresql(
    tmp_path: Path,
) -> None:
    guide = (ROOT / "docs" / "howto" / "kubernetes.md").read_text()
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for command in re.findall(r"^    (sed -i .*)$", guide, re.MULTILINE):
        subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    for folder in ("kubernetes", "continuous"):
        for path in (tmp_path / "deploy" / folder).glob("*.yaml"):
            for document in _documents(path):
                assert "MYSQL_" not in yaml.safe_dump(document)
    pod = _documents(tmp_path / "deploy" / "kubernetes" / "api.yaml")[0]["spec"]["template"]["spec"]
    [secret] = pod["containers"][0]["env"]
    assert secret == {
        "name": "DATABASE_URL_FILE",
        "value": "/run/secrets/batchline/database-url",
    }


def test_prometheus_next_to_compose_finds_the_api_and_the_jobs(tmp_path: Path) -> None:
    override, config = map(yaml.safe_load, _blocks_of_the_compose_guide()[2:])
    [added] = override["services"].values()
    [scrape] = config["scrape_configs"]
    [folder] = [each.split(":")[1] for each in added["volumes"] if each.startswith("keys:")]
    written = SERVICES["key"]["command"][-1]
    assert scrape["authorization"]["credentials_file"] == f"{folder}/{Path(written).name}"
    found = {each["names"][0]: each["port"] for each in scrape["dns_sd_configs"]}
    assert found == {"api": 8000, "job": int(SERVICES["job"]["environment"]["METRICS_PORT"])}
    assert {*found} <= OURS.keys()
    shutil.copy(PROMETHEUS / "alerts.yaml", tmp_path)
    scrape["authorization"]["credentials_file"] = "api-key"
    (tmp_path / "api-key").touch()
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    promtool("check", "config", tmp_path / "prometheus.yaml")


def _blocks_of_the_compose_guide() -> list[str]:
    text = (ROOT / "docs" / "howto" / "docker-compose.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_prometheus_scrapes_every_port_with_metrics_with_the_key_of_the_guide() -> None:
    [monitor] = _documents(PROMETHEUS / "podmonitor.yaml")
    asked = monitor["spec"]["podMetricsEndpoints"]
    [job] = CONTINUOUS_JOB["spec"]["template"]["spec"]["containers"]
    served = [port["name"] for each in (CONTAINERS["batchline-api"], job) for port in each["ports"]]
    assert [each["port"] for each in asked] == served
    assert {each["path"] for each in asked} == {"/metrics"}
    labels = CONTINUOUS_JOB["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    guide = (ROOT / "docs" / "howto" / "kubernetes.md").read_text()
    for key in (each["authorization"]["credentials"] for each in asked):
        assert f"secret generic {key['name']} --from-file={key['key']}=" in guide


# Ray

RAY_JOB = _documents(ROOT / "deploy" / "ray" / "rayjob.yaml")[0]["spec"]
RAY_CLUSTER = RAY_JOB["rayClusterSpec"]
RAY_PODS = [
    group["template"]["spec"]
    for group in (RAY_CLUSTER["headGroupSpec"], *RAY_CLUSTER["workerGroupSpecs"])
]


def test_the_ray_job_runs_a_command_that_exists_with_options_that_it_has() -> None:
    program, *words = RAY_JOB["entrypoint"].partition("||")[0].split()
    assert (program, words[0]) == ("batchline", "predict")
    done = subprocess.run(
        [sys.executable, "-m", "batchline", *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    options = {word for word in words if word.startswith("--")}
    assert {option for option in options if option not in done.stdout} == set()


def test_every_node_of_the_ray_job_reads_the_folder_that_its_command_names() -> None:
    for pod in RAY_PODS:
        [container] = pod["containers"]
        [mount] = container["volumeMounts"]
        assert f" {mount['mountPath']}/" in RAY_JOB["entrypoint"]
        assert [mount["name"]] == [volume["name"] for volume in pod["volumes"]]


def test_the_nodes_of_the_ray_job_have_one_image_and_report_nothing_to_anyone() -> None:
    containers = [pod["containers"][0] for pod in RAY_PODS]
    assert {container["image"] for container in containers} == {f"{IMAGE}-ray"}
    for container in containers:
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
    guide = (ROOT / "docs" / "howto" / "predict-on-ray.md").read_text()
    assert f"`{IMAGE}-ray`" in guide
    assert "`deploy/ray/rayjob.yaml`" in guide


# The image


def test_the_image_does_not_run_as_root() -> None:
    user = _dockerfile("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # a number, or runAsNonRoot refuses it


def test_the_image_installs_hashed_requirements_only() -> None:
    installs = [run for run in _dockerfile("RUN") if " install " in run]
    assert any("--require-hashes --requirement requirements.txt" in run for run in installs)
    for run in installs:
        assert "--require-hashes" in run or "--no-deps --no-build-isolation" in run


def test_the_image_gets_what_it_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copies = [line.split()[:-1] for line in _dockerfile("COPY") if "--from" not in line]
    copied = {source for sources in copies for source in sources}
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_listens_where_its_port_can_be_published() -> None:
    assert any("HOST=0.0.0.0" in line for line in _dockerfile("ENV"))
    assert _dockerfile("EXPOSE") == [str(Settings.model_fields["port"].default)]


def test_the_image_reports_nothing_to_anyone() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in _dockerfile("ENV")


# All of them


@pytest.mark.parametrize("where", COMMANDS)
def test_commands_exist(where: str) -> None:
    command = [sys.executable, "-m", "batchline", *COMMANDS[where], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_variables_are_settings() -> None:
    named: dict[str, set[str]] = {
        **{f"compose {name}": set(service["environment"]) for name, service in OURS.items()},
        **{
            f"kubernetes {name}": {each["name"] for one in containers for each in one["env"]}
            for name, containers in ALL_CONTAINERS.items()
        },
        "continuous job": {
            each["name"]
            for one in CONTINUOUS_JOB["spec"]["template"]["spec"]["containers"]
            for each in one["env"]
        },
        **{
            f"ConfigMap {each['metadata']['name']}": set(each["data"])
            for each in OBJECTS
            if each["kind"] == "ConfigMap"
        },
    }
    unknown = {where: names - SETTINGS for where, names in named.items() if names - SETTINGS}
    assert not unknown


def test_the_image_has_one_name() -> None:
    assert {service["image"] for service in SERVICES.values()} == {"mysql:9", IMAGE}
    assert {one["image"] for containers in ALL_CONTAINERS.values() for one in containers} == {IMAGE}


def test_the_documentation_names_every_manifest() -> None:
    guides = ROOT / "docs" / "howto"
    text = "".join((guides / f"{name}.md").read_text() for name in ("docker-compose", "kubernetes"))
    files = (path.name for folder in (KUBERNETES, CONTINUOUS) for path in folder.glob("*.yaml"))
    for name in ("Dockerfile", "compose.yaml", *files):
        assert f"`{name}`" in text


def test_the_documentation_s_override_keeps_the_password_out_of_the_environment() -> None:
    override = yaml.safe_load(_blocks_of_the_compose_guide()[0])
    assert set(override["services"]) == set(SERVICES)
    for service in override["services"].values():
        file = service["environment"]["MYSQL_PASSWORD_FILE"]
        assert file.removeprefix("/run/secrets/") in service["secrets"]
        assert service["environment"]["MYSQL_PASSWORD"] == ""

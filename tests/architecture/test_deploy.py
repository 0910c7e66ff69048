"""The deployment runs the image that was built: a service for every context, none as root, and a broker that syncs."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.access.directory import apply
from shared.access.login import login
from shared.access.of_system import users_of
from shared.access.server import rights_file
from shared.adapters.jetstream import connect
from shared.config.connection import find_connection
from shared.config.settings import Settings
from shared.run.server import local_server

ROOT = Path(__file__).parents[2]
CONTEXTS = sorted(path.parent.name for path in ROOT.glob("contexts/*/worker.py"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
ONE_SHOTS = {"access-keys", "cli", "nats-volume", "streams-apply"}
ROLES_OF_CLI = ("operator", "producer", "tester")
NATS_SERVER = Path(sys.executable).with_name("nats-server")


def service_of(context: str) -> dict[str, Any]:
    """The service of a context; a failing check says what to do when it has none yet."""
    assert context in SERVICES, f"docker-compose.yml has no service {context}: copy the service of another context"
    service: dict[str, Any] = SERVICES[context]
    return service


def seeds_of(user: str) -> dict[str, Any]:
    """The mount of the directory with the seed of one user, and of no other."""
    mount = {"type": "volume", "source": "access", "target": "/run/access", "read_only": True}
    return {**mount, "volume": {"subpath": user}}


def test_every_context_has_its_service_and_every_service_its_context() -> None:
    services = SERVICES.keys() - ONE_SHOTS - {"nats"}
    assert set(CONTEXTS) - services == set(), "docker-compose.yml: copy the service of another context for these"
    assert services - set(CONTEXTS) == set(), "docker-compose.yml: take these services away, they have no context"


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_worker_has_its_own_volume_and_says_whether_it_lives(context: str) -> None:
    service = service_of(context)
    assert service["command"] == ["worker", context]
    assert service["volumes"] == [f"{context}-data:/var/lib/chorus", seeds_of(context)]
    assert f"{context}-data" in COMPOSE["volumes"], f"docker-compose.yml: add the volume {context}-data"
    assert service["healthcheck"]["test"] == ["CMD", "chorus", "health", context]
    assert service["stop_grace_period"] == "15s"
    assert service["depends_on"] == {"streams-apply": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_write_its_image_or_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"nats-volume", "access-keys"}))
def test_nobody_who_speaks_on_the_network_is_root(name: str) -> None:
    assert SERVICES[name]["user"].split(":")[0] not in ("0", "root")


def test_the_one_root_has_no_network_and_may_only_give_the_volume_away() -> None:
    service = SERVICES["nats-volume"]
    assert (service["network_mode"], service["cap_add"]) == ("none", ["CHOWN"])
    assert service["entrypoint"] == ["chown", SERVICES["nats"]["user"], "/data"]


def test_the_keys_are_made_without_a_network_and_each_container_mounts_those_of_its_user() -> None:
    service = SERVICES["access-keys"]
    assert (service["network_mode"], service["cap_add"]) == ("none", ["CHOWN"])
    assert service["volumes"] == ["access:/access"]
    assert seeds_of("operator") in SERVICES["streams-apply"]["volumes"]
    assert SERVICES["cli"]["volumes"] == [seeds_of("cli")]
    assert {*SERVICES["nats"]["depends_on"]} == {"access-keys", "nats-volume"}
    (script,) = service["command"]
    assert f"for role in {' '.join(ROLES_OF_CLI)}; do" in script


def test_the_script_of_the_keys_gives_each_user_its_seed(tmp_path: Path) -> None:
    """Run as it is, but for the owners, which only root may give."""
    (script,) = SERVICES["access-keys"]["command"]
    script = script.replace("$$", "$").replace("/access", str(tmp_path / "access"))
    script = script.replace("--owner=10001 --group=10001", "").replace(f"chorus {tmp_path}/access", "chorus access")
    chorus = Path(sys.executable).parent
    environ = {"PATH": f"{chorus}:/usr/bin:/bin"}
    subprocess.run(["sh", "-euc", script], check=True, env=environ, capture_output=True, timeout=60)
    access = tmp_path / "access"
    users = [user.name for user in users_of(Settings())]
    assert {path.name for path in access.iterdir()} == {"all", "cli", "nats", *users}
    assert {user: [file.name for file in (access / user).iterdir()] for user in users} == {
        user: [f"{user}.nk"] for user in users
    }
    assert {file.name for file in (access / "nats").iterdir()} == {"rights.conf", "users.conf"}
    assert {file.name for file in (access / "cli").iterdir()} == {f"{role}.nk" for role in ROLES_OF_CLI}


def test_ports_are_published_to_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_the_image_runs_as_the_user_of_its_services_and_checks_its_health() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    users = {service_of(context)["user"] for context in CONTEXTS}
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == list(users)
    assert re.search(r"^HEALTHCHECK .*\bCMD \[.chorus., .health.", dockerfile, re.MULTILINE)


def test_the_group_in_the_image_is_that_of_its_services() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    made = re.search(r"groupadd .*--gid (\d+) chorus.*useradd .*--uid (\d+) --gid (\d+) ", dockerfile, re.DOTALL)
    assert made is not None
    assert {service_of(context)["user"] for context in CONTEXTS} == {f"{made[2]}:{made[3]}"}
    assert made[1] == made[3]


def test_one_service_builds_the_image_and_the_workers_take_it() -> None:
    """Otherwise each build replaces the image of the others, and the next `up` recreates every worker."""
    assert [name for name, service in SERVICES.items() if "build" in service] == ["access-keys"]
    assert "pull_policy" not in SERVICES["access-keys"]
    for context in CONTEXTS:
        assert (service_of(context)["image"], service_of(context)["pull_policy"]) == ("chorus", "never")
        assert "streams-apply" in service_of(context)["depends_on"]


def test_no_container_makes_an_anonymous_volume() -> None:
    (declared,) = re.findall(r"^VOLUME (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in SERVICES.items():
        if service["image"] == "chorus":
            mounts = [mount.split(":")[0] for mount in service["tmpfs"]]
            mounts += [volume.split(":")[1] for volume in service.get("volumes", []) if isinstance(volume, str)]
            assert declared in mounts, name


def until_ready(log: Iterable[str]) -> Iterator[str]:
    """The lines that a server prints until it can be used, or all of them when it gives up."""
    for line in log:
        yield line
        if "Server is ready" in line:
            return


def test_rights_for_the_server_are_what_the_code_says() -> None:
    text = (ROOT / "deploy/nats/rights.conf").read_text()
    assert text == rights_file(users_of(Settings())), "run chorus access export > deploy/nats/rights.conf"


def test_the_broker_s_configuration_syncs_what_it_acknowledges(tmp_path: Path) -> None:
    options = ["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1", "--store_dir", str(tmp_path)]
    shutil.copytree(ROOT / "deploy/nats", tmp_path / "etc")
    apply(tmp_path / "etc/access", users_of(Settings()))
    command = [str(NATS_SERVER), "--config", str(tmp_path / "etc/secure.conf"), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            log = "".join(until_ready(server.stderr))
            monitor = re.search(r"http monitor on (127\.0\.0\.1:\d+)", log)
            assert monitor is not None, log
            varz = json.load(urllib.request.urlopen(f"http://{monitor[1]}/varz", timeout=5))
        finally:
            server.terminate()
    assert varz["jetstream"]["config"]["sync_always"] is True
    assert varz["auth_required"] is True
    assert Path(varz["jetstream"]["config"]["store_dir"]).is_relative_to(tmp_path)
    assert SERVICES["nats"]["command"][-2:] == ["--store_dir", "/data"]
    assert "nats-data:/data" in SERVICES["nats"]["volumes"]


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(ROOT / "deploy/systemd/chorus-worker@.service")
    return parser


def test_the_unit_waits_until_ready_watches_and_drains() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("/chorus worker %i")
    assert (service["Type"], service["WatchdogSec"], service["KillSignal"]) == ("notify", "10s", "SIGTERM")
    assert service["RestartPreventExitStatus"] == "64 77 78 243"


def test_every_worker_asks_the_monitor_whether_the_server_syncs() -> None:
    port = re.search(r"^http_port: (\d+)$", (ROOT / "deploy/nats/nats.conf").read_text(), re.MULTILINE)
    assert port is not None
    text = (ROOT / "deploy/systemd/chorus-worker@.service").read_text()
    assert f"\nEnvironment=CHORUS_MONITOR_URL=http://127.0.0.1:{port[1]}\n" in text
    asked = {service_of(context)["environment"]["CHORUS_MONITOR_URL"] for context in CONTEXTS}
    assert asked == {f"http://nats:{port[1]}"}


def test_the_unit_runs_as_nobody_special_with_credentials_of_its_own() -> None:
    service = unit()["Service"]
    assert service["User"] not in ("", "root")
    assert service["LoadCredential"] == "%i.nk:/etc/chorus/access/%i.nk"
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")


def test_the_unit_tells_where_its_seed_comes_from_and_that_it_may_be_empty() -> None:
    head, _, _ = (ROOT / "deploy/systemd/chorus-worker@.service").read_text().partition("[Unit]")
    assert "chorus access apply --out\n# /etc/chorus/access" in head
    assert "install -D -m 0600 /dev/null\n# /etc/chorus/access/ordering.nk" in head
    assert "\nEnvironment=CHORUS_ACCESS_DIR=%d\n" in (ROOT / "deploy/systemd/chorus-worker@.service").read_text()


async def test_empty_seed_is_enough_where_the_server_has_no_users(tmp_path: Path) -> None:
    (tmp_path / "ordering.nk").touch(mode=0o400)
    async with local_server(tmp_path / "nats") as server:
        options = login(find_connection({"NATS_URL": server.url, "HOME": str(tmp_path)}), "ordering", tmp_path)
        await (await connect(options, name="tests")).close()


async def test_seed_is_no_hindrance_where_the_server_has_no_users(tmp_path: Path) -> None:
    apply(tmp_path / "access", users_of(Settings()))
    async with local_server(tmp_path / "nats") as server:
        found = find_connection({"NATS_URL": server.url, "HOME": str(tmp_path)})
        options = login(found, "ordering", tmp_path / "access")
        await (await connect(options, name="tests")).close()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    """Its lines about other units, and about a command that is not installed here, do not count."""
    copy = tmp_path / "chorus-worker@ordering.service"
    copy.write_text((ROOT / "deploy/systemd/chorus-worker@.service").read_text())
    verified = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert [line for line in verified.stderr.splitlines() if copy.name in line and "/opt/chorus" not in line] == []


KUBERNETES = (ROOT / "deploy/kubernetes/worker.yaml").read_text()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_pod_runs_one_context_with_its_own_seed(context: str) -> None:
    stateful: dict[str, Any] = yaml.safe_load(KUBERNETES.replace("CONTEXT", context))
    pod = stateful["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert worker["args"] == ["worker", context]
    environ = {one["name"]: one["value"] for one in worker["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in worker["volumeMounts"]}
    secrets = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    assert (environ["CHORUS_ACCESS_DIR"], secrets) == (mounts["access"], [f"chorus-access-{context}"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert f"chorus-access-{context} --from-file={context}.nk=" in KUBERNETES.replace("ordering", context)

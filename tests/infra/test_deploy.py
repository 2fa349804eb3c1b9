"""The files for one machine, as far as they can be tried without Docker: they agree with the settings and the tree."""

import asyncio
import os
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml
from typer.core import TyperGroup
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import cli
from infra import queue
from infra.settings import Settings, settings

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "deploy" / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "infra" / "deploy" / "Dockerfile").read_text()
# What the head of compose.yaml asks the operator for.
ANSWERS = {
    "FOOTWORK_SECRET_KEY": "0123456789abcdef" * 4,
    "FOOTWORK_PUBLIC_URL": "https://api.example.com",
    "FOOTWORK_S3_PUBLIC_ENDPOINT": "https://files.example.com",
    "FOOTWORK_SMTP_URL": "smtp://user:password@mail.example.com:587",
    "POSTGRES_PASSWORD": "a1",
    "VALKEY_PASSWORD": "b2",
    "S3_ACCESS_KEY": "c3",
    "S3_SECRET_KEY": "d4",
}
ROLES = {"migrate", "api", "worker", "deliveries", "clock"}


def test_every_value_asked_for_is_named_at_its_head_and_none_has_a_default() -> None:
    text = (ROOT / "infra" / "deploy" / "compose.yaml").read_text()
    head = text[: text.index("name: footwork")]
    asked = re.findall(r"(?<!\$)\$\{(\w+)(:\?)?", text)
    assert {name for name, _ in asked} == ANSWERS.keys()
    assert all(required for _, required in asked)
    assert all(name in head for name in ANSWERS)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_settings_accept_what_each_role_gets(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FOOTWORK_")]:
        monkeypatch.delenv(name)
    for name, value in COMPOSE["services"][role]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{(\w+):\?\}", lambda found: ANSWERS[found[1]], value))
    settings.cache_clear()
    try:
        accepted = settings()  # an unknown name is refused as well
    finally:
        settings.cache_clear()
    assert isinstance(accepted, Settings)
    assert accepted.env == "production"


def test_each_role_is_a_command_of_the_program() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    for role in ROLES:
        assert COMPOSE["services"][role]["command"][0] in group.commands


def test_every_lane_has_a_worker() -> None:
    commands = [service["command"] for service in COMPOSE["services"].values() if service.get("command")]
    assert {command[2] for command in commands if command[:2] == ["work", "--lane"]} == set(queue.LANES)


def test_what_a_service_waits_for_exists_and_can_tell() -> None:
    for service in COMPOSE["services"].values():
        for other, how in service.get("depends_on", {}).items():
            assert other in COMPOSE["services"]
            assert how["condition"] != "service_healthy" or "healthcheck" in COMPOSE["services"][other]


def test_nothing_is_open_to_the_outside_and_all_data_has_a_volume() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service.get("volumes", ())), name
        assert name in ROLES or service["volumes"]


def test_callers_behind_the_proxy_of_the_machine_are_told_apart() -> None:
    trusted = COMPOSE["services"]["api"]["environment"]["FOOTWORK_TRUSTED_PROXIES"]
    seen: list[str] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    behind = ProxyHeadersMiddleware(note, trusted)
    for gateway, said in (
        ("172.18.0.1", b"198.51.100.7"),
        ("192.168.16.1", b"6.6.6.6, 198.51.100.8"),
        ("8.8.8.8", b"::1"),
    ):
        scope = {"type": "http", "client": (gateway, 1), "headers": [(b"x-forwarded-for", said)]}
        asyncio.run(behind(cast(Any, scope), cast(Any, None), cast(Any, None)))
    assert seen == ["198.51.100.7", "198.51.100.8", "8.8.8.8"]


def test_the_image_has_every_package_of_the_program() -> None:
    packages = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    allowed = set(
        re.findall(r"^!(\w+)$", (ROOT / "infra" / "deploy" / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    )
    assert copied == packages
    assert packages <= allowed

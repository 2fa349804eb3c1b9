"""The lock file: complete hashes, and nobody's package index in it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [re.sub(r"\s*\\\n\s*", " ", pin) for pin in re.split(r"\n(?=\S)", LOCK.strip())]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_names_no_host_and_no_folder() -> None:
    for word in ("://", "--find-links", "--extra-index-url", "--index-url", "--trusted-host", " @ ", "file:"):
        assert word not in LOCK


def test_every_pin_is_exact_and_hashed() -> None:
    assert len(PINS) > 50
    for pin in PINS:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ;]+( ; [^\\]+?)?( --hash=sha256:[0-9a-f]{64})+$", pin), pin


def test_it_has_everything_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = {_normal(re.split(r"[\[<>=!~ ;]", line)[0]) for group in groups for line in group} - {"footwork"}
    assert asked <= {_normal(pin.split("==")[0]) for pin in PINS}


def test_it_has_no_torch() -> None:
    """2 GB for nothing that we run."""
    assert not [pin for pin in PINS if _normal(pin.split("==")[0]) in {"torch", "torchvision", "tensorflow"}]

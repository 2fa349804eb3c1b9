"""Imports go down only: api > quality > jobs > ingest | payouts | tiering > infra."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"


def test_every_import_goes_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_that_goes_up_is_noticed(tmp_path: Path) -> None:
    """The contract itself, on a house with one wrong import; otherwise a typing error in it would pass for order."""
    for package in ("api", "quality", "jobs", "ingest", "payouts", "tiering", "infra"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "infra" / "__init__.py").write_text("import jobs\n")
    (tmp_path / "ingest" / "__init__.py").write_text("import payouts\n")
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "infra is not allowed to import jobs" in done.stdout
    assert "ingest is not allowed to import payouts" in done.stdout


def test_no_package_stands_in_the_way_of_the_real_ones() -> None:
    """A `tests/ingest/__init__.py` would shadow `ingest`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []

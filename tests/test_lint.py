"""The code is typed, tidy and formatted: what `make lint` checks, so that no change passes the tests without it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "arguments", [("mypy",), ("ruff", "check", "."), ("ruff", "format", "--check", ".")], ids=["mypy", "ruff", "format"]
)
def test_it_finds_nothing(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

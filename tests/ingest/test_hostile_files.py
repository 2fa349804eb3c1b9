"""Whatever arrives, the probe answers: with facts or a code, within seconds, in bounded memory, never with an exception."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest import probe
from ingest.breakage import Broken
from ingest.probe import Declared, Inspected, Limits
from tests import hostile

CPU_SECONDS = 3.0


def answer(path: Path, data: bytes, media_type: str) -> Inspected | Broken:
    path.write_bytes(data)
    declared = Declared(size=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type=media_type)
    return probe.inspect(path, declared=declared, limits=Limits())


@pytest.mark.parametrize("part", ["honest", "truncated", "wrong_types", "bombs", "damaged", "polyglots", "fuzzed"])
def test_every_file_gets_the_answer_it_deserves(tmp_path: Path, part: str) -> None:
    wrong = {}
    slow = {}
    for file in getattr(hostile, part)():
        started = time.process_time()
        found = answer(tmp_path / "file", file.data, file.media_type)
        took = time.process_time() - started
        code = found.code.value if isinstance(found, Broken) else hostile.FINE
        if code not in file.expected:
            wrong[file.name] = (code, sorted(file.expected))
        if took > CPU_SECONDS:
            slow[file.name] = took
        if isinstance(found, Broken):
            assert found.detail, file.name
            json.dumps(found.as_json())
        else:
            assert probe.Facts.from_json(json.loads(json.dumps(found.facts.as_json()))) == found.facts, file.name
    assert wrong == {}
    assert slow == {}


def test_the_corpus_has_no_part_that_is_not_tested() -> None:
    tested = test_every_file_gets_the_answer_it_deserves.pytestmark[0].args[1]
    assert [part.__name__ for part in hostile.PARTS] == tested
    names = [file.name for file in hostile.corpus()]
    assert len(names) == len(set(names)) > 300


IN_A_SMALL_PROCESS = """
import hashlib, resource, sys
from pathlib import Path
from ingest import probe

megabytes, path = int(sys.argv[1]), Path(sys.argv[2])
data = path.read_bytes()
declared = probe.Declared(len(data), hashlib.sha256(data).hexdigest(), "image/png")
if megabytes:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = probe.inspect(path, declared=declared, limits=probe.Limits())
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
print(getattr(found, "code", "fine"), grown)
"""


def in_a_small_process(path: Path, megabytes: int = 0) -> tuple[str, int]:
    """What a fresh process says of a PNG, and by how many megabytes it grew."""
    command = [sys.executable, "-c", IN_A_SMALL_PROCESS, str(megabytes), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    code, grown = done.stdout.split()
    return code, int(grown)


@pytest.mark.parametrize(
    ("width", "height", "code", "megabytes"),
    [(40_000, 30_000, "too_many_pixels", 20), (10_000, 10_000, "fine", 350)],
    ids=["a bomb is refused before anything is allocated", "a large picture takes its pixels and little more"],
)
def test_memory_is_bounded(tmp_path: Path, width: int, height: int, code: str, megabytes: int) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(hostile.blank_png(width, height))
    said, grown = in_a_small_process(path)
    assert said == code
    assert grown <= megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux'")
def test_a_picture_too_large_for_the_process_is_refused_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(hostile.blank_png(10_000, 10_000))
    assert in_a_small_process(path, megabytes=60)[0] == "memory_limit"

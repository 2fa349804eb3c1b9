"""
What the gates cost a photo: `pytest tests/benchmarks/test_gate_pass.py -s`

The pass over the bytes of a 12-megapixel photo (SHA-256, container, polyglots, full decode, Exif, measures, PDQ in eight
variants, pHash, grey copy, stars) against one full Pillow decode of the same file; the look-up of its hash among a million
stored ones is shown beside it, because it grows with the archive and not with the photo. Processor time, both in turn in one
process, the median of the rounds.
"""

import hashlib
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from ingest import hashes, measures, probe
from ingest.neighbours import Index
from ingest.neighbours.rows import Rows
from ingest.probe import Declared, Inspected, Limits
from quality.scorers import Brief, technical
from tests.ingest.photographs import everyday

WIDTH, HEIGHT = 4000, 3000
KNOWN = 1_000_000
MOST = 1.5  # times one decode, for JPEG

FORMATS = {
    "JPEG": ("image/jpeg", {"format": "JPEG", "quality": 90}),
    "JPEG 4:4:4": ("image/jpeg", {"format": "JPEG", "quality": 95, "subsampling": 0}),
    "JPEG progressive": ("image/jpeg", {"format": "JPEG", "quality": 90, "progressive": True}),
    "PNG": ("image/png", {"format": "PNG", "compress_level": 4}),
    "WebP": ("image/webp", {"format": "WEBP", "quality": 85}),
    "HEIC": ("image/heic", {"format": "HEIF", "quality": 60}),
}
ROUNDS = {"JPEG": 20, "JPEG 4:4:4": 10, "JPEG progressive": 5}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A dozen photographs side by side, enlarged, with the grain of a sensor: the file is as large as a phone's."""
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    for number, scene in enumerate(everyday().values()):
        corner = number % 4 * 1000, number // 4 * 1000
        picture.paste(scene.convert("RGB").resize((1000, 1000), Image.Resampling.LANCZOS), corner)
    grain = np.random.default_rng(1).normal(0, 3, (HEIGHT, WIDTH, 1))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    random = np.random.default_rng(2)
    known = Rows(random.integers(0, 256, (KNOWN, 32), dtype=np.uint8), np.arange(KNOWN, dtype=np.int64))
    path = tmp_path_factory.mktemp("index") / "hashes"
    Index.build(path, known, KNOWN)
    return Index.open(path)


def test_gate_pass(photo: Image.Image, tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    ratios = {}
    print(f"\n{'12 megapixels as':<18} {'MB':>5} {'decode ms':>10} {'pass ms':>8} {'ratio':>6}")
    for name, (media_type, options) in FORMATS.items():
        stream = io.BytesIO()
        photo.save(stream, exif=_turned(), **options)
        path = tmp_path / "photo"
        path.write_bytes(stream.getvalue())
        declared = Declared(path.stat().st_size, hashlib.sha256(stream.getvalue()).hexdigest(), media_type)
        decode, whole = _in_turn(
            lambda: Image.open(path).load(),  # noqa: B023 - called within the round
            lambda: _gate_pass(path, declared),  # noqa: B023
            rounds=ROUNDS.get(name, 2),
        )
        ratios[name] = whole / decode
        print(f"{name:<18} {declared.size / 1e6:5.1f} {decode * 1e3:10.1f} {whole * 1e3:8.1f} {whole / decode:6.2f}")
    assert ratios["JPEG"] <= MOST


def test_where_the_time_goes(photo: Image.Image, index: Index, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    photo.save(path, "JPEG", quality=90, exif=_turned())
    data = path.read_bytes()
    declared = Declared(len(data), hashlib.sha256(data).hexdigest(), "image/jpeg")
    found = probe.inspect(path, declared=declared, limits=Limits())
    assert isinstance(found, Inspected)
    full = Image.open(io.BytesIO(data))
    full.draft("L", full.size)
    working = measures.working_copy(full)
    picture = hashes.trimmed(found.image)
    fingerprint = hashes.fingerprint(picture)
    parts: dict[str, Callable[[], object]] = {
        "read and SHA-256": lambda: hashlib.sha256(path.read_bytes()).hexdigest(),
        "inspect (all of the probe)": lambda: probe.inspect(path, declared=declared, limits=Limits()),
        "  of it: working copy": lambda: measures.working_copy(full),
        "  of it: measures": lambda: measures.measure(full, working),
        "frame trimmed": lambda: hashes.trimmed(found.image),
        "hashes": lambda: hashes.fingerprint(picture),
        "grey copy": lambda: hashes.grey_copy(picture),
        "stars": lambda: technical.rate(found.facts.measures),
        "look-up among a million": lambda: index.nominate(fingerprint.variants),
    }
    print()
    for name, part in parts.items():
        print(f"{name:<28} {_best(part, 15) * 1e3:6.1f} ms")


def _gate_pass(path: Path, declared: Declared) -> None:
    found = probe.inspect(path, declared=declared, limits=Limits())
    assert isinstance(found, Inspected)
    picture = hashes.trimmed(found.image)
    hashes.fingerprint(picture)
    hashes.grey_copy(picture)
    technical.score(found.facts, Brief("", ""))


def _turned() -> Image.Exif:
    """Held upright, as most photos are taken."""
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


def _in_turn(one: Callable[[], object], other: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    pairs = [(_seconds(one), _seconds(other)) for _ in range(rounds + 1)][1:]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


def _best(call: Callable[[], object], rounds: int) -> float:
    return min(_seconds(call) for _ in range(rounds))


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started

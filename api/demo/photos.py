"""
The photographs of the story: real ones, from the wheels of two test dependencies or from a folder, and what becomes of them
in the hands of people who try something.
"""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageFilter, ImageOps, UnidentifiedImageError

from api.demo.phone import Photo
from infra.settings import Settings
from ingest import hashes, probe
from ingest.breakage import Broken
from quality.scorers import technical

NEEDED = 7
MIN_WIDTH, MIN_HEIGHT = 400, 300
SENT_SIDE = 4_096  # pixels; what has to be encoded anew is not made larger than this
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heic"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
AUSTIN = (30.2672, -97.7431)


class PhotosMissing(Exception):
    """The story cannot be played with these photographs; the message says what it needs."""


@dataclass(frozen=True)
class Shot:
    """A file as a phone sends it, and the picture in it, upright."""

    name: str
    photo: Photo
    image: Image.Image
    about: str = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.about}" if self.about else self.name


def built_in() -> Iterator[Shot]:
    """
    Photographs that the wheels of scikit-image and scikit-learn carry, encoded as phones do.

    :raises PhotosMissing: they are not installed
    """
    scikit_image, scikit_learn = _wheel("skimage") / "data", _wheel("sklearn") / "datasets" / "images"
    yield encoded("temple", Image.open(scikit_learn / "china.jpg"), "JPEG", exif=_exif())
    yield encoded("flower", Image.open(scikit_learn / "flower.jpg"), "JPEG", exif=_exif())
    yield encoded("coffee", Image.open(scikit_image / "coffee.png"), "WEBP")
    yield encoded("motorcycle", Image.open(scikit_image / "motorcycle_left.png"), "JPEG")
    yield encoded("astronaut", Image.open(scikit_image / "astronaut.png"), "JPEG", exif=_exif())
    yield encoded("rocket", Image.open(scikit_image / "rocket.jpg"), "PNG")
    yield encoded("cat", Image.open(scikit_image / "chelsea.png"), "HEIF" if _reads_heif() else "JPEG")


def of_folder(folder: Path) -> Iterator[Shot]:
    """
    What can be read in a folder and below, by name. Files without a position go as they are, byte for byte; the others are
    encoded anew with one in Austin, since a photo from elsewhere goes to a human.
    """
    _reads_heif()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()):
        try:
            with Image.open(path) as opened:
                kind, placed = opened.format, _has_position(opened)
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            continue
        if placed or kind not in MEDIA_TYPES:
            image.thumbnail((SENT_SIDE, SENT_SIDE))
            yield encoded(path.stem, image, "JPEG", exif=_exif())
        else:
            yield _shot(path.stem, path.read_bytes(), kind, image)


def choose(shots: Iterable[Shot], needed: int = NEEDED) -> list[Shot]:
    """
    The first few that are large and good enough and do not resemble each other.

    :raises PhotosMissing: fewer; says why others would not do
    """
    chosen: list[Shot] = []
    prints: list[hashes.Fingerprint] = []
    unfit: list[str] = []
    for shot in shots:
        why, fingerprint = _judge(shot, prints)
        if fingerprint is None:
            unfit.append(f"{shot.name}: {why}")
            continue
        chosen.append(shot)
        prints.append(fingerprint)
        if len(chosen) == needed:
            return chosen
    listed = "".join(f"\n  {line}" for line in unfit[:20])
    raise PhotosMissing(
        f"The story needs {needed} different good photographs (JPEG, PNG, WebP or HEIC, at least {MIN_WIDTH} x {MIN_HEIGHT}) "
        f"and found {len(chosen)}.{listed}"
    )


def mirrored(shot: Shot) -> Shot:
    """As somebody hands in a picture found elsewhere: mirrored, recoded, without its data."""
    return encoded(f"{shot.name} mirrored", ImageOps.mirror(shot.image), "JPEG", quality=80)


def shrunk(shot: Shot) -> Shot:
    """As a messenger makes it: too small for the job."""
    small = shot.image.copy()
    small.thumbnail((MIN_WIDTH * 4 // 5, MIN_HEIGHT * 4 // 5))
    return encoded(f"{shot.name} as a thumbnail", small, "JPEG", exif=_exif())


def blurred(shot: Shot) -> Shot:
    """Out of focus, just so much that our own scorer measures two stars."""
    sharp = shot.image.copy()
    sharp.thumbnail((1_024, 1_024))
    tried = {}
    for step in range(8, 60, 2):
        blurry = sharp.filter(ImageFilter.GaussianBlur(step / 8))
        tried[step] = encoded(f"{shot.name} out of focus", blurry, "JPEG")
        if _stars(tried[step]) < 1.5:
            break
    return min(tried.values(), key=lambda one: abs(_stars(one) - 2.0))


def with_archive(shot: Shot) -> Shot:
    """A good photo to one program and a ZIP archive to another."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("payload.sh", "#!/bin/sh\n")
    data = encoded(shot.name, shot.image, "JPEG").photo.data + archive.getvalue()
    return _shot(f"{shot.name} with a ZIP behind it", data, "JPEG", shot.image)


def encoded(name: str, image: Image.Image, kind: str, *, quality: int = 92, exif: Image.Exif | None = None) -> Shot:
    """A picture as a file of this kind."""
    stream = io.BytesIO()
    more: dict[str, Any] = {"exif": exif} if exif else {}
    image = image.convert("RGB")
    image.save(stream, kind, quality=quality, **more)
    return _shot(name, stream.getvalue(), kind, image, "placed in Austin" if exif else "")


def _shot(name: str, data: bytes, kind: str | None, image: Image.Image, more: str = "") -> Shot:
    media_type = MEDIA_TYPES[kind or "JPEG"]
    about = f"{media_type.removeprefix('image/').upper()} {image.width}x{image.height}"
    return Shot(name, Photo(data, media_type), image, f"{about} {more}".strip())


def _judge(shot: Shot, others: list[hashes.Fingerprint]) -> tuple[str, hashes.Fingerprint | None]:
    found = inspect(shot)
    if isinstance(found, Broken):
        return found.detail, None
    facts = found.facts
    if facts.width < MIN_WIDTH or facts.height < MIN_HEIGHT:
        return f"only {facts.width} x {facts.height} pixels", None
    rating = technical.rate(facts.measures)
    if rating.stars < 3:
        return f"{rating.stars} stars ({rating.reason})", None
    fingerprint = hashes.fingerprint(hashes.trimmed(found.image))
    if not fingerprint.telling:
        return "too flat to be told apart from others", None
    if any(distance(fingerprint, other) <= _default("near_nominate_distance") for other in others):
        return "looks like one before it", None
    return "", fingerprint


def distance(one: hashes.Fingerprint, other: hashes.Fingerprint) -> int:
    """Bits apart at the nearest of the eight turns and mirrorings."""
    target = int.from_bytes(other.pdq)
    return min((int.from_bytes(variant) ^ target).bit_count() for variant in one.variants)


def _stars(shot: Shot) -> float:
    found = inspect(shot)
    return 0.0 if isinstance(found, Broken) else technical.rate(found.facts.measures).value


def inspect(shot: Shot) -> probe.Inspected | Broken:
    """What our own probe says of a file, to prepare the story with."""
    data = shot.photo.data
    declared = probe.Declared(len(data), hashlib.sha256(data).hexdigest(), shot.photo.media_type)
    with tempfile.NamedTemporaryFile(prefix="footwork-demo-") as file:
        file.write(data)
        file.flush()
        return probe.inspect(Path(file.name), declared=declared, limits=probe.Limits())


def _default(name: str) -> Any:
    """The setting's default; the story is prepared before there are services that the other settings could name."""
    return Settings.model_fields[name].default


def _wheel(package: str) -> Path:
    """Where a package lies, without importing it: that would take seconds."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise PhotosMissing(
            "The built-in photographs come with scikit-image and scikit-learn: `make setup` installs them, or give a "
            "folder of your own with --photos."
        )
    return Path(spec.origin).parent


def _has_position(image: Image.Image) -> bool:
    return ExifTags.GPS.GPSLatitude in image.getexif().get_ifd(ExifTags.IFD.GPSInfo)


def _exif() -> Image.Exif:
    """What a phone in Austin writes into its photos."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Footwork", "simulated phone"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: datetime.now(UTC).strftime("%Y:%m:%d %H:%M:%S"),
        ExifTags.Base.OffsetTimeOriginal: "+00:00",
    }
    latitude, longitude = AUSTIN
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        ExifTags.GPS.GPSLatitude: _sexagesimal(latitude),
        ExifTags.GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        ExifTags.GPS.GPSLongitude: _sexagesimal(longitude),
    }
    return exif


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes, seconds = divmod(abs(degrees) * 3_600, 60)
    whole, minutes = divmod(minutes, 60)
    return whole, minutes, round(seconds, 2)


def _reads_heif() -> bool:
    """Whether HEIC can be read and written here; if so Pillow knows how from now on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True

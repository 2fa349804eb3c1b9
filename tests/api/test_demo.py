"""What the demo's account rests on: claims that are all accounted for, and photographs that are what the story says."""

import inspect
import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from api.demo import claims, photos, receiver, report, story
from api.demo.photos import PhotosMissing, Shot
from api.webhooks import signing
from infra import clock
from ingest import hashes, probe
from ingest.breakage import Broken, Code
from quality.scorers import technical


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return photos.choose(photos.built_in())


def test_every_promise_is_checked_somewhere_in_the_story() -> None:
    told = inspect.getsource(story)
    for chapter in claims.PROMISES.values():
        for key in chapter:
            assert f'"{key}"' in told, key


def test_a_claim_nobody_checked_is_not_held() -> None:
    book = claims.Claims({"Chapter": {"one": "one holds", "two": "two holds"}})
    book.check("one", True)
    assert not book.all_hold
    book.check("two", True)
    assert book.all_hold


def test_a_claim_that_failed_once_has_failed() -> None:
    book = claims.Claims({"Chapter": {"one": "one holds"}})
    book.check("one", False, "first")
    book.check("one", True, "then")
    assert [(claim.holds, claim.measured) for claim in book] == [(False, "first, then")]


def test_what_was_not_promised_cannot_be_claimed() -> None:
    with pytest.raises(KeyError):
        claims.Claims().check("the moon is full", True)


def test_the_chapters_of_the_account_are_those_of_the_promises() -> None:
    assert list(report.CHAPTERS) == list(claims.PROMISES)


def test_a_broken_story_says_why_what_held_and_what_the_logs_say(tmp_path: Path) -> None:
    (tmp_path / "work.log").write_text(
        '{"level": "info", "event": "fine"}\n{"level": "error", "event": "no such table"}\n'
    )
    book = claims.Claims({"Chapter": {"one": "one holds", "two": "two holds"}})
    book.check("one", True, "measured")
    out = Console(file=io.StringIO(), width=80)
    report.broken(out, book, RuntimeError("the worker is gone"), tmp_path)
    assert isinstance(out.file, io.StringIO)
    said = out.file.getvalue()
    assert "✓ one holds: measured" in said
    assert "the worker is gone" in said
    assert "1 of 2 claims were not reached" in said
    assert "no such table" in said
    assert "fine" not in said


def test_photographs_are_good_and_unlike_each_other(shots: list[Shot]) -> None:
    assert len(shots) == photos.NEEDED
    assert len({shot.photo.media_type for shot in shots}) == 4
    assert all(_stars(shot) >= 3 for shot in shots)


def test_some_photographs_say_they_are_from_austin(shots: list[Shot]) -> None:
    places = [_inspected(shot).facts.exif for shot in shots]
    placed = [(exif.latitude, exif.longitude) for exif in places if exif.latitude is not None]
    assert 2 <= len(placed) < len(shots)
    assert all(place == pytest.approx(photos.AUSTIN, abs=0.001) for place in placed)


def test_out_of_focus_means_two_stars(shots: list[Shot]) -> None:
    assert [_stars(photos.blurred(shot)) for shot in shots[:5]] == [2] * 5


def test_a_mirrored_photo_is_near(shots: list[Shot]) -> None:
    one, other = (hashes.fingerprint(_inspected(shot).image) for shot in (shots[0], photos.mirrored(shots[0])))
    assert photos.distance(one, other) <= 8


def test_a_thumbnail_is_too_small(shots: list[Shot]) -> None:
    facts = _inspected(photos.shrunk(shots[0])).facts
    assert facts.width < photos.MIN_WIDTH
    assert facts.height < photos.MIN_HEIGHT


def test_an_archive_behind_a_photo_is_found(shots: list[Shot]) -> None:
    found = photos.inspect(photos.with_archive(shots[0]))
    assert isinstance(found, Broken)
    assert found.code is Code.POLYGLOT


def test_a_folder_is_read_with_reasons_for_what_will_not_do(shots: list[Shot], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "broken.jpg").write_bytes(b"no photo either")
    (tmp_path / "one.jpg").write_bytes(shots[3].photo.data)
    shots[3].image.crop((5, 5, 730, 490)).save(tmp_path / "two.png")
    Image.new("RGB", (200, 100)).save(tmp_path / "small.webp")
    with pytest.raises(PhotosMissing) as missing:
        photos.choose(photos.of_folder(tmp_path))
    assert "found 1." in str(missing.value)
    assert "two: looks like one before it" in str(missing.value)
    assert "small: only 200 x 100 pixels" in str(missing.value)


def test_a_file_without_a_position_goes_as_it_is_and_one_from_elsewhere_is_placed(
    shots: list[Shot], tmp_path: Path
) -> None:
    plain, placed = shots[3], shots[0]
    (tmp_path / "plain.jpg").write_bytes(plain.photo.data)
    (tmp_path / "placed.jpg").write_bytes(placed.photo.data)
    anew, same = photos.of_folder(tmp_path)
    assert same.photo.data == plain.photo.data
    assert anew.photo.data != placed.photo.data
    assert _inspected(anew).facts.exif.latitude == pytest.approx(photos.AUSTIN[0], abs=0.001)


def test_a_tampered_webhook_is_not_believed() -> None:
    secret, body = signing.new_secret(), b'{"type":"submission.approved","data":{"subject":"sub_1"}}'
    headers = signing.headers(body, message_id="evt_1", keys=[secret], now=clock.now())
    letter = receiver.Letter(headers, body)
    forged = receiver.tampered(letter)
    assert receiver.is_genuine(letter, secret)
    assert receiver.is_genuine_by_other_form(letter, secret)
    assert not receiver.is_genuine(forged, secret)
    assert not receiver.is_genuine_by_other_form(forged, secret)


def _inspected(shot: Shot) -> probe.Inspected:
    found = photos.inspect(shot)
    assert isinstance(found, probe.Inspected)
    return found


def _stars(shot: Shot) -> int:
    return technical.rate(_inspected(shot).facts.measures).stars

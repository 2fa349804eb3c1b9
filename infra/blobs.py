"""Objects in S3-compatible storage. The API hands out signed addresses and never carries a file."""

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra import db
from infra.errors import Unavailable
from infra.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# While storage hangs, hand-ins may hold this many of the API's threads and no more. A `stat` takes some 5 ms, so with storage
# well even a whole pool of threads is through in a fraction of the wait.
STATS_AT_ONCE = 4
STAT_WAIT = 0.25  # seconds

_stats = threading.BoundedSemaphore(STATS_AT_ONCE)


class StorageAway(Unavailable):
    """Storage does not answer."""


@dataclass(frozen=True)
class Stored:
    """What storage says of an object: bytes, MIME type, SHA-256 if the server keeps one."""

    size: int
    media_type: str
    sha256: bytes | None


@dataclass(frozen=True)
class SignedRequest:
    """A request that storage will accept as it stands: the headers are part of the signature."""

    method: str
    url: str
    headers: Mapping[str, str]


def prepare() -> None:
    """Make the clients beforehand, some 150 ms each. It opens no connection that a fork would inherit."""
    _client()
    _hasty()
    _signer()


def presign_put(key: str, *, size: int, media_type: str, sha256: bytes, seconds: int) -> SignedRequest:
    """
    An address to PUT exactly one file to. Length, type and SHA-256 are signed headers: a server that checks them
    (SeaweedFS and S3 do) refuses anything else; what arrived is verified later in any case.
    """
    checksum = base64.b64encode(sha256).decode()
    url = _signer().generate_presigned_url(
        "put_object",
        Params={
            "Bucket": settings().s3_bucket,
            "Key": key,
            "ContentLength": size,
            "ContentType": media_type,
            "ChecksumSHA256": checksum,
        },
        ExpiresIn=seconds,
    )
    headers = {"Content-Length": str(size), "Content-Type": media_type, "x-amz-checksum-sha256": checksum}
    return SignedRequest("PUT", url, headers)


def presign_get(key: str, *, seconds: int, filename: str | None = None) -> str:
    """An address that serves one object for a while; `filename` makes browsers save it under that name."""
    params = {"Bucket": settings().s3_bucket, "Key": key}
    if filename:
        params["ResponseContentDisposition"] = f'attachment; filename="{filename}"'
    return _signer().generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)


def stat(key: str) -> Stored | None:
    """
    What storage holds under the key, None if nothing. Asked within requests, so it gives up after 3 seconds.

    :raises StorageAway: no answer, or none that helps, or too many are waiting for one
    """
    db.forbid_in_transaction("blobs.stat")
    if not _stats.acquire(timeout=STAT_WAIT):
        raise StorageAway("It is slow to answer. Nothing was changed; try again in a few seconds.", retry_after=5)
    try:
        return _stat(key)
    finally:
        _stats.release()


def _stat(key: str) -> Stored | None:
    try:
        head = _hasty().head_object(Bucket=settings().s3_bucket, Key=key, ChecksumMode="ENABLED")
    except (BotoCoreError, ClientError) as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 503
        if status == 404:
            return None
        if status < 500:
            raise
        raise StorageAway("Nothing was changed; try again in a few seconds.", retry_after=5) from error
    checksum = head.get("ChecksumSHA256")
    return Stored(head["ContentLength"], head.get("ContentType", ""), base64.b64decode(checksum) if checksum else None)


def download(key: str, path: Path) -> None:
    """Copy an object into a file, in one ranged read after another."""
    db.forbid_in_transaction("blobs.download")
    body = _client().get_object(Bucket=settings().s3_bucket, Key=key)["Body"]
    with path.open("wb") as file:
        for chunk in body.iter_chunks(1024 * 1024):
            file.write(chunk)


def get(key: str) -> bytes:
    """A small object whole (thumbnails, grey copies)."""
    db.forbid_in_transaction("blobs.get")
    return _client().get_object(Bucket=settings().s3_bucket, Key=key)["Body"].read()


def put(key: str, data: bytes, media_type: str) -> None:
    """Store a small object."""
    db.forbid_in_transaction("blobs.put")
    _client().put_object(Bucket=settings().s3_bucket, Key=key, Body=data, ContentType=media_type)


def delete(key: str) -> None:
    """Remove an object; nothing happens when it is not there."""
    db.forbid_in_transaction("blobs.delete")
    _client().delete_object(Bucket=settings().s3_bucket, Key=key)


def ensure_bucket() -> None:
    """Create the bucket unless it exists."""
    db.forbid_in_transaction("blobs.ensure_bucket")
    try:
        _client().head_bucket(Bucket=settings().s3_bucket)
    except ClientError:
        _client().create_bucket(Bucket=settings().s3_bucket)


def _client() -> "S3Client":
    return _connect(settings().s3_endpoint, settings().s3_access_key, settings().s3_secret_key.get_secret_value())


def _hasty() -> "S3Client":
    """For requests: somebody waits, and a thread with them."""
    return _connect(
        settings().s3_endpoint,
        settings().s3_access_key,
        settings().s3_secret_key.get_secret_value(),
        hasty=True,
    )


def _signer() -> "S3Client":
    """Signs for the address that phones use; signing needs no network, so it is allowed inside a transaction."""
    endpoint = settings().s3_public_endpoint or settings().s3_endpoint
    return _connect(endpoint, settings().s3_access_key, settings().s3_secret_key.get_secret_value())


@lru_cache(maxsize=6)
def _connect(endpoint: str, access_key: str, secret_key: str, *, hasty: bool = False) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings().s3_region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=1 if hasty else 3,
            read_timeout=2 if hasty else 30,
            retries={"total_max_attempts": 1 if hasty else 4, "mode": "standard"},
            max_pool_connections=STATS_AT_ONCE if hasty else settings().threads,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

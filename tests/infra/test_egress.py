"""Requests to strangers' addresses, against real servers on this machine and names that lie."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra import db, egress
from infra.egress import Refused, Unreachable, post

Configure = Callable[..., None]


class Receiver(BaseHTTPRequestHandler):
    """Answers by path and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", "/inside")
            self.send_header("content-length", "0")
            self.end_headers()
        elif self.path == "/giant":
            self.send_response(200)
            self.send_header("content-length", str(1 << 40))
            self.end_headers()
            self._until_they_hang_up(b"x" * 65_536)
        elif self.path == "/endless-headers":
            self.send_response_only(200)
            self.wfile.write(b"".join(self._headers_buffer))
            self._until_they_hang_up(b"x-more: of-the-same\r\n" * 100)
        elif self.path == "/drip-headers":
            self.send_response_only(200)
            self.wfile.write(b"".join(self._headers_buffer))
            self._until_they_hang_up(b"x-drip: 1\r\n", pause=0.05)
        elif self.path == "/drip-body":
            self.send_response(202)
            self.send_header("content-length", "100000")
            self.end_headers()
            self._until_they_hang_up(b"drop", pause=0.05)
        elif self.path == "/silent":
            time.sleep(2)
        else:
            said = b"you said " + body
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def _until_they_hang_up(self, piece: bytes, *, pause: float = 0.0) -> None:
        self.close_connection = True
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up or distrust the certificate are what these tests are about."""


@pytest.fixture
def receiver() -> Iterator[Server]:
    yield from _serve(None)


@pytest.fixture
def secure_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Speaks TLS as hooks.example; its authority is trusted for the test."""
    certificate = _certificate("hooks.example", tmp_path)
    monkeypatch.setattr(egress, "_tls", lambda: ssl.create_default_context(cafile=str(certificate)))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, tmp_path / "key.pem")
    yield from _serve(server_side)


@pytest.fixture
def private(configure: Configure) -> None:
    """As in development: http and loopback are allowed."""
    configure(webhook_private_addresses=True)


def _serve(tls: ssl.SSLContext | None) -> Iterator[Server]:
    handler = type("Remembering", (Receiver,), {"asked": []})
    server = Server(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _certificate(name: str, folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _address(server: Server, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{server.server_port}{path}"


def _asked(server: Server) -> list[str]:
    return server.RequestHandlerClass.asked  # type: ignore[attr-defined,no-any-return]


def _names(monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> list[str]:
    """The world's names for this test (`hooks_example=[...]`); gives the list of names that were asked for."""
    asked: list[str] = []
    known = {name.replace("_", "."): found for name, found in addresses.items()}

    def getaddrinfo(host: str, port: object, **_: object) -> list[object]:
        asked.append(host)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(None, None, None, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(egress, "socket", _Socket(getaddrinfo))
    return asked


class _Socket:
    """The `socket` module as `egress` sees it, with names of our own; connections stay real."""

    def __init__(self, getaddrinfo: Callable[..., object]) -> None:
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> object:
        return getattr(socket, name)


def _never_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        pytest.fail("connected to an address that is not allowed")

    monkeypatch.setattr(egress._CheckedBackend, "_connect", connect)


def _send(url: str, *, timeout: float = 5.0) -> egress.Answer:
    return post(url, content=b"hello", headers={"content-type": "text/plain"}, timeout=timeout)


# -- answers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("private")
def test_a_post_brings_back_status_and_body(receiver: Server) -> None:
    answer = _send(_address(receiver, "/a?b=c"))
    assert (answer.status, answer.body_start) == (200, b"you said hello")
    assert 0 < answer.seconds < 5
    assert _asked(receiver) == ["/a?b=c"]


@pytest.mark.usefixtures("private")
def test_a_redirect_is_an_answer_and_not_followed(receiver: Server) -> None:
    assert _send(_address(receiver, "/redirect")).status == 302
    assert _asked(receiver) == ["/redirect"]


@pytest.mark.usefixtures("private")
def test_a_giant_answer_is_cut_off(receiver: Server) -> None:
    answer = _send(_address(receiver, "/giant"))
    assert answer.status == 200
    assert egress.ANSWER_BYTES - 1_000 < len(answer.body_start) < egress.ANSWER_BYTES


@pytest.mark.usefixtures("private")
def test_endless_headers_are_no_answer(receiver: Server) -> None:
    with pytest.raises(Unreachable, match="longer than 65536 bytes"):
        _send(_address(receiver, "/endless-headers"))


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("path", ["/silent", "/drip-headers"])
def test_the_time_limit_is_for_everything_together(receiver: Server, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"within 0\.5 seconds"):
        _send(_address(receiver, path), timeout=0.5)
    assert 0.4 < time.monotonic() - began < 1.5


@pytest.mark.usefixtures("private")
def test_a_slow_body_does_not_undo_the_status(receiver: Server) -> None:
    answer = _send(_address(receiver, "/drip-body"), timeout=0.5)
    assert answer.status == 202
    assert answer.body_start.startswith(b"dropdrop")
    assert 0.4 < answer.seconds < 1.5


def test_a_slow_name_server_does_not_stretch_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "socket", _Socket(lambda *_, **__: time.sleep(2) or []))
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"within 0\.3 seconds"):
        _send("https://hooks.example/", timeout=0.3)
    assert time.monotonic() - began < 1.5


@pytest.mark.usefixtures("private")
def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so nobody else can
        with pytest.raises(Unreachable, match="refused"):
            _send(f"http://127.0.0.1:{taken.getsockname()[1]}/")


def test_an_unknown_name_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch)
    with pytest.raises(Unreachable, match=r"hooks\.example does not resolve"):
        _send("https://hooks.example/")


@pytest.mark.usefixtures("private")
def test_the_second_address_of_a_name_is_tried(receiver: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, hooks_example=["127.0.0.77", "127.0.0.1"])
    assert _send(_address(receiver, host="hooks.example")).status == 200


@pytest.mark.usefixtures("database")
def test_no_request_inside_a_transaction() -> None:
    with db.transaction(), pytest.raises(db.NetworkInTransaction):
        _send("https://hooks.example/")


# -- TLS -------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("private")
def test_tls_is_verified_for_the_name_though_the_connection_goes_to_an_address(
    secure_receiver: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _names(monkeypatch, hooks_example=["127.0.0.1"], other_example=["127.0.0.1"])
    assert _send(_address(secure_receiver, host="hooks.example", scheme="https")).status == 200
    with pytest.raises(Unreachable, match="Hostname mismatch"):
        _send(_address(secure_receiver, host="other.example", scheme="https"))
    assert len(_asked(secure_receiver)) == 1


@pytest.mark.usefixtures("private")
def test_an_unknown_authority_is_not_trusted(secure_receiver: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, hooks_example=["127.0.0.1"])
    monkeypatch.setattr(egress, "_tls", ssl.create_default_context)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        _send(_address(secure_receiver, host="hooks.example", scheme="https"))


# -- addresses that lead inside --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:8.8.8.8]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "[ff0e::1]",
        "localhost",
        "LOCALHOST.",
        "db.localhost",
        "printer.local",
        "metadata.google.internal",
        "intranet",
    ],
)
def test_private_literals_and_names_are_refused_unasked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _names(monkeypatch)
    with pytest.raises(Refused):
        egress.check(f"https://{host}/hook")
    with pytest.raises(Refused):
        _send(f"https://{host}/hook")
    assert asked == []


@pytest.mark.parametrize("host", ["hooks.example", "bücher.example", "[2606:4700:4700::1111]", "1.1.1.1:8443"])
def test_public_hosts_pass_the_check(host: str) -> None:
    egress.check(f"https://{host}/hook")


def test_digits_in_disguise_are_no_name() -> None:
    with pytest.raises(Refused):
        egress.check("https://１２７.0.0.1/")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example/", "https"),
        ("ftp://hooks.example/", "https"),
        ("file:///etc/passwd", "https"),
        ("//hooks.example/", "https"),
        ("https:///path", "no host"),
        ("https://user:word@hooks.example/", "user name"),
        ("https://hooks.example:99999/", "65535"),
        ("https://hooks.example:0/", "65535"),
        ("https://[::1/", "not an address"),
        ("https://hooks.example/" + "a" * 3_000, "2048"),
    ],
)
def test_other_addresses_are_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        egress.check(url)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "fd00::1"]
)
def test_a_name_that_leads_inside_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, hooks_example=[address])
    _never_connects(monkeypatch)
    with pytest.raises(Refused, match=r"hooks\.example does not lead to a public address"):
        _send("https://hooks.example/")


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, hooks_example=["93.184.215.14", "127.0.0.1"])
    _never_connects(monkeypatch)
    with pytest.raises(Refused, match="public address"):
        _send("https://hooks.example/")


def test_a_rebinding_name_is_asked_once_and_the_checked_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """First public, then private: whoever asked again to connect would land inside."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]])
    connected: list[str] = []

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        return [(None, None, None, "", (address, 0)) for address in next(answers)]

    def connect(self: object, address: object, port: int, seconds: float) -> None:
        connected.append(str(address))
        raise egress.httpcore.ConnectError("as far as this test goes")

    monkeypatch.setattr(egress, "socket", _Socket(getaddrinfo))
    monkeypatch.setattr(egress._CheckedBackend, "_connect", connect)
    with pytest.raises(Unreachable):
        _send("https://hooks.example/")
    assert connected == ["93.184.215.14"]
    assert next(answers) == ["127.0.0.1"], "the name was resolved a second time"


@pytest.mark.usefixtures("private")
def test_a_connection_that_ended_elsewhere_is_dropped(receiver: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look is at the socket's own word for whom it is connected to."""
    elsewhere = ipaddress.ip_address("127.0.0.1")

    class Diverted(egress.httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *args: object, **kwargs: object) -> egress.httpcore.NetworkStream:
            return super().connect_tcp(str(elsewhere), port)

    monkeypatch.setattr(egress.httpcore, "SyncBackend", Diverted)
    with pytest.raises(Refused, match="another address than the one that was checked"):
        _send(_address(receiver, host="127.0.0.2"))
    assert _asked(receiver) == []


def test_the_development_setting_opens_loopback_alone(configure: Configure) -> None:
    configure(webhook_private_addresses=True)
    egress.check("http://127.0.0.1:8080/hook")
    egress.check("http://localhost:8080/hook")
    for host in ("169.254.169.254", "10.0.0.1", "[fd00::1]"):
        with pytest.raises(Refused):
            egress.check(f"http://{host}/")

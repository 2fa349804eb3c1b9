"""
Requests to addresses that strangers chose: webhook endpoints.

A name may lead anywhere, also to this machine, its neighbours or the cloud's metadata server, and may lead elsewhere the next
time it is asked for. So it is resolved once, all its addresses must be public, the connection goes to one of exactly
these, and TLS still verifies the certificate for the name. No redirect is followed, no proxy of the environment used,
nothing decompressed; the time and the bytes of the whole answer are limited.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import httpcore
import httpx

from infra import db
from infra.errors import Invalid
from infra.settings import settings

ANSWER_BYTES = 64 * 1024  # of the whole answer: status, headers and body
URL_LENGTH = 2_048
ADDRESSES = 4  # of a name that has many, the first few are tried

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Global unicast addresses are allocated from this block alone (RFC 4291, IANA's registry), so whatever lies outside is
# refused: IPv4-mapped and -compatible, NAT64 (64:ff9b::/96), site-local, unique local, link-local, multicast.
_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
# What `is_global` lets pass although it leads inside, or to no one host.
_NOT_PUBLIC = [
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # IETF protocol assignments, among them Oracle Cloud's metadata address
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's host agent, a public address that answers only from inside
        "2002::/16",  # 6to4: carries an IPv4 address of the sender's choice
        "2001::/23",  # IETF protocol assignments, among them Teredo, which does the same
        "3fff::/20",  # documentation
    )
]
_PRIVATE_NAMES = ("localhost", "local", "internal", "home.arpa")


@dataclass(frozen=True)
class Answer:
    """
    What came back.

    :param body_start: as much of the body as fitted into `ANSWER_BYTES` and the time
    :param seconds: from the resolution of the name to the end of the body
    """

    status: int
    body_start: bytes
    seconds: float


class Refused(Invalid):
    """This address cannot be called."""


class Unreachable(Exception):
    """The address did not answer; the message says how it failed."""


def check(url: str) -> httpx.URL:
    """
    The address taken apart, if it may be called as far as can be told without resolving its name.

    :raises Refused: not HTTPS, carries credentials, or names a private host or address
    """
    if len(url) > URL_LENGTH:
        raise Refused(f"An address may have {URL_LENGTH} characters.", limit=URL_LENGTH)
    try:
        target = httpx.URL(url)
        host = target.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Refused(f"This is not an address: {error}") from error
    if target.scheme not in _schemes():
        raise Refused("The address must start with https://.")
    if not host:
        raise Refused("The address names no host.")
    if target.port is not None and not 0 < target.port < 65_536:
        raise Refused("Ports go from 1 to 65535.")
    if target.userinfo:
        raise Refused("The address must not carry a user name or password; requests are signed instead.")
    literal = _literal(host)
    if literal is not None:
        _require_public(literal, host)
    elif _is_private_name(host):
        raise Refused(f"{host} is a private name; the address must be reachable from the internet.")
    return target


def post(url: str, *, content: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    """
    One POST.

    The status decides: once it has arrived, a body that is too long, too slow or cut off is an answer all the same.

    :param timeout: seconds for everything together: name, connection, TLS, request and answer
    :raises Refused: the address is not allowed, or its name leads to one that is not
    :raises Unreachable: no complete status and headers within the limits
    """
    db.forbid_in_transaction("egress.post")
    target = check(url)
    began = time.monotonic()
    limits = _Limits(deadline=began + timeout)
    address = httpcore.URL(
        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path or b"/"
    )
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=_tls(), network_backend=_CheckedBackend(limits), max_connections=1
            ) as pool,
            pool.stream(
                "POST", address, headers=[*headers.items(), ("Connection", "close")], content=content
            ) as response,
        ):
            body = _read_what_comes(response)
            return Answer(response.status, body, time.monotonic() - began)
    except httpcore.TimeoutException as error:
        raise Unreachable(f"No answer within {timeout:g} seconds.") from error
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


@dataclass
class _Limits:
    """What is left for one request; `deadline` on the monotonic clock."""

    deadline: float
    bytes: int = ANSWER_BYTES

    def seconds(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, never to a name."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, self._limits.seconds())
        for address in addresses:
            _require_public(address, host)
        tried = addresses[:ADDRESSES]
        for others, address in zip(range(len(tried) - 1, -1, -1), tried, strict=True):
            try:
                return self._connect(address, port, self._limits.seconds() / (others + 1))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not others:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def _connect(self, address: Address, port: int, seconds: float) -> httpcore.NetworkStream:
        stream = self._plain.connect_tcp(str(address), port, timeout=seconds)
        peer = ipaddress.ip_address(stream.get_extra_info("server_addr")[0])
        if peer != address:
            stream.close()
            raise Refused("The connection ended at another address than the one that was checked.")
        return _LimitedStream(stream, self._limits)


class _LimitedStream(httpcore.NetworkStream):
    """A connection on which every step shares one deadline and one allowance of bytes, whatever time-out it was given."""

    def __init__(self, stream: httpcore.NetworkStream, limits: _Limits) -> None:
        self._stream = stream
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._limits.bytes <= 0:
            raise httpcore.ReadError(f"The answer is longer than {ANSWER_BYTES} bytes.")
        data = self._stream.read(min(max_bytes, self._limits.bytes), self._limits.seconds())
        self._limits.bytes -= len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limits.seconds())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _LimitedStream(
            self._stream.start_tls(ssl_context, server_hostname, self._limits.seconds()), self._limits
        )

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def resolve(host: str, seconds: float) -> list[Address]:
    """
    All addresses of a name, in the system's order. In a thread of its own, because the system's resolver knows no time
    limit and whoever owns the name may answer slowly.
    """
    found: list[Address] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                found.append(ipaddress.ip_address(place[0]))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    asking = threading.Thread(target=ask, name="egress-resolve", daemon=True)
    asking.start()
    asking.join(seconds)
    if asking.is_alive():
        raise httpcore.ConnectTimeout
    if failed:
        raise httpcore.ConnectError(f"The name {host} does not resolve.") from failed[0]
    return found


def is_public(address: Address) -> bool:
    """Whether the address belongs to somebody on the internet, and not to a place only this machine can reach."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _IPV6_PUBLIC:
        return False
    if any(address in block for block in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def _require_public(address: Address, host: str) -> None:
    if is_public(address) or (address.is_loopback and settings().webhook_private_addresses):
        return
    # Which address it is stays unsaid: buyers read this, and names of the inner network are not theirs to look up.
    raise Refused(f"{host} does not lead to a public address.")


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if settings().webhook_private_addresses else ("https",)


def _literal(host: str) -> Address | None:
    """The address a host spells, also in the decimal, hexadecimal and short forms that C libraries read; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _is_private_name(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" and settings().webhook_private_addresses:
        return False
    return "." not in name or any(name == private or name.endswith("." + private) for private in _PRIVATE_NAMES)


def _read_what_comes(response: httpcore.Response) -> bytes:
    """The body up to the limits."""
    body = bytearray()
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError):
        for part in response.iter_stream():
            body += part
    return bytes(body)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Certificates are verified for the host's name against certifi's authorities (or SSL_CERT_FILE)."""
    return httpx.create_ssl_context()

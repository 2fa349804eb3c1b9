"""Mail: by SMTP when `FOOTWORK_SMTP_URL` is set, else as files in `data_folder/mail`, for development and tests."""

import os
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infra import db, ids
from infra.settings import settings

TIMEOUT = 15  # seconds


def send(*, to: str, subject: str, text: str) -> None:
    """
    Send one plain-text mail.

    :raises OSError: the server is away or refused it (`smtplib.SMTPException` is one); the caller's queue tries again
    """
    db.forbid_in_transaction("mail.send")
    message = _message(to, subject, text)
    if settings().smtp_url is None:
        _to_folder(message)
    else:
        _to_server(message, str(settings().smtp_url))


def folder() -> Path:
    """Where mail lands without SMTP: one `.eml` file each, oldest first by name."""
    return settings().data_folder / "mail"


def _message(to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = settings().mail_from
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=parseaddr(settings().mail_from)[1].rpartition("@")[2] or None)
    message.set_content(text)
    return message


def _to_folder(message: EmailMessage) -> None:
    target = folder() / f"{ids.new()}.eml"
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")  # readers look for *.eml and never see half a mail
    half.write_bytes(message.as_bytes())
    os.replace(half, target)


def _to_server(message: EmailMessage, url: str) -> None:
    """`smtp://` upgrades to TLS when the server offers it, `smtps://` speaks TLS from the first byte."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    if parts.scheme == "smtps":
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT)
    else:
        client = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT)
    with client:
        client.ehlo()
        if parts.scheme != "smtps" and client.has_extn("starttls"):
            client.starttls()
            client.ehlo()
        if parts.username:
            client.login(unquote(parts.username), unquote(parts.password or ""))
        client.send_message(message)

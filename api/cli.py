"""`footwork`: one program, its roles as subcommands."""

import ipaddress
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape

from infra.errors import Refusal

app = typer.Typer(
    name="footwork",
    help="Footwork: an open backend for mobile crowd work with media.\n\n"
    "Try `footwork demo` first, then `footwork up`. The roles `serve`, `work` and `clock` read FOOTWORK_… settings from the "
    "environment or from `.env` (see .env.example); any number of each may run at once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
geo = typer.Typer(help="Places: real boundaries for cities.", no_args_is_help=True)
staff = typer.Typer(help="Trust-and-safety people.", no_args_is_help=True)
org = typer.Typer(help="Buyers: organizations, their keys and wallets.", no_args_is_help=True)
app.add_typer(geo, name="geo")
app.add_typer(staff, name="staff")
app.add_typer(org, name="org")
key = typer.Typer(help="Buyers' API keys.", no_args_is_help=True)
app.add_typer(key, name="key")

EVERYTHING = "the FOOTWORK_ variables of .env.example"

out = Console()
err = Console(stderr=True)

Lane = Literal["work", "deliveries"]


class CannotGoOn(Exception):
    """Said in one line."""


def _email(value: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(value.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise typer.BadParameter(f"{value}: {error}") from None


def _emails(values: list[str] | None) -> list[str]:
    return [_email(value) for value in values or ()]


def _epilog(example: str, *, reads: str = EVERYTHING, one: str = "refused, or a part is away") -> str:
    """The end of a command's help: what it reads, its exit codes, an example."""
    return f"Reads {reads}. Exit codes: 0 done; 1 {one}; 2 wrong arguments.\n\nExample: `{example}`"


Email = Annotated[str, typer.Argument(callback=_email, help="Their e-mail address.")]
Role = Literal["reviewer", "operator", "admin"]
Password = Annotated[
    str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="12 to 200 characters; asked for.")
]
Data = Annotated[Path, typer.Option(help="Folder of the built-in services and their data.")]


@app.command(epilog=_epilog("footwork serve --port 8080", reads=f"{EVERYTHING}, first FOOTWORK_HOST and FOOTWORK_PORT"))
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default FOOTWORK_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default FOOTWORK_PORT.")] = None,
) -> None:
    """Answer HTTP: the API, its documentation under /docs, health and metrics."""
    import uvicorn

    from api.app import build
    from infra import blobs
    from infra.settings import settings
    from jobs import cities

    _begin()
    address = host or settings().host
    _require_own_secret(address)
    blobs.prepare()
    cities.prepare()
    uvicorn.run(
        build(),
        host=address,
        proxy_headers=True,
        forwarded_allow_ips=settings().trusted_proxies,
        port=settings().port if port is None else port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=64 * 1024,
    )


@app.command(epilog=_epilog("footwork work -n 2"))
def work(
    processes: Annotated[int, typer.Option("--processes", "-n", min=1, max=64, help="Work horses at once.")] = 1,
    lane: Annotated[
        Lane | None, typer.Option(help="Only this kind of work; deliveries wait for strangers' servers.")
    ] = None,
) -> None:
    """Do background work: inspect files, decide, pay (lane `work`), deliver webhooks (lane `deliveries`)."""
    from infra import queue

    _begin()
    _preload()
    queue.work(processes, lanes=[lane] if lane else queue.LANES)


@app.command(epilog=_epilog("footwork clock"))
def clock() -> None:
    """Ring what is due: claims that ran out, jobs that open or end, bells Redis lost, retries, the books."""
    from api.wiring import ON_CLOCK
    from infra import periodic

    _begin()
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    periodic.run(ON_CLOCK, stop)


@app.command(epilog=_epilog("footwork migrate", reads="FOOTWORK_DATABASE_URL and FOOTWORK_S3_… first of all"))
def migrate(
    revision: Annotated[str, typer.Argument(help="Where to; `base` deletes every table.")] = "head",
    delete: Annotated[
        bool, typer.Option("--yes-delete-everything", help="What `base` asks for. Refused in production.")
    ] = False,
) -> None:
    """Bring the database schema up to date, and make the bucket. Several at once wait for each other."""
    from infra import blobs, migrations
    from infra.settings import settings

    _begin()
    if revision == "base":
        if settings().env == "production":
            raise CannotGoOn("`migrate base` deletes every table and is refused in production.")
        if not delete:
            raise CannotGoOn("`migrate base` deletes every table with all that is in it. Add --yes-delete-everything.")
        migrations.downgrade(settings().database_url)
    else:
        migrations.upgrade(settings().database_url, revision)
        blobs.ensure_bucket()
    out.print(f"Schema at {revision}.")


@app.command(epilog=_epilog("footwork check", one="a rule does not hold, or the database is away"))
def check() -> None:
    """Check the books and the backlog. Exit code 1 and a line for every rule that does not hold."""
    from api import checks

    _begin()
    found = checks.violations()
    for violation in found:
        err.print(f"[red]✗[/] {violation}")
    if found:
        raise typer.Exit(1)
    out.print("[green]✓[/] The books balance and nothing was given up.")


@app.command(epilog=_epilog("footwork retry"))
def retry() -> None:
    """Try again the background work that was given up, once what was wrong is mended."""
    from infra import clock, db, outbox

    _begin()
    with db.transaction() as session:
        calls = outbox.retry_given_up(session, now=clock.now())
    out.print(f"{calls} calls are tried again.")


@app.command(epilog=_epilog("footwork seed", one="refused in production, or a part is away"))
def seed() -> None:
    """Make a buyer with a key and play money, an admin and a worker, to try things out. Not for production."""
    from api import seed as seeding

    _begin()
    out.print(seeding.plant().as_text())


@app.command(epilog=_epilog("footwork up --port 8001 --data /tmp/try", reads="FOOTWORK_ variables of rules and limits"))
def up(
    data: Data = Path(".data"), port: Annotated[int, typer.Option(help="Port of the API.", min=1, max=65535)] = 8000
) -> None:
    """Start everything for development on built-in services and print what to try. Ctrl-C stops all of it."""
    from api import development

    raise typer.Exit(development.up(data, port, out))


@app.command(epilog=_epilog("footwork demo", reads="nothing that has to be set", one="a claim does not hold"))
def demo(
    photos: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Your own photographs instead of the built-in ones."),
    ] = None,
) -> None:
    """Play the main job from order to cashout on real parts, and check every claim the report makes."""
    from api.demo import story

    raise typer.Exit(story.play(photos, out))


@geo.command("import", epilog=_epilog("footwork geo import berlin.geojson", one="a feature was refused, others are in"))
def import_boundaries(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="GeoJSON FeatureCollection.")],
) -> None:
    """
    Take city boundaries from GeoJSON; they win over the radius rule. Each feature needs the properties `name` (or `city`),
    `country` and, where there are states, `state`.
    """
    from infra import clock, db
    from jobs import places

    _begin()
    with db.transaction() as session:
        report = places.import_boundaries(session, file, now=clock.now())
    out.print(f"{report.imported} imported, {report.replaced} of them in place of earlier ones.")
    for _, reason in report.refused:
        err.print(f"[red]✗[/] {reason}")
    if report.refused:
        raise typer.Exit(1)


@staff.command("add", epilog=_epilog("footwork staff add ana@example.org --role reviewer"))
def add_staff(
    email: Email,
    role: Annotated[
        Role, typer.Option(help="reviewer, operator: decide reviews, lift bans; admin: may do everything.")
    ] = "reviewer",
    password: Password = "",
) -> None:
    """Put a person on the staff; prints the address their authenticator app scans."""
    from api.auth import staff as people
    from infra import clock, db

    _begin()
    with db.transaction() as session:
        uri = people.add(session, email, password, role, now=clock.now())
    out.print(f"{email} is {role} now. For the authenticator app:\n{uri}", soft_wrap=True)


@staff.command("disable", epilog=_epilog("footwork staff disable ana@example.org"))
def disable_staff(email: Email) -> None:
    """Let a person on the staff sign in no more, and sign them out everywhere."""
    from api.auth import staff as people
    from infra import clock, db

    _begin()
    with db.transaction() as session:
        people.disable(session, email, now=clock.now())
    out.print(f"{email} is signed out and cannot sign in.", soft_wrap=True)


@staff.command("reset", epilog=_epilog("footwork staff reset ana@example.org"))
def reset_staff(email: Email, password: Password = "") -> None:
    """
    Give a person another password and another authenticator, and let them in again: after a loss, too many failures or
    `staff disable`. Signs them out everywhere.
    """
    from api.auth import staff as people
    from infra import clock, db

    _begin()
    with db.transaction() as session:
        uri = people.reset(session, email, password, now=clock.now())
    out.print(f"{email} can sign in again. For the authenticator app:\n{uri}", soft_wrap=True)


@key.command("add", epilog=_epilog("footwork key add org_… --name nightly --scope jobs:read --scope jobs:write"))
def add_key(
    organization: Annotated[str, typer.Argument(help="org_…")],
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="May be given several times; every scope if left out.")
    ] = None,
    mode: Annotated[Literal["live", "test"], typer.Option(help="A test key moves no money.")] = "live",
) -> None:
    """Give a buyer another API key and print it, which is shown only now."""
    from api.auth import keys
    from infra import clock, db, ids
    from jobs import organizations

    _begin()
    with db.transaction() as session:
        owner = organizations.get(session, ids.read("org", organization))
        made, secret = keys.issue(session, owner.id, name, scope or keys.SCOPES, mode, clock.now())
    out.print(f"{ids.show('key', made.id)}\n{secret}", soft_wrap=True)


@key.command("revoke", epilog=_epilog("footwork key revoke key_…"))
def revoke_key(api_key: Annotated[str, typer.Argument(metavar="KEY", help="key_…, not its secret")]) -> None:
    """From now on this API key opens nothing, and neither does the one it replaced."""
    from api.auth import keys
    from infra import clock, db, ids

    _begin()
    with db.transaction() as session:
        keys.revoke(keys.anybodys(session, ids.read("key", api_key)), now=clock.now())
    out.print(f"{api_key} is revoked.", soft_wrap=True)


@org.command("add", epilog=_epilog("footwork org add Acme --member buyer@example.org"))
def add_organization(
    name: Annotated[str, typer.Argument()],
    member: Annotated[
        list[str] | None, typer.Option(callback=_emails, help="E-mail of somebody who belongs to it; several times.")
    ] = None,
) -> None:
    """Register a buyer and print their first API key, which is shown only now."""
    from api.auth import keys
    from infra import clock, db, ids
    from jobs import organizations

    _begin()
    with db.transaction() as session:
        organization = organizations.found(session, name=name, members=member or [], now=clock.now())
        _, secret = keys.issue(session, organization.id, "first", keys.SCOPES, "live", clock.now())
    out.print(f"{ids.show('org', organization.id)}\n{secret}")


@org.command("top-up", epilog=_epilog("footwork org top-up org_… 50000 --cause invoice-17"))
def top_up(
    organization: Annotated[str, typer.Argument(help="org_…")],
    cents: Annotated[int, typer.Argument(min=1)],
    cause: Annotated[str, typer.Option(help="Reference of the payment; the same one counts once.")],
) -> None:
    """Put money that was paid in another way into a buyer's wallet."""
    from infra import clock, db, ids
    from jobs import organizations
    from payouts import wallets

    _begin()
    with db.transaction() as session:
        id: UUID = organizations.get(session, ids.read("org", organization)).id
        wallets.top_up(session, organization_id=id, cents=cents, cause=f"cli:{cause}", now=clock.now())
        balance = wallets.balance(session, id)
    out.print(f"The wallet holds {balance:,} cents.")


def main() -> None:
    """Run the program; what is refused or out of reach is one line, not a traceback."""
    try:
        app()
    except Exception as problem:
        line = _in_a_line(problem)
        if line is None:
            raise
        err.print(f"[red]✗[/] {escape(line)}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None


def _in_a_line(problem: Exception) -> str | None:
    """What went wrong and what to do about it. None for what is a bug and deserves its traceback."""
    from alembic.util import CommandError
    from botocore.exceptions import BotoCoreError, ClientError
    from psycopg.errors import UndefinedTable
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from infra.embedded import AlreadyRunning, CannotStart

    said = (str(problem).splitlines() or [type(problem).__name__])[0]
    match problem:
        case Refusal():
            return f"{problem.title()}. {problem.detail}".strip()
        case OperationalError():
            said = str(problem.orig).splitlines()[0]
            return f"PostgreSQL: {said}. Is it running, and is FOOTWORK_DATABASE_URL right?"
        case ProgrammingError(orig=UndefinedTable()):
            return "The database has no tables of ours, or old ones. Run `footwork migrate` first."
        case BotoCoreError() | ClientError():
            return f"Storage: {said}. Is it running, and are FOOTWORK_S3_ENDPOINT and its keys right?"
        case CommandError():
            return f"{said}. See infra/migrations/versions for the names, or leave it out for the newest."
        case OSError(strerror=str(reason), filename=str(name)):
            return f"{name}: {reason}"
        case AlreadyRunning() | CannotStart() | CannotGoOn() | OSError():
            return said
    return None


def _require_own_secret(host: str) -> None:
    """
    Whoever knows the development key can sign in as anybody, and everybody can read it.

    :raises CannotGoOn: others could reach this process
    """
    from infra.settings import DEVELOPMENT_SECRET, settings

    public = settings().secret_key.get_secret_value() == DEVELOPMENT_SECRET and settings().env != "test"
    if public and not _is_loopback(host):
        raise CannotGoOn(
            f"Others could reach {host}, and with the development secret key sign in as anybody. Set FOOTWORK_SECRET_KEY "
            "(openssl rand -hex 32), or listen on 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _begin() -> None:
    """Logs and wiring, for every role."""
    from api import wiring
    from infra import telemetry

    telemetry.configure()
    wiring.wire()


def _preload() -> None:
    """
    Do once what every work horse would do after its fork, half a second for each photo: imports, the storage client, the
    database's particulars and the first statements. No connection is left open for them to inherit.
    """
    from importlib import import_module

    from sqlalchemy.exc import OperationalError

    from infra import blobs, clock, db, ids, outbox

    for name in ("api.wiring", "scipy.fftpack"):  # imagehash imports the latter when it is first called
        import_module(name)
    blobs.prepare()
    with suppress(OperationalError):  # a database that is not there yet is waited for by the queue
        with db.transaction() as session:
            outbox.begin(session, ids.new(), now=clock.now())
        db.engine().dispose()

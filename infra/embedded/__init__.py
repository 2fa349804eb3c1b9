"""
The built-in services: PostgreSQL, Valkey and SeaweedFS out of Python wheels, on loopback, for development and tests.

    with embedded.start(Path(".data")) as supervisor:
        os.environ |= supervisor.services.as_environment()

Production points the same settings at its own PostgreSQL, Redis and S3 and never comes here.
"""

from infra.embedded.child import CannotStart
from infra.embedded.folder import AlreadyRunning
from infra.embedded.supervisor import PARTS, Services, Supervisor, start

__all__ = ["PARTS", "AlreadyRunning", "CannotStart", "Services", "Supervisor", "start"]

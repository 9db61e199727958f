"""PostgreSQL, for Dagster's storage.

Belongs here: finding the programs, making the data folder, the command line. Does not belong here: tables.

initdb and postgres refuse to run as root: then the data folder belongs to the user `postgres` (else `nobody`), who
must be able to reach it.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from deploy.servers.errors import MissingError, ServerError
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.process import Server, dies_with_parent
from deploy.servers.ready import postgresql_ready
from deploy.servers.secret import kept_secret

USER = "tally"
DATABASE = "postgres"
INSTALL = "apt-get install --no-install-recommends postgresql"
_PASSWORD_FILE = "password"  # noqa: S105 - the file's name
# Dagster's storage on a small machine. Durable, as PostgreSQL is by default.
_OPTIONS = {
    "listen_addresses": LOCAL,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "autovacuum_naptime": "60s",
}


def missing() -> str | None:
    """What this machine lacks to run it, with the command that installs it; None: nothing."""
    try:
        _program("initdb")
    except MissingError as error:
        return str(error)
    return None


def password(folder: Path) -> str:
    """The password of USER in this folder, made at the first call and kept in a file that only its owner reads."""
    return kept_secret(folder / _PASSWORD_FILE)


def command(folder: Path, port: int) -> list[str]:
    """Make the data folder if there is none, and return the command line. Raises ServerError when initdb fails."""
    data = folder / "data"
    user = _unprivileged_user()
    if not (data / "PG_VERSION").exists():
        _initialise(folder, data, user)
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    run = [_program("postgres"), "-D", str(data), "-p", str(port), *options]
    return run if user is None else dies_with_parent(run, user=user)


def server(folder: Path, port: int = 0) -> Server:
    """PostgreSQL in this folder; its log is postgresql.log in it."""
    port = port or free_port()
    secret = password(folder)
    return Server(
        "postgresql",
        folder,
        port,
        lambda: command(folder, port),
        postgresql_ready(port, USER, secret),
        url=f"postgresql://{USER}@{LOCAL}:{port}/{DATABASE}",
        stop_signal=signal.SIGINT,  # "fast": TERM would wait until every client has gone
    )


def dagster_environment(folder: Path, port: int) -> dict[str, str]:
    """What deploy/dagster/dagster.postgres.yaml reads. Holds the password: pass on, never print."""
    return {
        "DAGSTER_POSTGRES_HOST": LOCAL,
        "DAGSTER_POSTGRES_PORT": str(port),
        "DAGSTER_POSTGRES_USER": USER,
        "DAGSTER_POSTGRES_PASSWORD": password(folder),
        "DAGSTER_POSTGRES_DB": DATABASE,
    }


def _initialise(folder: Path, data: Path, user: str | None) -> None:
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    given = folder / ".initial-password"
    given.touch(mode=0o600)
    given.write_text(password(folder), encoding="ascii")
    if user is not None:
        for path in (data, given):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        _require_reachable(data, user)
    initdb = [_program("initdb"), "-D", str(data), "-U", USER, "--pwfile", str(given), "--auth=scram-sha-256"]
    initdb += ["--encoding=UTF8", "--no-locale", "--no-instructions"]
    done = subprocess.run(
        initdb if user is None else dies_with_parent(initdb, user=user), capture_output=True, text=True, check=False
    )
    given.unlink()
    if done.returncode:
        shutil.rmtree(data)
        raise ServerError(f"PostgreSQL's initdb failed in {data}:\n{done.stdout[-500:]}{done.stderr[-2000:]}")


def _require_reachable(folder: Path, user: str) -> None:
    """Raise ServerError when a folder above keeps `user` out: initdb's own words name the wrong one."""
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise ServerError(
            f"PostgreSQL does not run as root, and user {user} may not enter {closed[-1]} on the way to {folder}: "
            "run as another user, set TALLY_HOME to a folder that others may enter, or `chmod o+x` it"
        )


def _unprivileged_user() -> str | None:
    """Who shall run it: None for the caller itself."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _program(name: str) -> str:
    """The program on PATH, else Debian's newest version. Raises MissingError."""
    if found := shutil.which(name):
        return found
    versions = [path for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}") if os.access(path, os.X_OK)]
    if not versions:
        raise MissingError(f"no PostgreSQL ({name}) on PATH: {INSTALL}")
    return str(max(versions, key=lambda path: [int(number) for number in re.findall(r"\d+", path.parts[4])]))

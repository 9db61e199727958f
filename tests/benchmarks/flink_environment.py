"""PyFlink in a virtual environment of its own, made once and kept beside the servers' downloads.

Belongs here: finding or making it. Does not belong here: the job (`flink_job.py`), measuring it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.servers import MissingError, ServerError, java

PACKAGE = "apache-flink==2.3.0"
CONNECTOR = java.Jars("flink-kafka", ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",))
SIZE = "about 850 MB, several minutes"
_INSTALL_SECONDS = 1500


def python() -> Path:
    """Return the environment's interpreter; the first call makes the environment.

    Raises MissingError when Java or Maven is not here, ServerError when it cannot be installed.
    """
    java.find_java()
    folder = java.cache_folder() / f"flink-{hashlib.sha256(PACKAGE.encode()).hexdigest()[:12]}"
    interpreter = folder / "bin" / "python"
    if interpreter.exists():
        return interpreter
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="flink-") as scratch:
        made = Path(scratch) / "environment"
        _run([sys.executable, "-m", "venv", str(made)])
        # Its old dependencies are built from source, with a build tool that still has what their setup.py imports.
        _run([str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", "setuptools<80", "wheel"])
        _run([str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", PACKAGE])
        made.rename(folder)
    return interpreter


def connector() -> Path:
    """Return the jar of the Kafka connector, fetched by Maven at the first call. Raises as `python` does."""
    return next(java.fetch(CONNECTOR).glob("flink-sql-connector-kafka-*.jar"))


def missing() -> str | None:
    """Install what lacks; say in one line why that cannot be done here, or None when all is here."""
    try:
        python()
        connector()
    except (MissingError, ServerError) as error:
        return f"{PACKAGE} cannot be installed here: {error}"
    return None


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{' '.join(command[-2:])}: no end after {_INSTALL_SECONDS} s") from error
    if done.returncode:
        words = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise ServerError(f"{' '.join(command[-2:])} ended with {done.returncode}: {words}")

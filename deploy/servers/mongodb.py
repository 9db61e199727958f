"""A server that speaks MongoDB's protocol: `mongod` where there is one, else mongo-java-server.

Belongs here: its jars, its command line. Does not belong here: collections (`resources.raw_store`).

mongo-java-server is right under concurrency and answers what the raw store asks, and has no transactions, replica sets
or journal: with a file its data survive an orderly stop, and a kill loses the last second.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from deploy.servers import java
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.process import Server
from deploy.servers.ready import mongodb_ready

JARS = java.Jars(
    "mongodb", ("de.bwaldvogel:mongo-java-server:1.47.0", "de.bwaldvogel:mongo-java-server-h2-backend:1.47.0")
)
_MAIN = Path(__file__).with_name("MongoServerMain.java")
_JAVA_OPTIONS = ("-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def missing() -> str | None:
    """What this machine lacks to run it, with the command that installs it; None: nothing."""
    return None if shutil.which("mongod") else java.missing(JARS, java.ECJ)


def command(folder: Path, port: int, *, in_memory: bool = False, say: java.Say | None = None) -> list[str]:
    """The command line; data are in `folder` unless they are to be in memory only."""
    folder.mkdir(parents=True, exist_ok=True)
    if mongod := shutil.which("mongod"):
        return [mongod, "--bind_ip", LOCAL, "--port", str(port), "--dbpath", str(folder), "--quiet"]
    libraries = java.fetch(JARS, say)
    classes = java.compiled(_MAIN, libraries)
    run = [java.find_java(), *_JAVA_OPTIONS, "-cp", java.class_path(classes, libraries), _MAIN.stem, str(port)]
    return run if in_memory else [*run, str(folder / "mongodb.mv")]


def server(folder: Path, port: int = 0, *, in_memory: bool = False) -> Server:
    """MongoDB's protocol on a port. `url` names no database: add `/name`."""
    port = port or free_port()
    return Server(
        "mongodb",
        folder,
        port,
        lambda: command(folder, port, in_memory=in_memory),
        mongodb_ready(port),
        url=f"mongodb://{LOCAL}:{port}",
    )

"""Run one server in the foreground, in place of this process: `python -m deploy.servers kafka --folder F --port P`.

Belongs here: arguments. Does not belong here: how a server is prepared (its module), supervising it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from deploy.servers import ServerError, kafka, mongodb, postgresql, s3


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.servers", description=__doc__)
    parser.add_argument("server", choices=("kafka", "mongodb", "postgresql", "s3"))
    parser.add_argument("--folder", type=Path, required=True, help="everything the server keeps")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--controller-port", type=int, help="Kafka's second port")
    given = parser.parse_args(arguments)
    if given.server == "kafka" and given.controller_port is None:
        parser.error("kafka needs --controller-port")
    try:
        command = _command(given.server, given.folder, given.port, given.controller_port)
    except ServerError as error:
        sys.exit(f"{given.server}: {error}")
    if given.server == "s3":
        os.environ.update(s3.server_environment(given.folder))
    os.execvp(command[0], command)  # noqa: S606 - the same process goes on as the server


def _command(name: str, folder: Path, port: int, controller_port: int) -> list[str]:
    if name == "kafka":
        return kafka.command(folder, port, controller_port)
    if name == "mongodb":
        return mongodb.command(folder, port)
    return postgresql.command(folder, port) if name == "postgresql" else s3.command(folder, port)


if __name__ == "__main__":
    main(sys.argv[1:])

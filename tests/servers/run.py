"""Start all servers once, tell the tests where they are, run a command, stop them: `run.py COMMAND [ARGUMENT…]`.

Belongs here: what `make servers-test` does around pytest. Does not belong here: fixtures (`conftest.py`), servers
(`deploy.servers`).

TALLY_TEST_KAFKA, TALLY_TEST_MONGODB_URL and TALLY_TEST_S3_URL turn the contract suites of tests/resources to the
servers (the cache's runs on a real Redis anyway); TALLY_SERVERS_* are for the fixtures of this folder. A URL that is in
the environment already is kept: so the suites run on somebody's real servers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.servers import Server, ServerError, kafka, mongodb, postgresql, redis, s3
from deploy.servers.scratch import scratch_folder


def main(command: list[str]) -> int:
    problems = [problem for module in (kafka, mongodb, redis, postgresql, s3) if (problem := module.missing())]
    if problems:
        sys.stderr.write("\n".join(f"servers: {problem}" for problem in problems) + "\n")
        return 2
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        servers = [
            kafka.server(folder / "kafka"),
            mongodb.server(folder / "mongodb", in_memory=True),
            redis.server(folder / "redis"),
            postgresql.server(folder / "postgresql"),
            s3.server(folder / "s3"),
        ]
        begun = time.monotonic()
        try:
            for server in servers:
                stack.enter_context(_starting(server))
            for server in servers:
                server.wait_ready()
        except ServerError as error:
            sys.stderr.write(f"servers: {error}\n")
            return 2
        ports = ", ".join(f"{server.name} {server.port}" for server in servers)
        sys.stderr.write(f"servers: ready after {time.monotonic() - begun:.1f} s: {ports}\n")
        return subprocess.run(command, env=_environment(folder, servers), check=False).returncode


def _starting(server: Server) -> ExitStack:
    """Start without waiting; stopped when the stack of contexts unwinds."""
    stack = ExitStack()
    server.start(wait=False)
    stack.callback(server.stop)
    return stack


def _environment(folder: Path, servers: list[Server]) -> dict[str, str]:
    port = {server.name: server.port for server in servers}
    url = {server.name: server.url for server in servers}
    found = {
        "TALLY_SERVERS_REQUIRED": "1",
        "TALLY_SERVERS_FOLDER": str(folder),
        **{f"TALLY_SERVERS_{name.upper()}_PORT": str(number) for name, number in port.items()},
        "TALLY_TEST_KAFKA": url["kafka"].removeprefix("kafka://"),
        "TALLY_TEST_MONGODB_URL": url["mongodb"],
    }
    if "TALLY_TEST_S3_URL" not in os.environ:
        found |= {"TALLY_TEST_S3_URL": f"{url['s3']}/contract", **s3.client_environment(folder / "s3", port["s3"])}
    kept = {name: value for name, value in os.environ.items() if name.startswith("TALLY_TEST_")}
    return {**os.environ, **found, **kept}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m deploy.local.clickhouse`: run the process until SIGTERM or SIGINT.

Belongs here: the command line, the socket, exit codes. Exit codes: 0 stopped as asked, 2 wrong arguments, 3 the port is
taken, 4 the folder cannot be opened.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from deploy.local.clickhouse.engine import Engine, EngineStartError
from deploy.local.clickhouse.server import Application

PORT_TAKEN = 3
FOLDER_UNUSABLE = 4


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ["TZ"] = "UTC"  # the engine takes the machine's zone for its own, and every time here is UTC
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        return _fail(PORT_TAKEN, f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
    try:
        engine = Engine(options.path.expanduser().resolve(), max_memory=options.max_memory)
    except EngineStartError as error:
        return _fail(FOLDER_UNUSABLE, str(error))
    application = Application(
        engine, slots=options.pool, queue=options.queue, password=os.environ.get("TALLY_CLICKHOUSE_PASSWORD", "")
    )
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        http="httptools",
        loop="uvloop",
        lifespan="on",
        timeout_graceful_shutdown=options.drain,
        timeout_keep_alive=60,
        backlog=1024,
    )
    where = f"http://{options.host}:{listener.getsockname()[1]}"
    print(f"ClickHouse {engine.version} on {where}, data in {options.path}", flush=True)  # noqa: T201  # what one waits for
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn drains, then raises the signal again
        signal.signal(number, _leave)
    try:
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
    finally:
        engine.close()
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. Head and body are two writes: without it each answer waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _fail(code: int, sentence: str) -> int:
    print(f"tally clickhouse: {sentence}", file=sys.stderr)  # noqa: T201  # one clear line is the interface
    return code


def _size(text: str) -> int:
    """Bytes, with an optional suffix k, M or G (powers of 1024)."""
    units = {"k": 10, "m": 20, "g": 30}
    shift = units.get(text[-1:].lower(), 0)
    number = float(text[:-1] if shift else text)
    if not number > 0:
        raise ValueError(text)
    return int(number * (1 << shift))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of the data; made where missing")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--pool", type=int, default=4, help="statements that run at once")
    parser.add_argument("--queue", type=int, default=200, help="statements that may wait; the next is refused")
    parser.add_argument("--max-memory", type=_size, default=1 << 30, help="bytes the engine may use, e.g. 1G")
    parser.add_argument("--drain", type=int, default=10, help="seconds that running statements get on SIGTERM")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser


if __name__ == "__main__":
    sys.exit(main())

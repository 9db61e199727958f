"""An S3 server over a folder: `minio` where there is one, else S3Proxy.

Belongs here: its jars, configuration, keys, the bucket. Does not belong here: objects (`resources.archive`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.servers import java
from deploy.servers.ports import LOCAL, free_port
from deploy.servers.process import Server
from deploy.servers.ready import s3_ready
from deploy.servers.secret import kept_secret

JARS = java.Jars("s3", ("org.gaul:s3proxy:2.6.0",))
BUCKET = "tally"
REGION = "us-east-1"
_KEY_ID = "tally"
_SECRET_FILE = "secret-key"  # noqa: S105 - the file's name
_JAVA_OPTIONS = ("-Xmx192m", "-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING = """<configuration>
  <appender name="stdout" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger: %msg%n</pattern></encoder>
  </appender>
  <root level="warn"><appender-ref ref="stdout"/></root>
</configuration>
"""


def missing() -> str | None:
    """What this machine lacks to run it, with the command that installs it; None: nothing."""
    return None if shutil.which("minio") else java.missing(JARS)


def client_environment(folder: Path, port: int) -> dict[str, str]:
    """The standard AWS_* variables that reach it. Holds the secret key: pass on, never print."""
    return {
        "AWS_ENDPOINT_URL": f"http://{LOCAL}:{port}",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": secret_key(folder),
    }


def secret_key(folder: Path) -> str:
    """The secret key of this folder's server, made at the first call and kept in a file that only its owner reads."""
    return kept_secret(folder / _SECRET_FILE)


def server_environment(folder: Path) -> Mapping[str, str]:
    """What `minio` reads from its environment; S3Proxy has it in its configuration."""
    return {"MINIO_ROOT_USER": _KEY_ID, "MINIO_ROOT_PASSWORD": secret_key(folder)}


def command(folder: Path, port: int, *, say: java.Say | None = None) -> list[str]:
    """Make the bucket and return the command line. Objects are below `<folder>/data`."""
    data = folder / "data"
    (data / BUCKET).mkdir(parents=True, exist_ok=True)  # to both of them a folder at the top is a bucket
    if minio := shutil.which("minio"):
        return [minio, "server", str(data), "--address", f"{LOCAL}:{port}", "--quiet"]
    libraries = java.fetch(JARS, say)
    properties = folder / "s3proxy.properties"
    properties.touch(mode=0o600)
    lines = {
        "s3proxy.endpoint": f"http://{LOCAL}:{port}",
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": _KEY_ID,
        "s3proxy.credential": secret_key(folder),
        # Checksums that newer clients send; TLS-less loopback needs none.
        "s3proxy.ignore-unknown-headers": "true",
        # Not filesystem-nio2: while an object is replaced, its listings lack it, and others.
        "jclouds.provider": "filesystem",
        "jclouds.identity": "unused",
        "jclouds.credential": "unused",
        "jclouds.filesystem.basedir": str(data),
    }
    properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    logging = folder / "logback.xml"  # without it, every request is a page of the log
    logging.write_text(_LOGGING, encoding="utf-8")
    run = [java.find_java(), *_JAVA_OPTIONS, f"-Dlogback.configurationFile={logging}"]
    run += ["-cp", java.class_path(libraries)]
    return [*run, "org.gaul.s3proxy.Main", "--properties", str(properties)]


def server(folder: Path, port: int = 0) -> Server:
    """S3 with one bucket, BUCKET. `url` is `s3://…`; `client_environment` says how to reach it."""
    port = port or free_port()
    return Server(
        "s3",
        folder,
        port,
        lambda: command(folder, port),
        s3_ready(port),
        url=f"s3://{BUCKET}",
        environment=server_environment(folder),
    )

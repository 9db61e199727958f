"""Java programs from Maven's central repository, kept in the cache folder.

Belongs here: finding Java, fetching pinned artifacts with Maven, compiling a source file of ours. Does not belong here:
what any program needs to run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.servers.errors import MissingError, ServerError

INSTALL = "apt-get install --no-install-recommends default-jre-headless maven"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"
_FETCH_SECONDS = 600

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jars:
    """A set of artifacts (group:artifact:version, exactly) that goes into one folder with all they depend on."""

    name: str
    artifacts: tuple[str, ...]

    @property
    def folder(self) -> Path:
        digest = hashlib.sha256("\n".join(self.artifacts).encode()).hexdigest()[:12]
        return cache_folder() / f"{self.name}-{digest}"


ECJ = Jars("ecj", ("org.eclipse.jdt:ecj:3.33.0",))
"""Eclipse's compiler: 3 MB, and a Java runtime is enough to run it, where javac needs a development kit."""


def cache_folder() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tally" / "servers"


def find_java() -> str:
    """The `java` of JAVA_HOME, else of PATH. Raises MissingError."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (str(Path(home) / "bin" / "java") if home else None, "java"):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise MissingError(f"no Java on PATH (17 or newer is needed): {INSTALL}")


def missing(*wanted: Jars) -> str | None:
    """What this machine lacks to run these programs, with the command that installs it; None: nothing."""
    try:
        find_java()
    except MissingError as error:
        return str(error)
    if shutil.which("mvn") is None and not all(jars.folder.is_dir() for jars in wanted):
        return f"no Maven on PATH to fetch {', '.join(jars.name for jars in wanted)}: {INSTALL}"
    return None


def fetch(jars: Jars, say: Say | None = None) -> Path:
    """Return the folder of the jars, fetched by Maven at the first call. Processes wait for each other.

    Raises MissingError without Maven, ServerError when it fails.
    """
    if jars.folder.is_dir():
        return jars.folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingError(f"no Maven on PATH to fetch {jars.name}: {INSTALL}")
    with _locked(jars.folder):
        if jars.folder.is_dir():
            return jars.folder
        if say:
            say(f"fetching {', '.join(jars.artifacts)} with Maven")
        with tempfile.TemporaryDirectory(dir=jars.folder.parent, prefix=f"{jars.name}-") as scratch:
            pom = Path(scratch) / "pom.xml"
            pom.write_text(_pom(jars), encoding="utf-8")
            made = Path(scratch) / "jars"
            _run(
                [
                    *(maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom)),
                    *(f"{_PLUGIN}:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made}"),
                ],
                f"Maven could not fetch {', '.join(jars.artifacts)}",
            )
            made.rename(jars.folder)
    return jars.folder


def class_path(*folders: Path) -> str:
    """All jars of these folders, and the folders themselves, as Java's `-cp` takes them."""
    return os.pathsep.join(part for folder in folders for part in (str(folder), f"{folder}/*"))


def compiled(source: Path, libraries: Path) -> Path:
    """Return a folder with the classes of one source file, compiled at the first call. Raises ServerError."""
    digest = hashlib.sha256(source.read_bytes() + str(libraries).encode()).hexdigest()[:12]
    classes = cache_folder() / f"{source.stem}-{digest}"
    compiler = fetch(ECJ)
    with _locked(classes):
        if not classes.is_dir():
            with tempfile.TemporaryDirectory(dir=classes.parent, prefix=f"{source.stem}-") as scratch:
                made = Path(scratch) / "classes"
                _run(
                    [
                        *(find_java(), "-cp", class_path(compiler), "org.eclipse.jdt.internal.compiler.batch.Main"),
                        *("-17", "-proc:none", "-cp", os.pathsep.join(map(str, sorted(libraries.glob("*.jar"))))),
                        *("-d", str(made), str(source)),
                    ],
                    f"{source.name} could not be compiled",
                )
                made.rename(classes)
    return classes


def _pom(jars: Jars) -> str:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        for group, artifact, version in (name.split(":") for name in jars.artifacts)
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>tally</groupId><artifactId>{jars.name}</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _run(command: Sequence[str], failure: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{failure}: no end after {_FETCH_SECONDS} s") from error
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ServerError(f"{failure} (exit code {done.returncode}):\n{words}")


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""What a statement may touch: the data of this process, and nothing else of the machine or the network.

Belongs here: the engine's users, and the one function that their rights do not cover. Does not belong here: who may
connect (`request.check_password`).

chdb runs as ClickHouse's local tool does, whose user may read every file and address that the process may. Rights are
the engine's own business, so they are given to it as a server's are: all of them but the sources (file, url, s3,
remote, other databases …), backups, and dictionaries, which read sources too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.errors import refuse
from deploy.local.clickhouse.statement import tokens

_RIGHTS: Final = (
    "GRANT CHECK, SHOW, SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, SYSTEM,"
    " dictGet, INTROSPECTION ON *.*",
    "GRANT SET DEFINER ON *",
    "REVOKE CREATE DICTIONARY ON *.*",
)
_USERS: Final = """<clickhouse>
  <users><default>
    <password></password>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>{rights}</grants>
  </default></users>
  <profiles><default></default></profiles>
  <quotas><default></default></quotas>
</clickhouse>
"""
_MAY_NAME_IT: Final = re.compile(r"file|\\", re.IGNORECASE)


def write_users(folder: Path) -> Path:
    """Write the engine's users into the folder; returns the file, for `users_config`."""
    path = folder / "users.xml"
    path.write_text(_USERS.format(rights="".join(f"<query>{right}</query>" for right in _RIGHTS)), encoding="utf-8")
    return path


def check_functions(sql: str) -> None:
    """Raise where a statement names the scalar function `file`, which reads any file and knows no rights.

    A function may be named without brackets (`APPLY file`) and in quotes, where escapes can hide it. So the bare name
    is refused wherever it stands, and so are escapes in quoted names; a column of that name is reached as `t.file`.
    """
    if not _MAY_NAME_IT.search(sql):
        return
    before = ""
    for token in tokens(sql):
        if token.kind == "heredoc":
            check_functions(token.value.strip("$"))
        name = token.value.strip('"`') if token.kind == "quoted" else token.value
        if token.kind in {"word", "quoted"} and before != "." and (name == "file" or "\\" in name):
            shown = "file" if name == "file" else token.value
            sentence = (
                f"The local process reads no file of this machine, so the name {shown} is not served: write t.{shown}"
                " for a column of that name"
            )
            raise refuse("ACCESS_DENIED", sentence)
        before = token.value

"""`keys`: API keys of workspaces.

Belongs here: arguments and tables. Does not belong here: making and keeping keys (`serving.access`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, good, out, print_json, table, warn
from orchestration.cli.times import ago, iso, parse_duration

if TYPE_CHECKING:
    from serving.access.keys import NewKey
    from serving.access.store import AccessStore

keys_app = typer.Typer(help="API keys: make, list, rotate, revoke.", no_args_is_help=True)

RoleName = Literal["viewer", "analyst", "editor", "admin"]


def register(app: typer.Typer) -> None:
    keys_app.command()(create)
    keys_app.command("list")(list_keys)
    keys_app.command()(rotate)
    keys_app.command()(revoke)
    keys_app.command()(log)
    app.add_typer(keys_app, name="keys", rich_help_panel="Stack")


def create(
    *,
    workspace: Annotated[str, typer.Option(help="The one workspace that the key sees.")],
    role: Annotated[RoleName, typer.Option(help="viewer reads; analyst explains; admin manages keys.")] = "viewer",
    name: Annotated[str, typer.Option(help="Whose it is, or what for.")] = "",
    expires: Annotated[str | None, typer.Option(help="How long it is good, e.g. 90d (default: for ever).")] = None,
    json: JsonFlag = False,
) -> None:
    """Make an API key and print it. It is shown once: only a hash is kept.

    Example: [bold]tally keys create --workspace demo --role analyst --expires 90d[/]
    """
    from serving.access.roles import Role

    lifetime = parse_duration(expires) if expires else None
    with _access() as access:
        made = access.create_key(workspace, Role(role), datetime.now(UTC), name=name, expires_in=lifetime)
    _tell(made, as_json=json)


def list_keys(
    *,
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    json: JsonFlag = False,
) -> None:
    """List keys: id, workspace, role, state. The keys themselves are kept nowhere.

    Example: [bold]tally keys list --workspace demo[/]
    """
    now = datetime.now(UTC)
    with _access() as access:
        found = access.keys(workspace)
    if json:
        print_json(
            [
                {
                    "id": key.id, "workspace": key.workspace, "role": key.role, "name": key.name,
                    "state": key.state(now), "created_at": key.created_at, "expires_at": key.expires_at,
                    "revoked_at": key.revoked_at, "replaced_by": key.replaced_by,
                }
                for key in found
            ]
        )  # fmt: skip
        return
    rows = [
        (
            f"tally_{key.id}_…",
            key.workspace,
            key.role,
            key.name,
            key.state(now),
            ago(key.created_at),
            iso(key.expires_at),
        )
        for key in found
    ]
    out().print(table("API keys", ("id", "workspace", "role", "name", "state", "made", "expires"), rows))


def rotate(
    key: Annotated[str, typer.Argument(help="The key's id, as `tally keys list` shows it.")],
    *,
    overlap: Annotated[str, typer.Option(help="How long the old key stays good.")] = "24h",
    json: JsonFlag = False,
) -> None:
    """Make a key like another, which stays good for a while and then expires.

    Example: [bold]tally keys rotate 4f1c22d9a0b3 --overlap 7d[/]
    """
    with _access() as access:
        made = access.rotate_key(_id(key), datetime.now(UTC), overlap=parse_duration(overlap))
    if made is None:
        raise CliError(f"there is no key {key!r} that is good and was not rotated", hint="`tally keys list` shows them")
    _tell(made, as_json=json)


def revoke(key: Annotated[str, typer.Argument(help="The key's id.")], *, json: JsonFlag = False) -> None:
    """End a key for good. The API refuses it within two seconds.

    Example: [bold]tally keys revoke 4f1c22d9a0b3[/]
    """
    with _access() as access:
        found = access.revoke_key(_id(key), datetime.now(UTC))
    if not found:
        raise CliError(f"there is no key {key!r}", hint="`tally keys list` shows them")
    if json:
        print_json({"revoked": _id(key)})
    else:
        out().print(f"Key {_id(key)} is revoked.", markup=False)


def log(
    *,
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    json: JsonFlag = False,
) -> None:
    """Show every change of keys: when, by whom, what.

    Example: [bold]tally keys log --workspace demo[/]
    """
    with _access() as access:
        changes = access.log(workspace)
    if json:
        print_json(changes)
        return
    columns = ("at", "actor", "action", "workspace", "key_id", "detail")
    rows: list[tuple[Any, ...]] = [(iso(each["at"]), *(each[name] for name in columns[1:])) for each in changes]
    out().print(table("Changes of keys", ("at", "by", "what", "workspace", "key", ""), rows))


@contextmanager
def _access() -> Iterator[AccessStore]:
    from serving.access.store import AccessStore as Opened

    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    access = Opened(settings.access_url.get_secret_value())
    try:
        yield access
    finally:
        access.close()


def _id(key: str) -> str:
    """Accept an id, and a key, of which the id is a part."""
    return key.removeprefix("tally_").partition("_")[0]


def _tell(made: NewKey, *, as_json: bool) -> None:
    key = made.key
    if as_json:
        print_json(
            {
                "key": made.token, "id": key.id, "workspace": key.workspace, "role": key.role,
                "expires_at": key.expires_at,
            }
        )  # fmt: skip
        return
    console = out()
    until = f"until {iso(key.expires_at)}" if key.expires_at else "until it is revoked"
    console.print(good(f"A key of role {key.role} for workspace {key.workspace}, good {until}:"))
    console.print(made.token, markup=False, soft_wrap=True)
    console.print(warn("It is shown this once. Send it as 'Authorization: Bearer KEY'."))

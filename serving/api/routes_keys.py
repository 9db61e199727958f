"""Keys of the caller's own workspace by REST.

Belongs here: listing and revoking for administrators. Does not belong here: making keys (`tally keys create`, which
prints them once), the database (`serving.access`).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Path
from starlette.responses import Response

from serving.access.store import AccessUnavailableError
from serving.api.documents import KeyDocument
from serving.api.problems import ProblemError
from serving.api.routes_metrics import REFUSALS
from serving.api.state import ApiState, KeyManager

router = APIRouter(prefix="/v1", responses=REFUSALS, default_response_class=Response)


@router.get("/keys", responses={200: {"model": list[KeyDocument]}})
async def list_keys(caller: KeyManager, api: ApiState) -> Response:
    """Keys of this workspace, without their secrets, which nobody has."""
    now = datetime.now(UTC)
    try:
        keys = await asyncio.to_thread(api.access.keys, caller.workspace)
    except AccessUnavailableError as error:
        raise _away() from error
    listed = [
        {
            "id": key.id, "name": key.name, "role": key.role, "state": key.state(now), "created_at": key.created_at,
            "expires_at": key.expires_at,
        }
        for key in keys
    ]  # fmt: skip
    return Response(orjson.dumps(listed), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.delete("/keys/{id}", status_code=204)
async def revoke_key(
    caller: KeyManager, api: ApiState, key_id: Annotated[str, Path(alias="id", max_length=100)]
) -> Response:
    """Revoke a key of this workspace. Repeating it changes nothing."""

    def revoke() -> bool:
        return api.access.revoke_key(key_id, datetime.now(UTC), workspace=caller.workspace, actor=caller.key_id)

    try:
        found = await asyncio.to_thread(revoke)
    except AccessUnavailableError as error:
        raise _away() from error
    if not found:
        raise ProblemError("not-found", "there is no such key", parameter="id", value=key_id)
    api.callers.forget()
    return Response(None, 204)


def _away() -> ProblemError:
    return ProblemError("unavailable", "the access database does not answer", retry_after=2)

"""What the routes share, and how a route says who may use it.

Belongs here: the process's one state, the dependency that admits a caller. Does not belong here: any route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from serving.access.roles import Action
from serving.access.store import AccessStore
from serving.api.callers import Caller, Callers
from serving.api.config import ApiConfig
from serving.api.desk import Desk
from serving.api.live import Hub
from serving.api.stores import Stores
from serving.api.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Api:
    """One process's state, in `app.state.api`."""

    config: ApiConfig
    stores: Stores
    access: AccessStore
    callers: Callers
    desk: Desk
    hub: Hub
    telemetry: Telemetry


def api_of(request: Request) -> Api:
    found: Api = request.app.state.api
    return found


_bearer = HTTPBearer(auto_error=False, description="An API key: `tally keys create` makes one")


def allowed(action: Action) -> Callable[..., Awaitable[Caller]]:
    """The dependency of a route: admits callers whose role may do this."""

    async def admit(
        request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> Caller:
        return await api_of(request).callers.admit(request.headers.get("authorization", ""), action)

    return admit


Reader = Annotated[Caller, Depends(allowed(Action.READ))]
Analyst = Annotated[Caller, Depends(allowed(Action.EXPLAIN))]
KeyManager = Annotated[Caller, Depends(allowed(Action.MANAGE_KEYS))]
ApiState = Annotated[Api, Depends(api_of)]

"""What the routes share, and how a route says who may use it.

Belongs here: the process's one state, the dependency that admits a caller. Does not belong here: any route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from serving.access.roles import Action
from serving.access.store import AccessStore
from serving.api.callers import Caller, Callers
from serving.api.config import ApiConfig
from serving.api.desk import Desk
from serving.api.hot import HotQuestions
from serving.api.live import Hub
from serving.api.problems import ProblemError, shown
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
    hot: HotQuestions
    telemetry: Telemetry


async def api_of(request: Request) -> Api:
    """The state; a coroutine, because FastAPI would run a plain function in a thread, which costs more than a hit."""
    found: Api = request.app.state.api
    return found


_bearer = HTTPBearer(auto_error=False, description="An API key: `tally keys create` makes one")


def allowed(action: Action) -> Callable[..., Awaitable[Caller]]:
    """The dependency of a route: admits callers whose role may do this."""

    async def admit(
        request: Request, _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> Caller:
        caller = await request.app.state.api.callers.admit(request.headers.get("authorization", ""), action)
        _check_names(request)
        return cast(Caller, caller)

    return admit


def _check_names(request: Request) -> None:
    """Refuse a parameter that the route does not have: mistyped, it would be left out silently."""
    if not request.query_params:
        return
    route: APIRoute = request.scope["route"]
    known = _KNOWN.get((request.method, route.path))
    if known is None:
        found = frozenset(field.alias for field in route.dependant.query_params)
        known = _KNOWN[request.method, route.path] = found
    for name in request.query_params:
        if name not in known:
            detail = f"there is no parameter {shown(name)!r} here; there are: {', '.join(sorted(known)) or 'none'}"
            raise ProblemError("bad-parameter", detail, parameter=shown(name))


_KNOWN: dict[tuple[str, str], frozenset[str]] = {}
"""Parameters by method and path of a route, looked up once."""


Reader = Annotated[Caller, Depends(allowed(Action.READ))]
Analyst = Annotated[Caller, Depends(allowed(Action.EXPLAIN))]
KeyManager = Annotated[Caller, Depends(allowed(Action.MANAGE_KEYS))]
ApiState = Annotated[Api, Depends(api_of)]

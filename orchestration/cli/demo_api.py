"""What the demo prints of the API: a key, and a question by curl, by GraphQL and from Python, to be pasted as they are.

Belongs here: these lines. Does not belong here: the rest of the page (`demo_report`), the API.
"""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestration.cli.times import iso

if TYPE_CHECKING:
    from orchestration.settings import Settings

KEY_DAYS = 7


def api_commands(settings: Settings, start: datetime, end: datetime) -> list[str]:
    """Make a key for the workspace of the first write key; return lines for a shell that ask of `[start, end)`."""
    from serving.access.roles import Role
    from serving.access.store import AccessStore

    workspace = settings.write_keys.get_secret_value().split(",")[0].partition("=")[0].strip()
    access = AccessStore(settings.access_url.get_secret_value())
    try:
        made = access.create_key(
            workspace, Role.ANALYST, datetime.now(UTC), name="demo", expires_in=timedelta(days=KEY_DAYS), actor="demo"
        )
    finally:
        access.close()
    base = f"http://{settings.api_host}:{settings.api_port}"
    since, until = (iso(moment).replace(" ", "T") for moment in (start, end))
    query = (
        f'{{ metric(id: engagements, from: "{since}", to: "{until}", grain: day, by: [network]) '
        "{ asOf completeThrough rows { bucket group { member } value complete } } }"
    )
    program = (
        f"import httpx, os; given = httpx.get('{base}/v1/metrics/active_actors', "
        f"params={{'from': '{since}', 'to': '{until}', 'grain': 'day'}}, "
        "headers={'Authorization': 'Bearer ' + os.environ['KEY']}); print(given.json()['rows'])"
    )
    send = 'curl -sS -H "Authorization: Bearer $KEY"'
    return [
        f"export KEY={made.token}",
        f"{send} '{base}/v1/metrics/events?from={since}&to={until}&grain=day&by=network'",
        f"{send} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps({'query': query}))} {base}/graphql",
        f'python -c "{program}"',
    ]

"""The publisher's two tasks of alerts: evaluating rules every half minute, delivering every other second.

Belongs here: the tasks. Does not belong here: what they do (`evaluate`, `deliver`).

Rules are read again with every evaluation: a changed file counts from then on. A rule whose metric or filter is wrong
stops no other; the task then fails with its name, and `tally status` shows it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from contracts.alerts.model import load_rules
from orchestration.alerts.deliver import deliver_due
from orchestration.alerts.evaluate import evaluate
from orchestration.alerts.store import AlertStore
from orchestration.settings import Settings
from orchestration.stack.paths import StackPaths
from resources.clickhouse import Client, open_clickhouse
from serving.errors import QueryError


class AlertTask:
    """Evaluates every rule."""

    name = "alerts"
    every_seconds = 30.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None

    def run(self, now: datetime) -> None:
        """Judge what has become complete. Raises AlertRuleError, QueryError naming the rule, the store's errors."""
        rules = load_rules(Path(self._settings.alert_rules)).rules
        if not rules:
            return
        if self._client is None:
            self._client = open_clickhouse(self._settings.clickhouse_url)
        store = AlertStore(StackPaths(self._settings.home).alerts)
        wrong = []
        for rule in rules:
            try:
                evaluate(self._client, store, rule, now)
            except QueryError as error:
                wrong.append(f"rule {rule.id}: {error}")
        if wrong:
            raise QueryError("; ".join(wrong))


class DeliveryTask:
    """Delivers what is due."""

    name = "alert-delivery"
    every_seconds = 2.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, now: datetime) -> None:
        """Try what is due. Raises AlertRuleError when the rules cannot be read."""
        path = StackPaths(self._settings.home).alerts
        if path.exists():
            rules = load_rules(Path(self._settings.alert_rules))
            deliver_due(AlertStore(path), rules, self._settings.smtp_url.get_secret_value(), now)

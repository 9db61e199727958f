"""`tally alerts`: rules are checked and rehearsed, silences kept, incidents listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.settings import Settings

RUN = CliRunner()
RULES = """
rules:
  - {id: many, version: 1, description: Many events., metric: events, when: {kind: threshold, above: 50}}
"""


@pytest.fixture
def rules(stores: Settings) -> Path:
    folder = stores.home / "alerts"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


def test_rules_are_listed_rehearsed_and_silenced(rules: Path, workers: Any, day: Path) -> None:
    assert RUN.invoke(app, ["ingest", str(day), "--network", "tally", "--no-wait"]).exit_code == 0
    workers()
    shown = RUN.invoke(app, ["alerts", "rules"])
    assert shown.exit_code == 0, shown.output
    assert "many v1" in shown.output
    rehearsed = json.loads(RUN.invoke(app, ["alerts", "check", "--from", "2026-01-05", "--json"]).output)
    assert [incident["text"] for incident in rehearsed["many"]] == ["events is 100, above 50"]
    assert RUN.invoke(app, ["alerts", "silence", "many", "--for", "2h"]).exit_code == 0
    assert json.loads(RUN.invoke(app, ["alerts", "rules", "--json"]).output)[0]["silenced_until"]
    assert RUN.invoke(app, ["alerts", "silence", "many", "--for", "0m"]).exit_code == 0
    assert json.loads(RUN.invoke(app, ["alerts", "rules", "--json"]).output)[0]["silenced_until"] is None
    soon = RUN.invoke(app, ["alerts", "silence", "many", "--for", "soon"])
    assert (soon.exit_code, "'soon' is not a length of time" in soon.output) == (2, True)
    assert "No rule has found anything yet" in RUN.invoke(app, ["alerts", "list"]).output


def test_a_wrong_rule_and_an_unknown_one_are_named(rules: Path) -> None:
    unknown = RUN.invoke(app, ["alerts", "silence", "few"])
    assert unknown.exit_code == 2
    assert "there is no rule 'few'" in unknown.output
    for command in ("rules", "check"):
        missing = RUN.invoke(app, ["alerts", command, "--rules", str(rules / "none.yaml")])
        assert missing.exit_code == 2
        assert "none.yaml: there is no such file or folder" in missing.output
    (rules / "rules.yaml").write_text("rules:\n  - *no")
    broken = RUN.invoke(app, ["alerts", "rules"])
    assert broken.exit_code == 2
    assert "rules.yaml is not YAML: line 2: found undefined alias 'no'" in " ".join(broken.output.split())
    (rules / "rules.yaml").write_text(RULES.replace("threshold", "treshold"))
    wrong = RUN.invoke(app, ["alerts", "rules"])
    assert wrong.exit_code == 2
    assert "rules.0.when" in wrong.output

"""Rule files: the examples are valid, and what is wrong is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.alerts.model import AlertRuleError, load_rules
from contracts.metric_catalogue import catalogue

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "alerts" / "examples"
RULE = "rules: [{id: a, version: 1, description: d, metric: events, when: {kind: absence}%s}]\n"


def test_the_examples_are_rules_of_every_kind_on_metrics_that_exist() -> None:
    found = load_rules(EXAMPLES)
    assert {rule.when.kind for rule in found.rules} == {"threshold", "change", "anomaly", "absence"}
    assert {rule.metric for rule in found.rules} <= set(catalogue())
    assert set(found.channels) == {"ops", "team"}


def test_a_folder_is_one_set_of_rules(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULE % ", channels: [mail]")
    (tmp_path / "b.yaml").write_text("channels: {mail: {kind: email, to: [a@example.org]}}")
    assert load_rules(tmp_path).rules[0].channels == ["mail"]
    assert load_rules(tmp_path / "missing").rules == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [", "is not YAML"),
        ("[1, 2]", "but a list"),
        (RULE % ", colour: red", "rules.0.colour: Extra inputs"),
        (RULE % ", channels: [ops]", "rule 'a' names channel 'ops'; there are none"),
        (RULE % "" + "# twice\n", ""),
        (RULE.replace("kind: absence", "kind: threshold, above: 3, below: 2") % "", "one of `above` and `below`"),
        (RULE.replace("kind: absence", "kind: threshold, above: 3, clear: 5") % "", "wrong side"),
        (RULE.replace("kind: absence", "kind: change") % "", "`rise`, `fall`, or both"),
        (RULE.replace("kind: absence", "kind: anomaly") % ", grain: day", "by the hour"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    if not message:
        load_rules(file)
        return
    with pytest.raises(AlertRuleError) as caught:
        load_rules(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_two_rules_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(RULE % "")
    with pytest.raises(AlertRuleError, match="two rules have the id 'a'"):
        load_rules(tmp_path)

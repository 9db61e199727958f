"""The rules of ads: what a wrong file is told, and what the right one means."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.ads import RULES_FILE, AdRulesError, ad_rules, load_rules


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("currency: USD", "currency: dollars", "currency"),
        ("click: 168", "click: 0", "look_back_hours.click"),
        ("click: 168, engagement: 24, view: 24", "click: 168", "look_back_hours: .*no value for engagement, view"),
        ("192.0.2.0/24", "192.0.2.300/24", "invalid_traffic.data_centers: .*192.0.2.300/24"),
        ("half_life_hours: 168", "half_life: 7", "half_life_hours: Field required"),
        ("version: 1", "version: [", "not YAML"),
    ],
)
def test_a_wrong_rule_is_named_with_its_file(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "ads.yaml"
    text = RULES_FILE.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(AdRulesError, match=f"ads.yaml: .*{words}"):
        load_rules(path)


def test_the_look_back_of_an_advertiser_falls_back_by_kind() -> None:
    rules = ad_rules().model_copy(update={"advertisers": {"shoes": {"view": 48}}})
    hour = 3_600_000
    assert [rules.look_back_ms("shoes", kind) // hour for kind in ("click", "view")] == [168, 48]
    assert [rules.look_back_ms("hats", kind) // hour for kind in ("click", "view")] == [168, 24]

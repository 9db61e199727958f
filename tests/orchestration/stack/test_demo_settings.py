"""The demo's own folder and ports: it disturbs nobody and remembers where it went."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestration.demo import demo_settings, only_one
from orchestration.settings import Settings
from orchestration.stack.errors import StackError
from tests.orchestration.stack.conftest import free_port


@pytest.fixture(autouse=True)
def _no_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TALLY_{name.upper()}", raising=False)


def test_a_port_in_use_is_moved_and_remembered(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "settings.env").write_text(f"TALLY_TOPIC_PARTITIONS=2\nTALLY_DAGSTER_PORT={port}\n")
        settings = demo_settings(tmp_path)
    assert settings.dagster_port > port
    again = Settings(home=tmp_path)
    assert (again.dagster_port, again.topic_partitions) == (settings.dagster_port, 2)


def test_a_port_of_the_environment_is_remembered_for_other_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_DAGSTER_PORT", str(free_port()))
    port = demo_settings(tmp_path).dagster_port
    monkeypatch.delenv("TALLY_DAGSTER_PORT")
    assert Settings(home=tmp_path).dagster_port == port


def test_the_environment_wins_over_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.env").write_text("TALLY_DAGSTER_PORT=3999\n")
    monkeypatch.setenv("TALLY_HOME", str(tmp_path))
    assert Settings().dagster_port == 3999
    monkeypatch.setenv("TALLY_DAGSTER_PORT", "4000")
    assert Settings().dagster_port == 4000


def test_two_demos_in_one_folder_are_refused(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(StackError, match=r"already runs in .* \(pid \d+\)"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass

"""The counting commands on a real directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crdtstats.cli import main

pytest.importorskip("crdtstats._core", reason="the extension is not built")


def test_what_is_counted_is_there_for_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRDTSTATS_DIR", str(tmp_path / "stats.d"))

    def ask(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    ask("incr", "site/home/views")
    ask("incr", "/site//home/views/", "41")
    ask("incr", "site/about/views", "-3")
    assert ask("get", "site/home/views") == "42\n"
    assert ask("total", "site") == "39\n"
    assert json.loads(ask("total", "--json")) == {"key": "", "value": 39}
    assert ask("top", "site", "-n", "1") == "42  site/home/views\n"
    assert ask("ls", "site") == "-3  about\n42  home\n"
    assert main(["incr", "a/..", "1"]) == 2
    assert main(["incr", "a", str(2**63)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert ask("total") == "39\n"

"""The command line's border: exit codes, one line on stderr, JSON on every reader."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest

from crdtstats.cli import main
from crdtstats.errors import UnavailableError, UsageError


class Store:
    """Stands in for an open store."""

    counts: ClassVar[dict[str, int]] = {"a/b": 7, "a/c": -2, "a/new\nline": 3}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def increment(self, key: str, amount: int = 1) -> None:
        if not key.strip("/"):
            raise UsageError("the root is no key:\nname one")
        self.counts = {**self.counts, key: self.counts.get(key, 0) + amount}
        type(self).last = (key, amount)

    def get(self, key: str) -> int:
        return self.counts.get(key, 0)

    def total(self, prefix: str) -> int:
        return sum(v for k, v in self.counts.items() if not prefix or k.startswith(prefix))

    def top(self, prefix: str, count: int) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda row: -row[1])[:count]

    def children(self, prefix: str) -> dict[str, int]:
        return {key.split("/")[1]: value for key, value in self.counts.items()}


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    stand_in = types.SimpleNamespace(open=lambda path: Store())
    import crdtstats

    monkeypatch.setattr(crdtstats, "open", stand_in.open, raising=False)
    return str(tmp_path)


def test_readers_answer_in_text_and_in_json(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*arguments: str) -> str:
        assert main([*arguments, "--dir", directory]) == 0
        return capsys.readouterr().out

    assert ask("get", "a/b") == "7\n"
    assert json.loads(ask("get", "a/b", "--json")) == {"key": "a/b", "value": 7}
    assert ask("total", "a") == "8\n"
    assert ask("total") == "8\n"
    assert json.loads(ask("total", "a", "--json")) == {"key": "a", "value": 8}
    assert ask("top", "a", "-n", "2") == "7  a/b\n3  a/new\\nline\n"
    assert json.loads(ask("top", "a", "-n", "1", "--json"))["rows"] == [{"key": "a/b", "value": 7}]
    assert ask("ls", "a") == " 7  b\n-2  c\n 3  new\\nline\n"
    assert len(json.loads(ask("ls", "a", "--json"))["rows"]) == 3


def test_incr_takes_negative_amounts(directory: str) -> None:
    assert main(["incr", "--dir", directory, "a/b"]) == 0
    assert Store.last == ("a/b", 1)
    assert main(["incr", "--dir", directory, "a/b", "-5"]) == 0
    assert Store.last == ("a/b", -5)


@pytest.mark.parametrize(
    "arguments",
    [
        ["incr", "/"],
        ["incr", "a", "many"],
        ["get"],
        ["frobnicate"],
        [],
        ["demo", "--replicas", "0"],
        ["demo", "--timeout", "nan"],
        ["top", "a", "-n", "-1"],
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    directory: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("CRDTSTATS_DIR", directory)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("crdtstats")


def test_a_reader_makes_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "a", "--dir", str(tmp_path / "none")]) == 2
    assert "no data directory" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_the_store_refuses_is_exit_code_1(
    directory: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: str) -> None:
        raise UnavailableError("in use by process 7")

    monkeypatch.setattr("crdtstats.open", refuse)
    assert main(["get", "a", "--dir", directory]) == 1
    assert capsys.readouterr().err == "crdtstats: in use by process 7\n"


def test_interruption_is_clean(
    directory: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crdtstats.open", interrupt)
    assert main(["get", "a", "--dir", directory]) == 130
    assert capsys.readouterr().err == "crdtstats: interrupted\n"


def test_rich_is_not_imported_for_a_count(directory: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("rich", "rich_argparse")]:
        del sys.modules[name]
    assert main(["incr", "--dir", directory, "a"]) == 0
    assert not any(name.split(".")[0] in ("rich", "rich_argparse") for name in sys.modules)

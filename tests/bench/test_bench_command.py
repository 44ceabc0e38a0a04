"""``crdtstats bench``: what it says, and what it makes of rows that cannot run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crdtstats.bench import command, rows
from crdtstats.bench.lab import Lab, peer_module
from crdtstats.bench.outcome import Outcome, at_least, at_most, duration, figure, rate
from crdtstats.bench.race import Race, Side
from crdtstats.bench.report import Measured
from crdtstats.bench.row import Row, gauge
from crdtstats.cli import main
from crdtstats.errors import DataError


def test_quick_json_says_machine_and_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--json", "--dir", str(tmp_path), "increment-hot", "get-h*"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["machine"]["cores"] == str(os.cpu_count())
    assert [row["name"] for row in said["rows"]] == ["increment-hot", "get-hot"]
    increment = said["rows"][0]
    assert increment["promise"] == "≥ 1.80 ×"
    assert len(increment["samples"]) == command.PAIRS_QUICK
    assert increment["worst"] <= increment["median"] <= increment["best"]
    assert increment["met"] == (increment["median"] >= 1.8)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_row_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "frobnicate"]) == 2
    assert "increment-hot" in capsys.readouterr().err


def test_names_are_unique_and_sizes_grow() -> None:
    names = [row.name for row in rows.ROWS]
    assert len(names) == len(set(names))
    quick, normal, full = (rows.chosen([], size) for size in rows.SIZES)
    assert len(quick) < len(normal) < len(full) == len(names)


def made(monkeypatch: pytest.MonkeyPatch, *listed: Row) -> None:
    monkeypatch.setattr(rows, "ROWS", listed)


def test_a_missing_peer_is_skipped_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(lab: Lab) -> Outcome:
        peer_module("no_such_peer")
        raise AssertionError

    made(monkeypatch, gauge("missing", "something", at_least(1.0), measure))
    assert main(["bench"]) == 0
    assert "skipped: no_such_peer is not installed" in capsys.readouterr().out


def test_a_failure_ends_its_row_only_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(lab: Lab) -> Outcome:
        raise DataError("damaged")

    made(
        monkeypatch,
        gauge("fails", "something", at_least(1.0), fail),
        gauge("works", "something", at_most(3.0, "ns"), lambda lab: Outcome((2.0, 1.0, 4.0))),
    )
    assert main(["bench", "--json"]) == 1
    failed, works = json.loads(capsys.readouterr().out)["rows"]
    assert (failed["verdict"], failed["why"]) == ("failed", "DataError: damaged")
    assert (works["median"], works["worst"], works["best"], works["met"]) == (2.0, 4.0, 1.0, True)


def test_a_stage_is_built_once_and_left_for_another() -> None:
    built: list[str] = []

    class Stage:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> str:
            built.append(self.name)
            return self.name

        def __exit__(self, *_: object) -> None:
            built.append(f"-{self.name}")

    with Lab() as lab:
        for name in "aab":
            assert lab.stage(name, lambda name=name: Stage(name)) == name
    assert built == ["a", "-a", "b", "-b"]
    assert not lab.directory.exists()


def test_a_race_gives_the_ratio_of_its_sides() -> None:
    prepared: list[int] = []

    def work(loops: int) -> int:
        return sum(range(loops))

    def prepare(turn: int) -> int:
        prepared.append(turn)
        return 20_000

    race = Race(Side(work, prepare), Side(work, lambda turn: 80_000), 1, best_of=5)
    outcome = race.run(7, spin_s=0.01)
    assert len(outcome.samples) == 7
    assert 2.0 < outcome.median < 8.0
    assert prepared == sorted(set(prepared)), "each turn is prepared once, in order"


def test_figures_are_short() -> None:
    assert [figure(value, "×") for value in (0, 0.001, 1.234, 12.34, 1234.5)] == [
        "0 ×",
        "1.0e-03 ×",
        "1.23 ×",
        "12.3 ×",
        "1\u202f234 ×",
    ]
    assert rate(1_000_000, 0.5) == "2 M/s"
    assert [duration(s) for s in (2.5, 0.0123, 4.2e-5, 6e-9)] == ["2.5 s", "12.3 ms", "42 µs", "6 ns"]


def test_half_a_promise_is_easier() -> None:
    assert at_least(3.0).half().limit == 1.5
    assert at_most(3.0).half().limit == 6.0
    row = gauge("x", "x", at_most(1.0, "ms"), lambda lab: Outcome((1.5,)))
    assert not Measured(row, Outcome((1.5,)), 0.0).met
    assert row.promise is not None
    assert row.promise.half().kept(1.5)

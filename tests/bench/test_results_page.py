"""``benches/write_results.py``: what was measured becomes a page, what was not is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from crdtstats.bench.outcome import Outcome, at_least
from crdtstats.bench.report import Measured, as_json
from crdtstats.bench.row import gauge

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_is_met_and_what_was_not_measured(tmp_path: Path) -> None:
    row = gauge("fast", "a | b", at_least(2.0), lambda lab: Outcome(()), beside="`d[k]`")
    slow = gauge("slow", "c", at_least(2.0), lambda lab: Outcome(()))
    missing = gauge("missing", "d", at_least(2.0), lambda lab: Outcome(()))
    rows = tmp_path / "rows.json"
    rows.write_text(
        json.dumps(
            as_json(
                {"CPU": "one"},
                [
                    Measured(row, Outcome((3.0, 2.5, 1.5), "9 M/s"), 60.0),
                    Measured(slow, Outcome((1.0,)), 60.0),
                    Measured(missing, None, 0.0, skipped="redis-server is not installed"),
                ],
            )
        ),
        "utf-8",
    )
    sides = tmp_path / "sides.json"
    stats = {"median": 0.001, "iqr": 0.0001, "rounds": 30}
    entry = {"group": "fast", "extra_info": {"what": "`d[k]`", "operations": 1000}, "stats": stats}
    sides.write_text(json.dumps({"benchmarks": [entry]}), "utf-8")
    command = [sys.executable, ROOT / "benches" / "write_results.py", rows, "--sides", sides]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "## Rows: 1 of 2 met" in page
    assert "| `fast` | a \\| b | `d[k]` | **2.50 ×** | 1.50 × | 3.00 × | ≥ 2.00 × | met | 9 M/s |" in page
    assert "| `slow` | c | — | **1.00 ×** | 1.00 × | 1.00 × | ≥ 2.00 × | **not met** |  |" in page
    assert "| `missing` | skipped | redis-server is not installed |" in page
    assert "| `fast` | `d[k]` | 1 ms | 100 µs | 1 M/s | 30 |" in page
    assert "| CPU | one |" in page
    assert (ROOT / "benches" / "NOTES.md").read_text("utf-8").strip() in page

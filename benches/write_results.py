"""Write ``benches/RESULTS.md`` of what ``make bench`` has measured.

    python benches/write_results.py ROWS.json [--sides SIDES.json] [--rust RUST.txt] > benches/RESULTS.md

``ROWS.json`` is the output of ``crdtstats bench --json``, ``SIDES.json`` that of pytest-benchmark, ``RUST.txt`` what
``cargo bench`` printed. ``benches/NOTES.md``, written by hand, is appended: it says why a row is not met.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crdtstats.bench.outcome import duration, rate

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "benches" / "NOTES.md"
DIST = ROOT / "dist"
BUILD_SECONDS = ROOT / "target" / "wheel-seconds"

INTRODUCTION = """\
# Results

Written by `make bench`; not by hand. What is promised is a ratio: both sides in one run, in turns, at least seven
pairs. A row is met when the **median** reaches what is promised; worst and best are single pairs. Within a pair of
something short the fastest of some turns counts on both sides, as other programs only ever add; "all turns together"
is without that. The garbage collector rests meanwhile, and the core was busy for a second before. Absolute figures
are true of this machine and this hour only.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--sides", type=Path)
    parser.add_argument("--rust", type=Path)
    options = parser.parse_args()
    found = json.loads(options.rows.read_text("utf-8"))
    parts = [INTRODUCTION, *_where(found["machine"]), *_rows(found["rows"]), *_wheel()]
    if NOTES.exists():
        parts.append(NOTES.read_text("utf-8").strip())
    if options.sides and options.sides.exists():
        parts += _sides(json.loads(options.sides.read_text("utf-8")))
    if options.rust and options.rust.exists():
        parts += ["## The journal alone, in Rust", f"```text\n{options.rust.read_text('utf-8').strip()}\n```"]
    sys.stdout.write("\n\n".join(part.strip() for part in parts) + "\n")


def _where(machine: dict[str, str]) -> Iterator[str]:
    commit = _said("git", "rev-parse", "--short", "HEAD")
    changed = " with changes" if _said("git", "status", "--porcelain", "--", "rust", "python") else ""
    facts = {
        **machine,
        "commit": commit + changed,
        "rustc": _said("rustc", "--version").removeprefix("rustc "),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    yield "## Machine and versions"
    yield _table(("", ""), facts.items())


def _rows(rows: list[dict[str, Any]]) -> Iterator[str]:
    measured = [row for row in rows if "figures" in row]
    promised = [row for row in measured if row["promise"]]
    met = sum(row["met"] for row in promised)
    yield f"## Rows: {met} of {len(promised)} met"
    yield _table(
        ("row", "what", "beside", "median", "worst", "best", "promised", "", "absolute figures, as an aside"),
        (
            (
                f"`{row['name']}`",
                row["what"],
                row["beside"] or "—",
                f"**{row['figures'][0]}**",
                row["figures"][1],
                row["figures"][2],
                row["promise"] or "—",
                f"**{row['verdict']}**" if row["verdict"] == "not met" else row["verdict"],
                row["aside"],
            )
            for row in measured
        ),
    )
    others = [row for row in rows if "figures" not in row]
    if others:
        yield "### Not measured"
        yield _table(("row", "", "why"), ((f"`{row['name']}`", row["verdict"], row["why"]) for row in others))
    yield f"The rows took {sum(row['seconds'] for row in rows) / 60:.0f} minutes."


def _sides(report: dict[str, Any]) -> Iterator[str]:
    yield "## Both sides by themselves"
    yield _table(
        ("row", "side", "median", "interquartile range", "rate", "rounds"),
        (
            (
                f"`{entry['group']}`",
                entry["extra_info"]["what"],
                duration(entry["stats"]["median"]),
                duration(entry["stats"]["iqr"]),
                rate(entry["extra_info"]["operations"], entry["stats"]["median"]),
                str(entry["stats"]["rounds"]),
            )
            for entry in report["benchmarks"]
        ),
    )


def _wheel() -> Iterator[str]:
    wheels = sorted(DIST.glob("*.whl"))
    if not wheels:
        return
    yield "## Wheel"
    took = f", built in {BUILD_SECONDS.read_text('ascii').strip()} s" if BUILD_SECONDS.exists() else ""
    yield "\n".join(f"* `{wheel.name}`: {wheel.stat().st_size / 1e6:.2f} MB{took}" for wheel in wheels)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _said(*command: str) -> str:
    """What a command prints; empty where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()

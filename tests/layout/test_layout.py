"""The house rules that a machine can check: light imports, files of bearable length, rooms kept apart."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "crdtstats"
# "Uneasy past 500": past it, a file holds more than one idea.
FILE_LINES_MAX = 500
# `import crdtstats` may cost this much, or this share of `import asyncio` where the machine is slow or busy.
IMPORT_MS_MAX = 30.0
IMPORT_PER_ASYNCIO_MAX = 1.0
IMPORT_TRIES = 7

# Each is imported by what uses it, when it is used.
HEAVY = (
    "libp2p",
    "trio",
    "multiformats",
    "multiaddr",
    "rich",
    "numpy",
    "sqlite3",
    "asyncio",
    "cryptography",
    "ssl",
)


def _in_new_process(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _import_ms(module: str) -> float:
    program = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1e3)"
    return float(_in_new_process(program))


def test_import_is_fast() -> None:
    # Alternating, and the best of each: what else runs on the machine only ever adds.
    pairs = [(_import_ms("crdtstats"), _import_ms("asyncio")) for _ in range(IMPORT_TRIES)]
    ours, asyncio = (min(times) for times in zip(*pairs, strict=True))
    assert ours < max(IMPORT_MS_MAX, asyncio * IMPORT_PER_ASYNCIO_MAX), (
        f"{ours:.1f} ms; asyncio {asyncio:.1f} ms"
    )


@pytest.mark.parametrize("heavy", HEAVY)
def test_import_does_not_pull_in(heavy: str) -> None:
    # In one process each: what is found is named, and one does not hide behind another.
    assert _in_new_process(f"import sys, crdtstats; print({heavy!r} in sys.modules)") == "False"


def _sources() -> list[Path]:
    python = [*PACKAGE.glob("**/*.py"), *PACKAGE.glob("**/*.pyi")]
    return sorted([*python, *ROOT.glob("rust/*/src/**/*.rs")])


def test_no_file_is_longer_than_one_idea() -> None:
    long = {
        str(source.relative_to(ROOT)): lines
        for source in _sources()
        if (lines := len(source.read_text("utf-8").splitlines())) > FILE_LINES_MAX
    }
    assert not long, f"more than {FILE_LINES_MAX} lines: {long}"


def test_no_module_is_named_after_nothing() -> None:
    nothing = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert not [source for source in _sources() if source.stem in nothing or source.parent.name in nothing]


def test_the_core_does_no_io_and_reads_no_clock() -> None:
    # clippy.toml forbids the calls; this forbids the modules, so that a new call cannot slip past its list.
    forbidden = re.compile(
        r"\bstd::(fs|net|thread|process|env|io::std\w+)\b|\b(Instant|SystemTime)\b|\bgetrandom\b"
    )
    found = [
        f"{source.relative_to(ROOT)}:{number}: {line.strip()}"
        for source in sorted((ROOT / "rust" / "core" / "src").glob("**/*.rs"))
        for number, line in enumerate(source.read_text("utf-8").splitlines(), 1)
        if forbidden.search(line.split("//")[0])
    ]
    assert not found, "\n".join(found)


def test_the_journal_knows_nothing_of_networks_and_python() -> None:
    manifest = (ROOT / "rust" / "journal" / "Cargo.toml").read_text("utf-8")
    assert not re.search(r"pyo3|tokio|crdtstats-core|crdtstats-python", manifest)


def test_the_network_does_not_know_what_a_counter_is() -> None:
    network = PACKAGE / "network"
    found = [
        str(source.relative_to(ROOT))
        for source in sorted(network.glob("**/*.py"))
        if re.search(
            r"^\s*(from|import) crdtstats\.(store|replicator|opening|directory)\b", source.read_text(), re.M
        )
    ]
    assert not found


def test_one_version_is_said_everywhere() -> None:
    cargo = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text("utf-8"), re.M)
    assert cargo
    assert _in_new_process("import crdtstats; print(crdtstats.__version__)") == cargo[1]

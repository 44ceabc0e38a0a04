#!/usr/bin/env python3
"""Check that every type of the public surface is written down, as ``basedpyright --verifytypes`` sees it.

Public is what users import: the modules below. The rest of the package is held to the strict checker only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

PUBLIC = (
    "_core",
    "datastores",
    "errors",
    "gossip",
    "memory_network",
    "opening",
    "protocols",
    "settings",
    "store",
    "wire",
)


def _is_public(name: str) -> bool:
    parts = name.split(".")
    in_public = len(parts) == 2 or parts[1] in PUBLIC
    return in_public and not any(part.startswith("_") and part != "_core" for part in parts)


def main() -> int:
    """0 when all types are known; else names those that are not, and 1."""
    # It takes the Python that comes first in PATH, whatever --pythonpath says.
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    done = subprocess.run(
        [
            f"{os.path.dirname(sys.executable)}/basedpyright",
            "--verifytypes",
            "crdtstats",
            "--ignoreexternal",
            "--outputjson",
        ],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    public = [symbol for symbol in symbols if _is_public(symbol["name"])]
    untyped = [
        symbol
        for symbol in public
        if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
    ]
    for symbol in untyped:
        said = [line["message"].splitlines()[0] for line in symbol.get("diagnostics", ())]
        sys.stdout.write(f"{symbol['name']}: {'; '.join(said)}\n")
    if not public:
        sys.stdout.write(f"no public symbol was found:\n{done.stdout}{done.stderr}\n")
    sys.stdout.write(f"public types: {len(public) - len(untyped)} of {len(public)} known\n")
    return 0 if public and not untyped else 1


sys.exit(main())

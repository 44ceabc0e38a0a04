"""Asks git, so that no setting of the user changes the answer.

Both sides of the demo's comparison (the steps of the log, the tree at the end) run under the options here.
``added - deleted`` of a text file is a difference of line counts, so it does not depend on the diff
algorithm; the algorithm is fixed all the same, so that two runs count the same increments.
Attributes (``.gitattributes``, ``info/attributes``) are the user's own choice of what is text: git reads
the same ones for both sides.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from crdtstats.errors import UnavailableError, UsageError

GIT_VERSION_MIN = (2, 31)
"""``--diff-merges=first-parent`` came with 2.31."""

_KEPT_VARIABLES = ("GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
_READ_BYTES = 1 << 16
_FIXED_CONFIG = (
    "log.showRoot=true",
    "diff.relative=false",
    # Would run a program that the repository names; no answer here needs it.
    "core.fsmonitor=false",
)
DIFF_OPTIONS = (
    "--numstat",
    "-z",
    "--no-renames",
    "--ignore-submodules=none",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--diff-algorithm=myers",
    # Instead of diff.orderFile, which may name a file that is not there.
    "-O/dev/null",
)


class Repository:
    """A local git repository, read through the ``git`` command.

    Args:
        path: A directory in it, a bare repository, or its git directory.

    Raises:
        UsageError: There is no repository at ``path``, or git refuses to read it.
        UnavailableError: git is missing or older than ``GIT_VERSION_MIN``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        _check_version()
        if not os.path.isdir(self.path):
            raise UsageError(f"{self.path}: no such directory", path=self.path)
        code, _, complaint = self._ask("rev-parse", "--git-dir")
        if code:
            raise UsageError(f"{self.path}: no git repository to read: {complaint}", path=self.path)

    def commit(self, revision: str = "HEAD") -> str:
        """The full id of the commit that ``revision`` names now.

        Raises:
            UsageError: There is no such commit (a repository without any, for instance).
        """
        code, answer, complaint = self._ask(
            "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"
        )
        if code:
            why = complaint or "the repository has none yet, or the name is wrong"
            raise UsageError(f"{self.path}: no commit at {revision}: {why}", revision=revision)
        return answer

    def empty_tree(self) -> str:
        """The id of the empty tree under this repository's object format."""
        code, answer, complaint = self._ask("hash-object", "-t", "tree", "/dev/null")
        if code:
            raise UnavailableError(f"{self.path}: git hash-object failed: {complaint}")
        return answer

    @contextmanager
    def stream(self, *arguments: str) -> Generator[IO[bytes]]:
        """The output of one git command as a binary stream; read it to its end.

        Raises:
            UnavailableError: The command failed (its first words are in the message); raised on leaving.
        """
        with tempfile.TemporaryFile() as complaints:
            process = subprocess.Popen(
                self._command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=_environment(),
            )
            assert process.stdout is not None
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
            finally:
                process.stdout.close()
                code = process.wait()
            if code:
                complaints.seek(0)
                words = _first_line(complaints.read().decode("utf-8", "replace"))
                raise UnavailableError(f"{self.path}: git {arguments[0]} failed ({code}): {words}")

    def _command(self, arguments: Sequence[str]) -> list[str]:
        config = [word for setting in _FIXED_CONFIG for word in ("-c", setting)]
        return ["git", "-C", self.path, "--no-pager", *config, *arguments]

    def _ask(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            self._command(arguments), stdin=subprocess.DEVNULL, capture_output=True, env=_environment()
        )
        complaint = _first_line(done.stderr.decode("utf-8", "replace"))
        return done.returncode, done.stdout.decode("utf-8", "surrogateescape").strip(), complaint


def fields(stream: IO[bytes]) -> Iterator[bytes]:
    """Split a stream at its NUL bytes; each field ends with one, so what follows the last is dropped."""
    rest = b""
    while piece := stream.read(_READ_BYTES):
        *complete, rest = (rest + piece).split(b"\0")
        yield from complete


def _environment() -> dict[str, str]:
    # A hook, an alias or a rebase sets GIT_DIR, GIT_INDEX_FILE and the like: they would lead to another
    # repository than --repo. Configuration (GIT_CONFIG_*) stays: safe.directory may come from there.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_") or name in _KEPT_VARIABLES
    }
    kept["LC_ALL"] = "C"
    return kept


def _check_version() -> None:
    need = ".".join(map(str, GIT_VERSION_MIN))
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, env=_environment(), check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(f"git cannot be run ({error}): install git {need} or newer") from None
    said = done.stdout.decode("utf-8", "replace").strip()
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GIT_VERSION_MIN:
        raise UnavailableError(f"{said or 'git'} is too old: the demo needs git {need} or newer")


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("fatal: ") if lines else ""

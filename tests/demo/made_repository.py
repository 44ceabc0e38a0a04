"""A repository with everything that a real history can hold, made by the test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from crdtstats.errors import UsageError

KEY_BYTES_MAX, KEY_DEPTH_MAX = 896, 64


def stand_in_key(*parts: str | bytes) -> str:
    """A small ``crdtstats.key``: for tests of what lies above it."""
    made = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        try:
            text = raw.decode()
            plain = text not in ("", ".", "..") and "/" not in text
        except UnicodeDecodeError:
            plain = False
        made.append(text if plain else "".join(f"%{byte:02X}" for byte in raw) or "%")
    key = "/".join(made)
    if len(key.encode()) > KEY_BYTES_MAX or len(made) > KEY_DEPTH_MAX:
        raise UsageError(f"{key[:40]}...: too long or too deep")
    return key


class Git:
    """Runs git in one directory, with dates that make the commit ids the same on every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.when = 1_700_000_000
        path.mkdir(parents=True)
        self("init", "-q", "-b", "main")

    def at(self, path: Path) -> Git:
        """The same for a repository that is already there."""
        other = object.__new__(Git)
        other.path, other.when = path, self.when
        return other

    def __call__(self, *arguments: str | bytes, author: str | bytes = "A U Thor", feed: bytes = b"") -> bytes:
        self.when += 60
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "LC_ALL": "C",
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": author,
            "GIT_AUTHOR_EMAIL": "author@example.com",
            "GIT_COMMITTER_NAME": "C O Mitter",
            "GIT_COMMITTER_EMAIL": "committer@example.com",
            "GIT_AUTHOR_DATE": f"{self.when} +0000",
            "GIT_COMMITTER_DATE": f"{self.when} +0000",
        }
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-C", self.path, *arguments],
            input=feed,
            capture_output=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.strip()

    def write(self, name: str | bytes, content: bytes) -> None:
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def commit(self, message: str, **options: str | bytes) -> str:
        self("add", "-A", "--", ".")
        self("commit", "-q", "--allow-empty", "-m", message, **options)
        return self("rev-parse", "HEAD").decode()


def lines(count: int, word: str = "line") -> bytes:
    return "".join(f"{word} {number}\n" for number in range(count)).encode()


def build(path: Path) -> Git:
    """A history of every kind of step that could break the sum."""
    git = Git(path)
    git.write("text.txt", lines(10))
    git.write("no-newline", b"one\ntwo")
    git.write("empty", b"")
    git.write("src/deep/er/file.py", lines(30))
    git.write("gone/for/ever.txt", lines(7))
    git.commit("root")

    git.write("switch", lines(5))
    git.commit("switch: text")
    git.write("switch", b"\0\1\2" * 50)
    git.commit("switch: binary")
    git.write("switch", lines(9, "again"))
    git.write("ends-binary", lines(3))
    git.commit("switch: text again", author="Ünï Cödé")
    git.write("ends-binary", b"\0" * 20)
    git.write("always-binary.png", b"\x89PNG\0\0")
    git.commit("binary at the end", author=b"Latin-\xe9 Name")

    git("rm", "-q", "gone/for/ever.txt")
    git.commit("a directory vanishes", author="a/b")
    git.write("both", lines(4))
    git.commit("both: a file")
    os.unlink(path / "both")
    git.write("both/inner", lines(6))
    git.write("both/more/inner", lines(2))
    git.commit("both: a directory")
    git("rm", "-rq", "both")
    git.write("both", lines(8, "file"))
    git.commit("both: a file again")
    git.write("turns", lines(3))
    git.commit("turns: a file")
    os.unlink(path / "turns")
    git.write("turns/x", lines(5))
    git.commit("turns: a directory, for good")
    os.symlink("text.txt", path / "link")
    git.commit("a symbolic link")
    os.unlink(path / "link")
    git.write("link", lines(12))
    git.commit("the link is a file")
    os.chmod(path / "text.txt", 0o755)
    git.commit("only the mode changes")
    git.commit("nothing changes", author="Nobody Special")

    odd = (
        b'quo"te',
        b"tab\there",
        b"new\nline",
        b"back\\slash",
        b"latin-\xe9\xff",
        b" space ",
        b"12\t3\tx",
        b"%FF",
    )
    for number, name in enumerate(odd, 1):
        git.write(b"odd/" + name, lines(number))
        git.write(b"odd dir " + name + b"/inner", lines(number))
    git.commit("odd names", author='Quo"te, T. Abs\tHere')
    for number, name in enumerate(odd, 1):
        git.write(b"odd/" + name, lines(number + 2, "more"))
    git.commit("odd names again", author="commit 0123456789")
    git.write("/".join(["very-long-directory-name" * 4] * 10) + "/x", lines(3))
    git.write("/".join(["d"] * 63), lines(3))
    git.write("/".join(["e"] * 64), lines(3))
    git.commit("too long and too deep")

    git("checkout", "-q", "-b", "side", "HEAD~4")
    git.write("side.txt", lines(20))
    git.write("text.txt", lines(10) + b"side\n")
    git.commit("side")
    git.write("side.txt", lines(15))
    git.commit("side again")
    git("checkout", "-q", "main")
    git.write("text.txt", b"main\n" + lines(10))
    git.commit("main goes on")
    git("merge", "-q", "--no-ff", "--no-commit", "side")
    git.write("evil", lines(11))
    git.write("src/deep/er/file.py", lines(3))
    git.commit("an evil merge")

    tree = git(
        "mktree", feed=b"100644 blob " + git("hash-object", "-w", "--stdin", feed=lines(17)) + b"\troot2\n"
    )
    other = git("commit-tree", "-m", "another root", tree.decode())
    git("merge", "-q", "--no-ff", "--allow-unrelated-histories", "-m", "join", other.decode())
    for commit in (other.decode(), git("rev-parse", "HEAD").decode()):
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},module")
        git("commit", "-q", "-m", "a submodule entry")
    git("mv", "text.txt", "renamed.txt")
    git("commit", "-q", "-m", "a rename")
    git.write("copied.txt", lines(10))
    git("add", "copied.txt")
    git("commit", "-q", "-m", "a copy")
    return git

"""The steps of a history sum up to its end, whatever the user's settings."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from crdtstats.demo.git import Repository
from crdtstats.demo.history import Step, binary_paths, log_stream, steps, tree_rows
from crdtstats.demo.keys import KeyRules
from crdtstats.demo.traffic import deal, elements, read_share
from crdtstats.demo.truth import Truth, truth
from crdtstats.errors import UnavailableError, UsageError
from tests.demo.made_repository import Git, lines, stand_in_key


class Counted:
    def __init__(self, path: str | os.PathLike[str]) -> None:
        repository = Repository(path)
        commit = repository.commit()
        with log_stream(repository, commit) as stream:
            self.history: list[Step] = list(steps(stream))
        tree = list(tree_rows(repository, commit))
        self.binary = binary_paths(self.history, tree)
        self.rules = KeyRules(stand_in_key)
        self.sums: Counter[str] = Counter()
        self.count = 0
        for step in self.history:
            for key, amount in elements(step, self.binary, self.rules):
                self.sums[key] += amount
                self.count += 1
        self.truth: Truth = truth(self.history, tree, self.binary, self.rules)

    def agree(self) -> Counted:
        assert dict(self.sums) == self.truth.values
        totals: Counter[str] = Counter()
        for key, value in self.sums.items():
            while key:
                totals[key] += value
                key = key.rpartition("/")[0]
        assert {key: totals[key] for key in self.truth.probes} == {
            key: total for key, (_, total) in self.truth.probes.items()
        }
        return self


def test_steps_sum_up_to_the_tree(built: Git) -> None:
    counted = Counted(built.path).agree()
    probes = counted.truth.probes
    assert probes["lines/gone"] == (0, 0)
    assert probes["lines/gone/for/ever.txt"] == (0, 0)
    assert probes["commits/gone/for/ever.txt"] == (2, 2)
    assert probes["lines/both"] == (8, 8)
    assert probes["lines/both/more"] == (0, 0)
    assert probes["lines/turns"] == (0, 5)
    assert probes["lines/no-newline"] == (2, 2)
    assert probes["lines/empty"] == (0, 0)
    assert "lines/empty" not in counted.truth.values
    assert probes["lines/module"] == (1, 1)
    assert probes["lines/evil"] == (11, 11)
    assert probes["lines/src"] == (0, 3)
    assert probes["lines/root2"] == (17, 17)
    assert probes["lines/link"] == (12, 12)
    assert probes["lines/odd/new\nline"] == (5, 5)
    assert probes["lines/odd/12\t3\tx"] == (9, 9)
    for path in ("switch", "ends-binary", "always-binary.png"):
        assert probes[f"lines/{path}"] == (0, 0)
        assert f"lines/{path}" not in counted.sums
        assert counted.sums[f"commits/{path}"] >= 1
    for author in ("Ünï Cödé", "%61%2F%62", 'Quo"te, T. Abs\tHere', "commit 0123456789", "Nobody Special"):
        assert counted.sums[f"authors/{author}"] == 1
    by_author = [value for key, value in counted.sums.items() if key.startswith("authors/")]
    assert sum(by_author) == len(counted.history)


def test_paths_that_the_key_rules_refuse_are_left_out_of_both_sides(built: Git) -> None:
    counted = Counted(built.path)
    refused = {(kind, path[:2]) for kind, path in counted.rules.refused}
    assert refused == {("lines", b"ve"), ("commits", b"ve"), ("lines", b"e/"), ("commits", b"e/")}
    assert ("lines/" + "/".join(["d"] * 63)) in counted.truth.values
    assert counted.truth.probes["lines/e/e"] == (0, 0)


@pytest.mark.parametrize(
    "setting",
    [
        "log.showRoot=false",
        "diff.renames=copies",
        "diff.relative=true",
        "diff.algorithm=patience",
        "diff.external=false",
        "diff.orderFile=no-such-file",
        "diff.ignoreSubmodules=all",
        "diff.noprefix=true",
        "diff.submodule=log",
        "core.quotePath=true",
        "log.showSignature=true",
        "log.mailmap=true",
        "log.diffMerges=off",
        "log.date=relative",
        "log.decorate=full",
        "format.pretty=fuller",
        "color.ui=always",
        "color.diff=always",
        "i18n.logOutputEncoding=UTF-16",
        "submodule.module.ignore=all",
    ],
)
def test_settings_of_the_user_change_nothing(built: Git, repo: Git, setting: str) -> None:
    name, _, value = setting.partition("=")
    repo("config", name, value)
    repo.write(".mailmap", b"Somebody Else <author@example.com>\n")
    expected, found = Counted(built.path), Counted(repo.path / "src").agree()
    assert found.sums == expected.sums
    assert found.count == expected.count
    assert found.truth == expected.truth


def test_every_setting_at_once(
    built: Git, repo: Git, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gitconfig").write_text(
        "[log]\n showRoot = false\n[diff]\n renames = copies\n relative = true\n external = false\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    monkeypatch.setenv("GIT_PAGER", "false")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert Counted(repo.path).agree().sums == Counted(built.path).sums


def test_attributes_say_what_is_text(repo: Git) -> None:
    repo.write(
        ".gitattributes",
        b"src/** binary\nevil -diff\nlink diff=shout\nswitch diff\nodd/* diff=named\n",
    )
    repo("config", "diff.shout.textconv", "tr a-z A-Z <")
    repo("config", "diff.named.binary", "true")
    sums = Counted(repo.path).agree().sums
    assert sums["lines/link"] == 12
    assert sums["lines/switch"] == 9
    for key in ("lines/src/deep/er/file.py", "lines/evil", 'lines/odd/quo"te'):
        assert key not in sums
    repo.commit("attributes are a file too")
    Counted(repo.path).agree()


def test_a_bare_and_a_shallow_clone_agree_too(built: Git, tmp_path: Path) -> None:
    shallow = Git(tmp_path / "home")
    shallow("clone", "-q", "--depth", "3", f"file://{built.path}", str(tmp_path / "shallow"))
    shallow("clone", "-q", "--bare", str(built.path), str(tmp_path / "bare.git"))
    found = Counted(tmp_path / "shallow").agree()
    assert len(found.history) == 3
    assert found.sums["lines/root2"] == 17
    assert Counted(tmp_path / "bare.git").agree().sums == Counted(built.path).sums


def test_a_sha256_repository(tmp_path: Path) -> None:
    git = Git(tmp_path / "home")
    git("init", "-q", "--object-format=sha256", str(tmp_path / "wide"))
    git.path = tmp_path / "wide"
    git.write("a", lines(3))
    git.commit("one")
    found = Counted(git.path).agree()
    assert len(found.history[0].commit) == 64
    assert found.sums["lines/a"] == 3


def test_a_legacy_encoding_gives_the_name_in_utf8(tmp_path: Path) -> None:
    git = Git(tmp_path / "repo")
    git("config", "i18n.commitEncoding", "ISO-8859-1")
    git.write("a", lines(1))
    git.commit("one", author=b"Ren\xe9")
    assert Counted(git.path).agree().sums["authors/René"] == 1


def test_what_is_no_repository_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="no git repository"):
        Repository(tmp_path / "plain")
    with pytest.raises(UsageError, match="no such directory"):
        Repository(tmp_path / "missing")
    with pytest.raises(UsageError, match="no commit at HEAD"):
        Repository(Git(tmp_path / "fresh").path).commit()


@pytest.mark.parametrize("version", ["2.30.9", "1.9", "nonsense"])
def test_an_old_git_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho git version {version}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    with pytest.raises(UnavailableError, match=r"needs git 2\.31"):
        Repository(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"install git 2\.31"):
        Repository(tmp_path)


def test_shares_hold_every_element_once(built: Git, tmp_path: Path) -> None:
    counted = Counted(built.path)
    shares = deal(counted.history, 3, counted.binary, KeyRules(stand_in_key), tmp_path)
    sums: Counter[str] = Counter()
    for share in shares:
        keys, amounts = read_share(share.path)
        assert len(keys) == len(amounts) == share.elements > 0
        for key, amount in zip(keys, amounts, strict=True):
            sums[key] += amount
    assert sums == counted.sums
    assert sum(share.elements for share in shares) == counted.count
    assert sum(share.commits for share in shares) == len(counted.history)


def test_a_replica_with_nothing_to_do_is_an_error(tmp_path: Path) -> None:
    git = Git(tmp_path / "repo")
    git.write("a", lines(1))
    git.commit("one")
    counted = Counted(git.path)
    with pytest.raises(UsageError, match="--replicas"):
        deal(counted.history, 2, counted.binary, counted.rules, tmp_path)

"""Every way in which a replica can read otherwise than git is found, and the first key is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crdtstats.demo.truth import Truth
from crdtstats.demo.verdict import first_difference

TRUTH = Truth({"a/x": 0, "b": -2, "b/y": 5}, {"a": (0, 0), "a/x": (0, 0), "b": (-2, 3), "b/y": (5, 5)})


def written(path: Path, reads: list[list], items: list[list]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in reads))
    path.with_name(path.name + ".items").write_text("".join(json.dumps(row) + "\n" for row in items))
    return path


def right() -> tuple[list[list], list[list]]:
    reads = [[key, own, total, max(0, total)] for key, (own, total) in TRUTH.probes.items()]
    return reads, [list(row) for row in TRUTH.values.items()]


def test_equal_reads_have_no_difference(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number}", *right()) for number in range(3)]
    assert first_difference(paths, TRUTH) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda reads, items: reads[2].__setitem__(1, 7), "'b': replica 2: get gives 7, git says -2"),
        (lambda reads, items: reads[0].__setitem__(2, 1), "'a': replica 2: total gives 1, git says 0"),
        (
            lambda reads, items: reads[3].__setitem__(3, 4),
            "'b/y': replica 2: get_aggregated_stat gives 4, git says 5",
        ),
        (lambda reads, items: reads.pop(), "'b/y': replica 2: gave no answer"),
        (lambda reads, items: items.append(["z", 0]), "'z': replica 2: items gives 0, nobody counted it"),
        (lambda reads, items: items.pop(0), "'a/x': replica 2: items does not give it, git says 0"),
        (lambda reads, items: items[1].__setitem__(1, 9), "'b': replica 2: items gives 9, git says -2"),
    ],
)
def test_a_difference_is_named(
    tmp_path: Path, change: Callable[[list[list], list[list]], object], says: str
) -> None:
    reads, items = right()
    change(reads, items)
    paths = [written(tmp_path / "1", *right()), written(tmp_path / "2", reads, items)]
    assert first_difference(paths, TRUTH) == says


def test_of_two_differences_the_first_key_is_named(tmp_path: Path) -> None:
    late, early = right(), right()
    late[0][3][1] = 0
    early[0][1][1] = 1
    paths = [written(tmp_path / "1", *late), written(tmp_path / "2", *early)]
    assert first_difference(paths, TRUTH) == "'a/x': replica 2: get gives 1, git says 0"

"""Every Python example of README, docs, docstrings and stubs runs, and says what it claims to say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sybil import Document, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parents[2]


def _with_examples() -> list[Path]:
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    package = ROOT / "python" / "crdtstats"
    sources = [*sorted(package.glob("**/*.py")), *sorted(package.glob("**/*.pyi"))]
    fenced = [page for page in pages if page.exists() and "```python" in page.read_text("utf-8")]
    return fenced + [source for source in sources if ">>> " in source.read_text("utf-8")]


def _parse(path: Path) -> Document:
    fenced = path.suffix == ".md"
    sybil = Sybil(
        # The parser of fences reads the doctests in them too.
        parsers=[PythonCodeBlockParser(), SkipParser()] if fenced else [DocTestParser()],
        document_types={".py": PythonDocStringDocument, ".pyi": PythonDocStringDocument},
    )
    return sybil.parse(path)


@pytest.mark.parametrize("path", _with_examples(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_of_the_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Examples of one page build on each other, as a reader reads them.
    for example in _parse(path).examples():
        example.evaluate()


def test_an_example_that_is_wrong_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n\n```python\nassert False\n```\n")
    doctest, block = _parse(page).examples()
    with pytest.raises(Exception, match="Expected"):
        doctest.evaluate()
    with pytest.raises(AssertionError):
        block.evaluate()


def test_every_public_name_has_a_docstring_that_starts_with_a_sentence() -> None:
    lacking: list[str] = []
    package = ROOT / "python" / "crdtstats"
    for source in sorted([*package.glob("**/*.py"), *package.glob("**/*.pyi")]):
        tree = ast.parse(source.read_text("utf-8"))
        if ast.get_docstring(tree) is None and tree.body:
            lacking.append(f"{source.relative_to(ROOT)}: the module")
        lacking += [
            f"{source.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
            # An overload's words are at its last form.
            and not any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
        ]
    assert not lacking, "\n".join(lacking)

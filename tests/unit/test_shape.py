"""The size of things: no function is above 50 lines, no module above 400."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    path: path.read_text()
    for room in ("streamq", "tests", "topologies", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
}


def test_modules_stay_small() -> None:
    assert [str(path) for path, text in MODULES.items() if len(text.splitlines()) > 400] == []


def test_functions_stay_small() -> None:
    large = [
        f"{path}:{node.lineno} {node.name}"
        for path, text in MODULES.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= 50
    ]
    assert large == []

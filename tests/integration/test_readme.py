"""The README's own snippets, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.worker_process import ROOT

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command in the folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the README's two files."""
    shop, test = SNIPPETS
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "test_shop.py").write_text(test)
    return tmp_path


def test_the_test_of_ones_own_handler_passes(folder: Path) -> None:
    answer = run(folder, "pytest", "-q", "test_shop.py")
    assert answer.returncode == 0, answer.stdout
    assert "1 passed" in answer.stdout


@pytest.mark.kafka
def test_the_first_handler_works_as_the_readme_says(folder: Path, kafka_bootstrap: str) -> None:
    # Its own topic and app, so that it can share a broker with other tests.
    topic = name = f"readme-{os.getpid()}-{time.time_ns()}"
    shop = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text(shop.replace('"orders"', f'"{topic}"').replace('App("shop")', f'App("{name}")'))

    def streamq(*arguments: str) -> str:
        answer = run(folder, "streamq", *arguments, STREAMQ_BOOTSTRAP_SERVERS=kafka_bootstrap)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    streamq("topics", "create", "shop:app")
    for number, customer, amount in (("o-1", "ada", 9.5), ("o-2", "bob", -1)):
        value = f'{{"order_id": "{number}", "customer": "{customer}", "amount": {amount}}}'
        streamq("publish", "shop:app", topic, "--key", customer, "--value", value)
    everything = ("--from", "1970-01-01T00:00Z")
    assert "2 offsets to look at" in streamq("replay", "shop:app", "charge", *everything, "--dry-run")
    streamq("replay", "shop:app", "charge", *everything, "--name", "readme")
    letters = streamq("dlq", "list", "shop:app", "charge", "--json")
    assert letters.count("\n") == 1
    assert '"key":"bob"' in letters
    assert "negative amount" in letters
    assert f"charge on {topic} as {name}.charge" in streamq("lag", "shop:app")

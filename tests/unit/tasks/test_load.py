"""From `package.module:app` to the app, and how each mistake is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamq as sq
from streamq.app import load_app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of its own, and no trace of its modules afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refusal(reference: str) -> str:
    with pytest.raises(sq.ConfigError) as error:
        load_app(reference)
    return str(error.value)


def test_modules_resolve_from_the_current_folder(folder: Path) -> None:
    write(folder, "shop/tasks.py", "import streamq as sq\napp = sq.App('shop')\nclass Box: inner = sq.App('inner')\n")
    assert load_app("shop.tasks:app").name == "shop"
    assert load_app("shop.tasks").name == "shop"
    assert load_app("shop.tasks:Box.inner").name == "inner"


def test_a_module_that_is_not_there(folder: Path) -> None:
    message = refusal("shpo.tasks:app")
    assert message.startswith("module 'shpo.tasks' was not found ('shpo' is neither in ")
    assert str(folder) in message
    assert "check the spelling, and start from the folder that holds it" in message
    write(folder, "shop/__init__.py", "")
    assert "('shop.tasks' is neither in" in refusal("shop.tasks:app")


def test_an_import_that_is_missing_inside_the_module_is_no_missing_module(folder: Path) -> None:
    write(folder, "tasks_a.py", "import streamq\nimport no_such_package\n")
    message = refusal("tasks_a:app")
    assert "module 'tasks_a' cannot be imported: ModuleNotFoundError: No module named 'no_such_package'" in message
    assert "tasks_a.py:2): mend it" in message


def test_an_error_inside_the_module_is_shown_with_its_place(folder: Path) -> None:
    write(folder, "tasks_b.py", "def f():\n    raise ValueError('no rate')\n\nf()\n")
    message = refusal("tasks_b:app")
    assert "cannot be imported: ValueError: no rate (" in message
    assert "tasks_b.py:2)" in message


def test_a_mistake_in_a_declaration_is_shown_at_the_users_line(folder: Path) -> None:
    write(folder, "tasks_c.py", "import streamq as sq\napp = sq.App('shop')\napp.topic('a b')\n")
    message = refusal("tasks_c:app")
    assert "ConfigError: topic name 'a b' is not usable" in message
    assert "tasks_c.py:3)" in message


def test_a_syntax_error_is_shown_where_it_is(folder: Path) -> None:
    write(folder, "tasks_d.py", "x = 1\ndef (:\n")
    message = refusal("tasks_d:app")
    assert "SyntaxError" in message
    assert "tasks_d.py:2)" in message


def test_a_module_that_ends_the_process_does_not(folder: Path) -> None:
    write(folder, "tasks_e.py", "import sys\nsys.exit(3)\n")
    assert "cannot be imported: SystemExit: 3" in refusal("tasks_e:app")


def test_a_module_without_app_says_which_apps_it_has(folder: Path) -> None:
    write(folder, "tasks_f.py", "import streamq as sq\nshop = sq.App('shop')\n")
    message = refusal("tasks_f")
    assert "module 'tasks_f' (" in message
    assert "has no 'app': use `tasks_f:shop`" in message
    write(folder, "tasks_g.py", "")
    assert "has no 'app': make one in it, `app = streamq.App(…)`" in refusal("tasks_g:app")


def test_something_that_is_no_app(folder: Path) -> None:
    write(folder, "tasks_h.py", "app = 5\n")
    assert "has 'app', but that is a int, no App" in refusal("tasks_h:app")


@pytest.mark.parametrize("reference", ["shop/tasks.py:app", "./shop/tasks.py", "shop/tasks"])
def test_a_file_is_told_how_to_be_written(reference: str) -> None:
    assert "names a file: write it as a module, `shop.tasks:app`" in refusal(reference)


@pytest.mark.parametrize("reference", ["", ":app", "a b", "shop..tasks:app", "shop-tasks"])
def test_what_is_no_reference(reference: str) -> None:
    assert "is no module and object: write `package.module:app`" in refusal(reference)

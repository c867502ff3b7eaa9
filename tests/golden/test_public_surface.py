"""The public surface, as users have written it into their programs: a change here breaks them."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import streamq as sq
from streamq.config import ProcessorConfig

HERE = Path(__file__).parent

CALLABLES = (
    "App", "App.topic", "App.processor", "App.publish", "App.flush", "App.close", "App.connect", "App.use",
    "Context.publish", "Publication.result", "Publication.done", "Publication.add_done_callback",
    "RetryPolicy", "Reject", "RetryLater",
)  # fmt: skip
MEMBERS = ("App", "Context", "Publication", "Topic", "Record", "Delivery")


def surface() -> str:
    """Every public name, signature and member, one a line."""
    lines = [f"streamq.{name}" for name in sorted(sq.__all__)]
    for path in CALLABLES:
        owner: object = sq
        for part in path.split("."):
            owner = getattr(owner, part)
        assert callable(owner)
        lines.append(f"{path}{inspect.signature(owner)}")
    for name in MEMBERS:
        public = sorted(member for member in dir(getattr(sq, name)) if not member.startswith("_"))
        lines.append(f"{name}: {', '.join(public)}")
    return "\n".join(lines) + "\n"


def test_the_public_surface_is_what_it_was() -> None:
    assert surface() == (HERE / "public_surface.txt").read_text()


def test_all_of_it_is_there() -> None:
    assert set(sq.__all__) <= set(dir(sq)) | {"testing"}


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((HERE.parent.parent / "pyproject.toml").read_text())["project"]
    assert sq.__version__ == project["version"]


def test_a_processors_options_have_one_set_of_defaults() -> None:
    defaults = ProcessorConfig()
    for name, parameter in inspect.signature(sq.App.processor).parameters.items():
        if hasattr(defaults, name) and name != "retry":
            assert parameter.default == getattr(defaults, name), name
    assert defaults.retry == sq.RetryPolicy()

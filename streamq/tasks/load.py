"""From `package.module:app` on a command line to the object."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from streamq.model.errors import ConfigError

T = TypeVar("T")

_DEFAULT = "app"


def load_object(reference: str, wanted: type[T]) -> T:
    """Import the module of `package.module:name` (`:app` where there is no name) and give the object of that name.
    Modules are looked for in the current folder first.

    Raises:
        ConfigError: no such module, an error while it is imported (its last line and place are shown), no such name,
            or something else than `wanted` under it.
    """
    module_name, _, path = reference.partition(":")
    path = path or _DEFAULT
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigError(f"{reference!r} names a file: write it as a module, `{dotted}:{path}`")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"{reference!r} is no module and object: write `package.module:app`")
    module = _import(module_name)
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if isinstance(found, wanted):
        return found
    there = [name for name, value in vars(module).items() if isinstance(value, wanted)]
    what = (
        f"has no {path!r}"
        if found is None
        else f"has {path!r}, but that is a {type(found).__name__}, no {wanted.__name__}"
    )
    remedy = (
        f"use {' or '.join(f'`{module_name}:{name}`' for name in there)}"
        if there
        else f"make one in it, `{path} = streamq.{wanted.__name__}(…)`"
    )
    raise ConfigError(f"module {module_name!r} ({getattr(module, '__file__', '?')}) {what}: {remedy}")


def _import(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{name}.".startswith(f"{error.name}.")
        ):
            raise ConfigError(
                f"module {name!r} was not found ({error.name!r} is neither in {folder} nor installed): check the "
                "spelling, and start from the folder that holds it"
            ) from error
        raise ConfigError(
            f"module {name!r} cannot be imported: {_last_line(error)}: mend it and start again"
        ) from error


def _last_line(error: BaseException) -> str:
    """What the error says, and the last place outside the import machinery where it came from."""
    said = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{said} ({error.filename}:{error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    here = str(Path(__file__).resolve().parent.parent)
    theirs = [f for f in frames if not f.filename.startswith((here, str(Path(importlib.__file__).parent)))]
    last = (theirs or frames)[-1]
    return f"{said} ({last.filename}:{last.lineno})"

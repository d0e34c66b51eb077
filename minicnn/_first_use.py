"""Names of a package that are imported when they are first asked for: `import minicnn` does not wait for them."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def on_first_use(package: str, modules: dict[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562): modules says which of its modules holds a name, "." that it is one."""

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if modules[name] == ".":
            return import_module(f".{name}", package)
        return getattr(import_module(f".{modules[name]}", package), name)

    return __getattr__

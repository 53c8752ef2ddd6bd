"""Show that the core needs no extra: none is installed here, and every module imports.

    python tests/core_alone.py

For an environment that has the wheel, what it requires, and nothing else; `make wheel` makes one.
"""

from __future__ import annotations

import re
import sys
from email.message import Message
from importlib import import_module, metadata
from importlib.util import find_spec
from pkgutil import walk_packages

import detfinetune


def extras(about: Message) -> dict[str, set[str]]:
    """Return what each extra of a distribution's metadata requires, without conditions."""
    named: dict[str, set[str]] = {name: set() for name in about.get_all("Provides-Extra") or ()}
    for line in about.get_all("Requires-Dist") or ():
        requirement, _, condition = line.partition(";")
        if extra := re.search(r"extra == ['\"]([\w.-]+)['\"]", condition):
            named[extra[1]].add(requirement.strip())
    return named


def installed(requirement: str) -> bool:
    """Return whether a distribution other than ours, or a module of its name, is there."""
    distribution = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    if distribution == "detfinetune":  # an extra that is made of others
        return False
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return find_spec(distribution.replace("-", "_").replace(".", "_")) is not None
    return True


def main() -> None:
    """Exit with 1 if something of an extra is there; a module that cannot be imported raises."""
    found = extras(metadata.metadata("detfinetune"))  # type: ignore[arg-type]
    if not found:
        sys.exit("the installed detfinetune names no extras")
    for extra, requirements in found.items():
        if there := sorted(filter(installed, requirements)):
            sys.exit(f"something of the extra {extra} is installed: {', '.join(there)}")
    names = [item.name for item in walk_packages(detfinetune.__path__, "detfinetune.")]
    for name in names:
        import_module(name)
    print(f"without the extras {', '.join(found)}: all {len(names)} modules import")


if __name__ == "__main__":
    main()

"""Show that the core needs no extra: none is installed here, and every module of it imports.

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
        return find_spec(module_of(requirement)) is not None
    return True


def module_of(requirement: str) -> str:
    """Return the usual name of a distribution's module."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].replace("-", "_").replace(".", "_")


# What may need an extra: families, the labelling server, and models that propose.
_MAY_NEED_EXTRAS = ("detfinetune.models.", "detfinetune.annotate.", "detfinetune.propose.")


def imports(name: str, of_extras: set[str]) -> bool:
    """Import a module; return whether it needs no extra."""
    try:
        import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in of_extras or not name.startswith(_MAY_NEED_EXTRAS):
            raise
        return False
    return True


def main() -> None:
    """Exit with 1 if something of an extra is there; a module that cannot be imported raises."""
    found = extras(metadata.metadata("detfinetune"))  # type: ignore[arg-type]
    if not found:
        sys.exit("the installed detfinetune names no extras")
    for extra, requirements in found.items():
        # Tools of development, of which the core's own requirements may bring some.
        if extra == "dev":
            continue
        if there := sorted(filter(installed, requirements)):
            sys.exit(f"something of the extra {extra} is installed: {', '.join(there)}")
    modules = {module_of(line) for requirements in found.values() for line in requirements}
    names = [item.name for item in walk_packages(detfinetune.__path__, "detfinetune.")]
    needing = [name for name in names if not imports(name, modules)]
    print(
        f"without the extras {', '.join(found)}: {len(names) - len(needing)} of {len(names)} "
        f"modules import; the others say what they need: {', '.join(needing) or 'none'}"
    )


if __name__ == "__main__":
    main()

"""The words with which classes are looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from detfinetune.errors import ConfigError

MOST_PHRASES = 20
"""Phrases that a model is asked for at once."""


@dataclass(frozen=True)
class Prompts:
    """Phrases for each class, all different."""

    classes: tuple[str, ...]
    """Names by class id."""

    phrases: tuple[str, ...] = ()
    """None for a detector that knows the classes."""

    class_ids: tuple[int, ...] = ()
    """Of each phrase."""


def prompts_of_classes(classes: Sequence[str]) -> Prompts:
    """Return one phrase for each class: its name with underscores and hyphens as spaces.

    Raises:
        ConfigError: classes have the same words, or none.
    """
    return _prompts({name: [] for name in classes}, "the class names")


def read_prompts(path: Path) -> Prompts:
    """Read a YAML file with `car: [car, vehicle]` for each class; `car:` means its name.

    Raises:
        ConfigError: it cannot be read, or classes have the same words, or none.
    """
    form = "Write a line for each class, such as  car: [car, vehicle]"
    try:
        # All values as text: `no` and `1` are names.
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"prompts={path}: cannot be read ({error}). {form}") from error
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"prompts={path}: this has no classes. {form}")
    words: dict[str, list[str]] = {}
    for name, phrases in content.items():
        listed = phrases if isinstance(phrases, list) else [phrases] if phrases else []
        if not isinstance(name, str) or not all(isinstance(text, str) for text in listed):
            raise ConfigError(f"prompts={path}: {name}: this is no list of phrases. {form}")
        words[name] = listed
    return _prompts(words, f"prompts={path}")


def _prompts(words: Mapping[str, Sequence[str]], where: str) -> Prompts:
    owners: dict[str, int] = {}
    names = tuple(words)
    for class_id, (name, phrases) in enumerate(words.items()):
        for phrase in phrases or [name.replace("_", " ").replace("-", " ")]:
            plain = " ".join(phrase.split())
            if not any(letter.isalnum() for letter in plain):
                raise ConfigError(
                    f"{where}: the class '{name}' has no words to look for ('{phrase}'). Give some "
                    f"with prompts=FILE, a YAML file with a line such as  {name!r}: [car, vehicle]"
                )
            owner = owners.setdefault(plain.lower(), class_id)
            if owner != class_id:
                raise ConfigError(
                    f"{where}: '{plain}' stands for both '{names[owner]}' and '{name}', which no "
                    "model could tell apart. Give other words with prompts=FILE, a YAML file with "
                    f"a line such as  {name!r}: [car, vehicle]"
                )
    return Prompts(names, tuple(owners), tuple(owners.values()))


def split_phrases(lengths: Iterable[int], most_tokens: int) -> list[range]:
    """Return which phrases are looked for together: as many as the tokens allow, at most 20.

    Args:
        lengths: tokens of each phrase, at most `most_tokens`.
        most_tokens: of all phrases together.
    """
    parts: list[range] = []
    tokens = 0
    for number, length in enumerate(lengths):
        tokens += length
        if not parts or tokens > most_tokens or len(parts[-1]) == MOST_PHRASES:
            parts.append(range(number, number))
            tokens = length
        parts[-1] = range(parts[-1].start, number + 1)
    return parts

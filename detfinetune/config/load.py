"""Loads a validated configuration from the command line, and reports all problems in one error.

Hydra composes the YAML files of `configs/`. The keys on the command line are checked against the
schema first, because Hydra stops at the first unknown key and suggests `+key`, which it would then
accept. Pydantic checks the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from detfinetune.config.hardware import detect_hardware
from detfinetune.config.help import help_text
from detfinetune.config.keys import config_keys, text_keys, unknown_key
from detfinetune.config.schema import (
    AskConfig,
    CheckConfig,
    ConvertConfig,
    EvaluateConfig,
    HardwareConfig,
    LabelConfig,
    MergeConfig,
    PredictConfig,
    ProposeConfig,
    Section,
    TrainConfig,
)
from detfinetune.console import say
from detfinetune.errors import ConfigError, did_you_mean

S = TypeVar("S", bound=Section)


def load_train_config(argv: Sequence[str]) -> TrainConfig:
    """Load `configs/train.yaml` with overrides such as `solver.max_iter=100`."""
    return _load("train", argv, TrainConfig)


def load_convert_config(argv: Sequence[str]) -> ConvertConfig:
    """Load `configs/convert.yaml` with overrides."""
    return _load("convert", argv, ConvertConfig)


def load_check_config(argv: Sequence[str]) -> CheckConfig:
    """Load `configs/check.yaml` with overrides; `--fix` means `fix=true`."""
    return _load("check", ["fix=true" if word == "--fix" else word for word in argv], CheckConfig)


def load_label_config(argv: Sequence[str]) -> LabelConfig:
    """Load `configs/label.yaml` with overrides; a folder alone is `data.root`.

    `--no-browser` means `browser=false`.
    """
    words = ["browser=false" if word == "--no-browser" else word for word in argv]
    folders = [n for n, word in enumerate(words) if "=" not in word and not word.startswith("-")]
    if len(folders) == 1:
        words[folders[0]] = f"data.root={words[folders[0]]}"
    return _load("label", words, LabelConfig)


def load_evaluate_config(argv: Sequence[str]) -> EvaluateConfig:
    """Load `configs/evaluate.yaml` with overrides."""
    return _load("evaluate", argv, EvaluateConfig)


def load_ask_config(argv: Sequence[str]) -> AskConfig:
    """Load `configs/ask.yaml` with overrides."""
    return _load("ask", argv, AskConfig)


def load_merge_config(argv: Sequence[str]) -> MergeConfig:
    """Load `configs/merge.yaml` with overrides."""
    return _load("merge", argv, MergeConfig)


def load_predict_config(argv: Sequence[str]) -> PredictConfig:
    """Load `configs/predict.yaml` with overrides."""
    return _load("predict", argv, PredictConfig)


def load_propose_config(argv: Sequence[str]) -> ProposeConfig:
    """Load `configs/propose.yaml` with overrides."""
    return _load("propose", argv, ProposeConfig)


def build_config(name: str, schema: type[S], values: Mapping[str, Any]) -> S:
    """Build the configuration of a command from nested values, as its command line does.

    Raises:
        ConfigError: lists all unknown keys and invalid values.
    """
    settings: dict[str, Any] = {}
    choices: dict[str, str] = {}
    groups = config_groups(name)
    problems = _flatten(values, config_keys(schema), groups, settings, choices)
    if settings.get("resume") is not None:
        _check_resume([*settings, *choices], problems)
    plain = {key: _plain(value) for key, value in settings.items()}
    return validate(_hydra_compose(name, groups, choices, problems, plain), schema, problems)


def load_hardware(device: str | None = None) -> HardwareConfig:
    """Return the settings of a torch device; None: the GPU if there is one, else the CPU."""
    group = "auto" if device is None else "cpu" if device == "cpu" else "gpu"
    hardware = build_config("predict", PredictConfig, {"hardware": group}).hardware
    return hardware if device is None else hardware.model_copy(update={"device": device})


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def config_dir() -> Path:
    """Return the folder of the YAML files: `configs/` of a checkout, or the copy in a wheel."""
    checkout = Path(__file__).resolve().parents[2] / "configs"
    packaged = Path(__file__).resolve().parents[1] / "_configs"
    return packaged if packaged.is_dir() else checkout


def config_groups(name: str) -> dict[str, list[str]]:
    """Return the config groups of `configs/<name>.yaml`, each with its options."""
    folder = config_dir()
    primary = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    used = {next(iter(item)) for item in primary.get("defaults", []) if isinstance(item, dict)}
    if name == "train":
        used.add("experiment")
    return {
        group: sorted(file.stem for file in (folder / group).glob("*.yaml"))
        for group in sorted(used)
    }


def validate(values: dict[str, Any], schema: type[S], problems: Sequence[str] = ()) -> S:
    """Build a configuration from plain values.

    Args:
        values: sections and keys.
        schema: the class to build.
        problems: earlier problems, to be reported in the same error.

    Raises:
        ConfigError: lists all unknown keys and invalid values by dotted key.
    """
    found = list(problems)
    try:
        config = schema.model_validate(values)
    except ValidationError as error:
        # A value of a union has a problem for each type; one is enough.
        described = {_key_of(problem): _describe(problem, schema) for problem in error.errors()}
        found += described.values()
    if found:
        raise ConfigError.from_problems(found)
    return config


def _load(name: str, argv: Sequence[str], schema: type[S]) -> S:
    groups = config_groups(name)
    if any(word in ("-h", "--help") for word in argv):
        say(help_text(name, schema, groups))
        raise SystemExit(0)
    words = [word for word in argv if word != "--cfg"]
    problems: list[str] = []
    values = _compose(name, words, schema, groups, problems)
    config = validate(values, schema, problems)
    if len(words) < len(argv):
        say(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
        raise SystemExit(0)
    return config


def _compose(
    name: str,
    argv: Sequence[str],
    schema: type[Section],
    groups: dict[str, list[str]],
    problems: list[str],
) -> dict[str, Any]:
    """Compose the configuration; problems of overrides are added to `problems`."""
    words = [word for word in argv if not word.startswith("config=")]
    own = [word.partition("=")[2] for word in argv if word.startswith("config=")]
    overrides = _parse(words, schema, problems)
    _check_resume([item.key_or_group for item in overrides] + ["config"] * len(own), problems)
    known = config_keys(schema)
    settings, choices = _read_settings(own, known, groups, problems)
    assigned: list[str] = []
    for item in overrides:
        key = item.key_or_group
        if item.is_delete():
            problems.append(
                f"'~{key}': keys cannot be removed; set {key}=null for the default choice."
            )
        elif key in groups:
            if problem := _check_choice(key, item.value(), groups[key]):
                problems.append(problem)
                continue
            choices[key] = str(item.value())
        elif problem := unknown_key(key, known, groups):
            problems.append(problem)
        elif (config_dir() / key).is_dir():
            # A plain key here, but Hydra would take it for the group of another command.
            settings[key] = item.value()
        else:
            assigned.append(f"++{key}={item.get_value_element_as_str()}")
    return _hydra_compose(name, groups, choices, problems, settings, assigned)


def _read_settings(
    paths: Sequence[str],
    known: dict[str, bool],
    groups: dict[str, list[str]],
    problems: list[str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of settings files by dotted key, and the options of groups they choose."""
    settings: dict[str, Any] = {}
    choices: dict[str, str] = {}
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(f"config={path}: cannot be read ({error}).")
            continue
        if isinstance(content, dict):
            found = _flatten(content, known, groups, settings, choices)
            problems += [f"{path}: {problem}" for problem in found]
        else:
            problems.append(f"config={path}: should have keys and values, as --cfg prints them.")
    return settings, choices


def _flatten(
    content: Mapping[Any, Any],
    known: dict[str, bool],
    groups: dict[str, list[str]],
    settings: dict[str, Any],
    choices: dict[str, str],
    prefix: str = "",
) -> list[str]:
    """Add nested values to `settings` and `choices`, and return what is wrong with their keys."""
    problems = []
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key in groups and isinstance(value, str):
            problem = _check_choice(key, value, groups[key])
            if problem is None:
                choices[key] = value
        elif key not in known and isinstance(value, Mapping):
            problems += _flatten(value, known, groups, settings, choices, f"{key}.")
            continue
        elif (problem := unknown_key(key, known, groups)) is None:
            settings[key] = value
        problems += [problem] if problem else []
    return problems


def _hydra_compose(
    name: str,
    groups: Mapping[str, list[str]],
    choices: Mapping[str, str],
    problems: Sequence[str],
    settings: Mapping[str, Any],
    assigned: Sequence[str] = (),
) -> dict[str, Any]:
    """Compose options of groups, then values by dotted key, then `++key=value`, which win."""
    chosen = dict(choices)
    if "hardware" in groups and chosen.get("hardware", "auto") == "auto":
        # Detecting it imports torch, which problems need not wait for.
        chosen["hardware"] = "cpu" if problems else detect_hardware()
    words = [f"{'+' if key == 'experiment' else ''}{key}={chosen[key]}" for key in chosen]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
            result = compose(config_name=name, overrides=[*words, *assigned])
            OmegaConf.set_struct(result, False)
            keys = [word.removeprefix("++").partition("=")[0] for word in assigned]
            last = {key: OmegaConf.select(result, key) for key in keys}
            for key, value in [*settings.items(), *last.items()]:
                OmegaConf.update(result, key, value, merge=False)
            values = OmegaConf.to_container(result, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"The configuration cannot be composed: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"configs/{name}.yaml must have keys and values.")
    return {str(key): value for key, value in values.items()}


def _parse(argv: Sequence[str], schema: type[Section], problems: list[str]) -> list[Override]:
    parser = OverridesParser.create()
    texts = text_keys(schema)
    parsed = []
    for word in argv:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            problems.append(
                f"'{word}' is not an option; options are --help, --cfg and key=value pairs."
            )
            continue
        if not equals and not word.startswith("~"):
            problems.append(f"'{word}' has no value; write key=value.")
            continue
        if key.lstrip("+") in texts:
            word = f"{key}={_quoted(value)}"
        try:
            item = parser.parse_override(word)
        except HydraException:
            item = None
        if item is None or item.is_sweep_override():
            problems.append(
                f"'{word}' cannot be parsed: the value has a character that needs quotes. "
                f"Write  '{key}=\"{value}\"'  with both kinds of quotes, or a list as "
                f"'{key}=[a,b]'."
            )
            continue
        parsed.append(item)
    return parsed


def _check_resume(keys: Sequence[str], problems: list[str]) -> None:
    """Reject other keys beside resume=, because a resumed run keeps its configuration."""
    if "resume" in keys:
        problems += [
            f"'{key}' cannot be combined with resume=: a resumed run keeps its configuration. Only "
            "solver.max_iter, and data.root for data that was moved, can be changed."
            for key in keys
            if key not in ("resume", "solver.max_iter", "data.root")
        ]


def _quoted(value: str) -> str:
    """Quote a string or path, so that Hydra accepts (, =, commas, ~ and non-ASCII letters in it.

    Quoted values, lists, interpolations and null are not changed.
    """
    if value in ("", "null") or value[0] in "'\"[" or value.startswith("${"):
        return value
    # Hydra keeps backslashes, except before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
    return f'"{escaped}"'


def _check_choice(group: str, value: Any, options: list[str]) -> str | None:
    if isinstance(value, str) and value in options:
        return None
    hint = did_you_mean(str(value), options)
    return f"{group}={value}: there is no such file.{hint} Choose from: {', '.join(options)}."


def _describe(problem: Any, schema: type[Section]) -> str:
    """Turn a pydantic error into a line with the key, the value and what to do."""
    key = _key_of(problem)
    if problem["type"] == "extra_forbidden":
        return unknown_key(key, config_keys(schema), {}) or f"'{key}' is not a key."
    message = (
        str(problem["msg"])
        .replace("Input should", "should")
        .removeprefix("Value error, ")
        .rstrip(".")
    )
    value = problem["input"]
    expected = str(problem.get("ctx", {}).get("expected", ""))
    choices = [part.strip(" '") for part in expected.replace(" or ", ",").split(",") if part]
    hint = did_you_mean(str(value), choices) if choices else ""
    if isinstance(value, dict) and problem["type"] == "value_error":
        return f"{key}: {message}."
    return f"{key}={value!r}: {message}.{hint}"


def _key_of(problem: Any) -> str:
    """Return a pydantic error's dotted key, without pydantic's parts for types and dict keys."""
    return ".".join(str(part) for part in problem["loc"] if re.fullmatch(r"\w+", str(part)))

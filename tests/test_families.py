"""Which family a model name or a checkpoint belongs to; families of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_configs import run_config

from detfinetune.config.load import load_train_config
from detfinetune.config.schema import TrainConfig
from detfinetune.errors import CheckpointError, ConfigError, MissingExtraError, ModelError
from detfinetune.families import families, family_named, family_of
from detfinetune.models.rcnn.settings import RcnnSettings

OWN = ["rcnn", "florence2", "vit"]
# A family that accepts `crystal/...`, and has keys of its own.
CRYSTAL = """
from detfinetune.config.schema import ModelConfig, PositiveInt
from detfinetune.models.family import ModelFamily

class Settings(ModelConfig):
    facets: PositiveInt = 6

class Crystal(ModelFamily):
    name = "crystal"
    tasks = frozenset({"bbox"})
    precisions = frozenset({"fp32"})
    Settings = Settings

    def accepts(self, model_name):
        return model_name.startswith("crystal/")

    def recipe(self, choices, statistics):
        choices.choose("solver.base_lr", lambda: (0.25, "crystals are patient"))

FAMILY = Crystal()
"""
NEEDY = (
    CRYSTAL.replace("crystal", "needy")
    + """
Crystal.extra, Crystal.requires = "gems", ("json", "no_such_module_of_gems")
"""
)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    families.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs packages of one module and one entry point each."""

    def write(**modules: str) -> None:
        for name, text in modules.items():
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(
                f"[detfinetune.families]\n{name} = family_{name}:FAMILY\n"
            )
            (tmp_path / f"family_{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        families.cache_clear()

    return write


def test_names_belong_to_the_family_that_accepts_them(install: Callable[..., None]) -> None:
    install(crystal=CRYSTAL)
    assert list(families()) == [*OWN, "crystal"]
    for name in ("auto", "timm/resnet18", "COCO-Detection/retinanet_R_50_FPN_1x"):
        assert family_of(name).name == "rcnn"
    assert family_of("crystal/quartz") is family_named("crystal")
    # It explains what is wrong with a name that nobody knows.
    assert family_of("crystl/quartz") is family_named("rcnn")


def test_a_family_that_is_not_there_names_those_that_are(install: Callable[..., None]) -> None:
    install(crystal=CRYSTAL)
    with pytest.raises(CheckpointError) as caught:
        family_named("topaz")
    assert str(caught.value) == (
        "The model belongs to the family 'topaz', which is not installed. Install the package "
        f"that provides it. Installed are: {', '.join(OWN)}, crystal."
    )


def test_a_broken_family_warns_and_breaks_no_other(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        absent="import no_such_module_at_all\n",
        broken="raise RuntimeError('out of order')\n",
        empty="",
        odd="FAMILY = object()\n",
        crystal=CRYSTAL,
    )
    assert list(families()) == [*OWN, "crystal"]
    assert next(iter(families())) == "rcnn"
    warnings = capsys.readouterr().err.splitlines()
    start = "warning: the family '{0}' (family_{0}:FAMILY) cannot be loaded: "
    for name, said in (
        ("absent", "No module named 'no_such_module_at_all'"), ("broken", "out of order"),
        ("empty", "has no attribute 'FAMILY'"), ("odd", "has no attribute 'name'"),
    ):  # fmt: skip
        (line,) = [line for line in warnings if line.startswith(start.format(name))]
        assert said in line
    assert len(warnings) == 4
    assert load_train_config(["model.freeze_at=1"]).model == RcnnSettings(freeze_at=1)
    assert capsys.readouterr().err == ""


def test_another_package_cannot_replace_a_family_of_ours(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(false=CRYSTAL.replace('name = "crystal"', 'name = "rcnn"'))
    assert list(families()) == OWN
    assert capsys.readouterr().err == (
        "warning: the family 'rcnn' of family_false:FAMILY is ignored: that name is taken\n"
    )
    assert family_named("rcnn").Settings is RcnnSettings


def test_each_family_has_its_own_keys(install: Callable[..., None]) -> None:
    install(crystal=CRYSTAL)
    config = load_train_config(["model.name=crystal/quartz", "model.facets=8"])
    assert config.model.model_dump() == {
        "name": "crystal/quartz", "weights": "auto", "facets": 8,
    }  # fmt: skip
    assert TrainConfig.model_validate(config.model_dump()) == config
    # A key of another family is known, but not to this one.
    for overrides in (["model.name=crystal/quartz", "model.freeze_at=2"], ["model.facets=8"]):
        with pytest.raises(ConfigError, match=overrides[-1].partition("=")[0]):
            load_train_config(overrides)
    with pytest.raises(ConfigError, match=r"model\.facets=0: should be greater than 0"):
        load_train_config(["model.name=crystal/quartz", "model.facets=0"])


@pytest.mark.parametrize(
    ("key", "meant"),
    [("facet", "facets"), ("fpn_chanels", "fpn_channels"), ("wieghts", "weights")],
)
def test_a_key_of_no_family_gets_the_nearest_one(
    install: Callable[..., None], key: str, meant: str
) -> None:
    install(crystal=CRYSTAL)
    with pytest.raises(ConfigError) as caught:
        load_train_config([f"model.{key}=3"])
    assert str(caught.value) == (
        f"'model.{key}' is not a key. Did you mean 'model.{meant}'? All keys: --help."
    )


def test_help_lists_the_keys_of_all_families(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(crystal=CRYSTAL)
    with pytest.raises(SystemExit):
        load_train_config(["--help"])
    text = capsys.readouterr().out
    for line in ("model.facets  [int; default 6]", "model.fpn_channels  [int; default 128]"):
        assert text.count(line) == 1
    assert text.count("  model.name  [") == 1


def test_what_a_family_leaves_is_chosen_by_general_rules(install: Callable[..., None]) -> None:
    install(crystal=CRYSTAL)
    config = run_config(model={"name": "crystal/quartz"}, hardware={"precision": "auto"})
    assert config.solver.base_lr == 0.25
    assert (config.solver.optimizer, config.solver.images_per_batch) == ("adamw", 4)
    assert (config.augment.image_size, config.augment.max_size) == (320, 533)
    assert config.hardware.precision == "fp32"


def test_a_family_refuses_what_it_cannot_do(install: Callable[..., None]) -> None:
    install(crystal=CRYSTAL, needy=NEEDY)
    with pytest.raises(ModelError) as refused:
        run_config(model={"name": "crystal/quartz"}, task="segm")
    assert str(refused.value) == (
        "model.name=crystal/quartz cannot be trained for task=segm. Use task=bbox, or another "
        "model."
    )
    with pytest.raises(ConfigError) as caught:
        run_config(model={"name": "crystal/quartz"}, hardware={"precision": "bf16"})
    assert str(caught.value) == (
        "hardware.precision=bf16: crystal/quartz can be trained only with fp32."
    )
    with pytest.raises(MissingExtraError, match=r"model\.name=needy/opal .*'detfinetune\[gems\]'"):
        run_config(model={"name": "needy/opal"})

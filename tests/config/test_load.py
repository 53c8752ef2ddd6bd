"""Every shipped YAML composes; every mistake on the command line gets one helpful line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from detfinetune.config.load import (
    config_groups,
    load_convert_config,
    load_evaluate_config,
    load_predict_config,
    load_train_config,
)
from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError

TRAIN_CHOICES = [
    (group, option) for group, options in config_groups("train").items() for option in options
]


@pytest.mark.parametrize(("group", "option"), TRAIN_CHOICES)
def test_every_shipped_option_composes(group: str, option: str) -> None:
    prefix = "+" if group == "experiment" else ""
    config = load_train_config([f"{prefix}{group}={option}", "data.root=somewhere"])
    assert config.data.root == Path("somewhere")


def test_every_experiment_opens_with_the_command_that_runs_it(repo: Path) -> None:
    for file in (repo / "configs" / "experiment").glob("*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[1].startswith(f"# detfinetune train +experiment={file.stem}"), file


def test_experiment_chooses_data_task_and_augmentation() -> None:
    config = load_train_config(["+experiment=nuclei"])
    assert (config.data.name, config.task, config.augment.rotate90) == ("nuclei", "segm", True)


def test_the_command_line_wins_over_an_experiment() -> None:
    config = load_train_config(
        ["+experiment=nuclei", "task=bbox", "augment=none", "model=faster_rcnn_r50_fpn"]
    )
    assert config.task == "bbox"
    assert config.augment.flip == "none"
    assert config.model.name == "COCO-Detection/faster_rcnn_R_50_FPN_3x"


def test_any_model_combines_with_the_chess_experiment() -> None:
    config = load_train_config(["+experiment=chess", "model=mask_rcnn_r50_fpn", "data.root=d"])
    assert (config.data.name, config.data.format, config.task) == ("chess", "yolo", "bbox")
    assert config.model.name == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


def test_experiment_works_without_its_plus_sign() -> None:
    assert load_train_config(["experiment=bccd"]).data.name == "bccd"


@pytest.mark.parametrize(
    "value", ["~/x", "a (1)/b", "Größe/é", "a=b", "a,b", 'it"s', "C:\\data", "a b", "{x}"]
)
def test_paths_are_taken_as_they_are(value: str) -> None:
    config = load_train_config([f"data.root={value}"])
    assert config.data.root == Path(value).expanduser()


def test_columns_need_no_quotes() -> None:
    config = load_convert_config(["data.columns=x1,y1,x2,y2,class", "output=out"])
    assert config.data.columns == "x1,y1,x2,y2,class"


def test_hardware_is_detected_and_can_be_named() -> None:
    assert load_train_config([]).hardware.name in ("cpu", "gpu")
    assert load_train_config(["hardware=gpu"]).hardware.device == "cuda"
    assert load_train_config(["hardware=auto"]).hardware.name in ("cpu", "gpu")


def test_nulls_and_lists() -> None:
    config = load_train_config(["data.classes=[cat,dog]", "solver.max_iter=null"])
    assert config.data.classes == ["cat", "dog"]
    assert config.solver.max_iter is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("solver.max_itr=3", "'solver.max_itr' is not a key. Did you mean 'solver.max_iter'?"),
        ("solver.lr=0.1", "'solver.lr' is not a key. Did you mean 'solver.base_lr'?"),
        ("lr=0.1", "'lr' is not a key. Did you mean 'solver.base_lr'?"),
        ("epochs=3", "'epochs' is not a key. Did you mean 'solver.max_iter'?"),
        ("max_iter=3", "'max_iter' is not a key. Did you mean 'solver.max_iter'?"),
        ("+data.rot=x", "'data.rot' is not a key. Did you mean 'data.root'?"),
        ("qqqqqq=1", "'qqqqqq' is not a key. All keys: --help."),
        ("+experiment=bcd", "experiment=bcd: there is no such file. Did you mean 'bccd'?"),
        ("model=resnet", "model=resnet: there is no such file."),
        ("solver.max_iter=-1", "solver.max_iter=-1: should be greater than 0."),
        ("solver.max_iter=many", "solver.max_iter='many': should be a valid integer"),
        ("hardware.precision=bf61", "hardware.precision='bf61': should be 'auto', 'fp32', 'bf16'"),
        ("task=box", "task='box': should be 'bbox' or 'segm'. Did you mean 'bbox'?"),
        ("augment.brightness=2", "augment.brightness=2: should be less than or equal to 1."),
        ("solver.max_iter=1,2", "cannot be parsed: the value has a character that needs quotes"),
        ("--lr", "'--lr' is not an option"),
        ("train", "'train' has no value; write key=value."),
        ("~solver.max_iter", "keys cannot be removed; set solver.max_iter=null"),
        ("solver.max_iter={a: 1}", "solver.max_iter={'a': 1}: should be a valid integer"),
        ("data.root=", "data.root='': should not be empty; give a path or null."),
        ("augment.scale_jitter=[1.2,0.8]", "augment: scale_jitter should be [low, high]"),
        ("data.classes=", "data.classes='': should not be empty; give a path or null."),
        (
            "data.splits={trian: x}",
            "data.splits.trian='trian': should be 'train', 'val' or 'test'. Did you mean 'train'?",
        ),
        *(
            (f"data.name={name}", "should be the name of one folder, such as 'cells'")
            for name in ("../up", "/tmp/x", "a/b", "..", ".", "", "a\\b")
        ),
        ("detectron2=3", "detectron2=3: should be a valid dictionary."),
    ],
)
def test_mistakes_get_one_helpful_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_train_config([override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_train_config(["solver.lr=1", "+experiment=bcd", "solver.max_iter=0", "-v"])
    text = str(caught.value)
    assert text.startswith("4 problems in the configuration:\n")
    assert text.count("\n  - ") == 4


def test_resume_takes_nothing_beside_but_max_iter() -> None:
    config = load_train_config(["resume=r", "solver.max_iter=9"])
    assert (config.resume, config.solver.max_iter) == (Path("r"), 9)
    with pytest.raises(ConfigError, match=r"'solver\.base_lr' cannot be combined with resume="):
        load_train_config(["resume=r", "solver.base_lr=9"])


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_train_config(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "solver.base_lr  [float; default null]" in text
    assert "hardware.precision  [auto|fp32|bf16|fp16; default fp32]" in text
    names = "airport, bccd, chess, custom, dit, florence2_lora, nuclei, satellite"
    assert f"experiment  {names}" in text
    assert "model.anchor_sizes  [list[float or list[float]]; default null]" in text


def test_cfg_prints_the_composed_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_train_config(["+experiment=bccd", "--cfg"])
    assert "name: bccd" in capsys.readouterr().out


def test_the_other_tools_compose() -> None:
    assert load_evaluate_config(["run=r", "split=test"]).split == "test"
    assert load_predict_config(["run=r", "input=i"]).input == Path("i")
    assert load_convert_config(["data=bccd", "output=o"]).data.format == "yolo"


def test_the_longer_sides_limit_is_not_below_the_shorter_side() -> None:
    with pytest.raises(ConfigError, match=r"^augment: max_size .* should not be below"):
        load_train_config(["augment.max_size=9", "augment.image_size=10"])


def test_old_values_of_coordinates_are_accepted() -> None:
    assert DataConfig(coordinates="pixels").coordinates == "absolute"  # type: ignore[arg-type]
    config = load_convert_config(["data.coordinates=fractions"])
    assert config.data.coordinates == "normalized"
    with pytest.raises(
        ConfigError, match=r"data\.coordinates='normalised': should be .*Did you mean"
    ):
        load_convert_config(["data.coordinates=normalised"])


def test_settings_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "augment: aerial\ndata: {root: /a b, splits: {train: one, val: two}}\n"
        "solver: {max_iter: 7, base_lr: 1.0e-3}\ndetectron2: {MODEL.RPN.NMS_THRESH: 0.6}\n"
    )
    config = load_train_config([f"config={file}", "solver.max_iter=9"])
    assert (config.augment.flip, config.augment.rotate90) == ("both", True)
    assert config.data.root == Path("/a b")
    assert config.data.splits == {"train": "one", "val": "two"}
    assert (config.solver.max_iter, config.solver.base_lr) == (9, 1e-3)
    assert config.detectron2 == {"MODEL.RPN.NMS_THRESH": 0.6}
    assert not load_train_config([f"config={file}", "augment=none"]).augment.rotate90
    # What --cfg prints, or a run keeps, is such a file.
    text = yaml.safe_dump(config.model_dump(mode="json"))
    file.write_text(text)
    assert load_train_config([f"config={file}"]) == config
    convert = tmp_path / "convert.yaml"
    convert.write_text("output_format: voc\n")
    assert load_convert_config([f"config={convert}"]).output_format == "voc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("solver: {max_itr: 7}", r"mine\.yaml: 'solver\.max_itr' is not a key\. Did you mean"),
        ("augment: arial", r"mine\.yaml: augment=arial: .* Did you mean 'aerial'"),
        ("solver: {max_iter: x}", r"solver\.max_iter='x'"),
        ("- 1", "should have keys and values"),
        ("a: [", r"config=.*mine\.yaml: cannot be read"),
    ],
)
def test_mistakes_in_a_settings_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_train_config([f"config={tmp_path / 'mine.yaml'}"])
    with pytest.raises(ConfigError, match="'config' cannot be combined with resume="):
        load_train_config([f"config={tmp_path / 'mine.yaml'}", "resume=runs/x"])

"""What is chosen for the user, and that nothing the user named is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from label_tables import statistics_of
from pydantic import ValidationError
from run_configs import run_config

from detfinetune.checks.anchor_fit import anchor_recall, resized
from detfinetune.checks.anchors import check_anchors
from detfinetune.checks.places import percent
from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.engine import recipe
from detfinetune.engine.recipe import choose_accumulate, resolve_recipe, with_steps
from detfinetune.errors import ConfigError, ModelError
from detfinetune.families import family_of
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.read import read_dataset
from detfinetune.models import memory
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.choices import Choice


def statistics(*sides: float, images: int = 200, size: tuple[int, int] = (640, 480)) -> Any:
    """Return the statistics of images that each have square objects of these sides, pixels."""
    return statistics_of(images * [[(0, side, side) for side in sides or (96, 120)]], size)


def chosen(choices: list[Choice]) -> dict[str, object]:
    return {choice.key: choice.value for choice in choices}


def reasons(choices: list[Choice]) -> dict[str, str]:
    return {choice.key: choice.reason for choice in choices}


def test_without_a_gpu_the_quick_recipe_is_complete() -> None:
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), statistics())
    assert config.model.name == "efficientnet_lite0_fpn"
    assert config.augment.image_size == 320
    assert config.augment.crop_size == 0
    # There are no images with more than 8 bits, and minutes have become steps.
    dumped = config.model_dump(
        exclude={"augment": {"window", "albumentations"}, "solver": {"minutes"}}
    )
    for section in ("model", "augment", "solver", "hardware", "evaluation"):
        assert None not in dumped[section].values(), section
        assert "auto" not in {k: v for k, v in dumped[section].items() if k != "weights"}.values()
    assert all(choice.reason for choice in choices)


def test_what_the_user_names_is_never_replaced() -> None:
    named = [
        "model.name=efficientnet_lite0_fpn", "model.freeze_at=0",
        "model.anchor_sizes=[7,14,28,56,112]", "model.anchor_ratios=[1,3]",
        "hardware.precision=fp32",
        "augment.image_size=500", "augment.max_size=501", "augment.crop_size=99",
        "solver.optimizer=sgd", "solver.base_lr=0.5", "solver.weight_decay=0", "solver.max_iter=7",
        "solver.images_per_batch=3", "solver.warmup_iters=0", "solver.decay=linear",
        "solver.accumulate=3", "solver.repeat_threshold=0.3", "solver.empty_share=0.1",
        "solver.checkpoint_period=2", "evaluation.eval_period=0",
        "evaluation.detections_per_image=5",
    ]  # fmt: skip
    before = load_train_config(["hardware=cpu", *named])
    after, choices = resolve_recipe(before, statistics())
    assert after.model_dump() == before.model_dump()
    assert choices == []
    again, more = resolve_recipe(after, statistics(images=999))
    assert (again, more) == (after, [])


@pytest.mark.parametrize(
    "key",
    [
        "augment.image_size", "augment.max_size", "augment.crop_size", "solver.optimizer",
        "solver.base_lr", "solver.weight_decay", "solver.images_per_batch", "solver.max_iter",
        "solver.warmup_iters", "solver.checkpoint_period", "solver.repeat_threshold",
        "solver.empty_share", "evaluation.eval_period",
        "evaluation.detections_per_image", "hardware.precision",
    ],
)  # fmt: skip
def test_in_a_run_nothing_is_left_to_choose(key: str) -> None:
    config, choices = resolve_recipe(
        load_train_config(["hardware=cpu", "hardware.precision=auto"]), statistics()
    )
    assert key in chosen(choices)
    values = config.model_dump()
    assert RunConfig.model_validate(values) == config
    section, _, name = key.partition(".")
    values[section][name] = "auto" if key == "hardware.precision" else None
    TrainConfig.model_validate(values)
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(values)
    assert {problem["loc"][:2] for problem in caught.value.errors()} == {(section, name)}


def test_small_objects_get_larger_images_and_crops() -> None:
    small = statistics(20, size=(800, 600))
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), small)
    # 20 px of 600 become 32 px at 960 px, but no image is enlarged beyond 1.5 times.
    assert config.augment.image_size == 896
    assert config.augment.crop_size == 320
    assert "objects are small" in reasons(choices)["augment.image_size"]


def test_the_smallest_objects_count_too() -> None:
    mixed = statistics_of(20 * [[*19 * [(0, 100.0, 100.0)], *2 * [(0, 10.0, 10.0)]]])
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), mixed)
    # 10 px of 480 become 8 px at 384 px.
    assert config.augment.image_size == 384
    assert "95 % are 8 px or more" in reasons(choices)["augment.image_size"]


def anchors(data: DatasetStatistics, *words: str) -> tuple[object, object, str]:
    """Return the sizes and ratios chosen without a GPU, and the reason."""
    config, choices = resolve_recipe(load_train_config(["hardware=cpu", *words]), data)
    model = config.model.model_dump()
    why = reasons(choices)
    return (
        model["anchor_sizes"],
        model["anchor_ratios"],
        why.get("model.anchor_sizes", why.get("model.anchor_ratios", "")),
    )


USUAL = [0.5, 1, 2]


def test_anchors_follow_the_objects() -> None:
    assert anchors(statistics(96, 144, 192))[:2] == ([32, 64, 128, 256, 512], USUAL)
    sizes, ratios, reason = anchors(statistics(27, 144, 192))
    assert (sizes, ratios) == ([16, 32, 64, 128, 256], USUAL)
    assert reason == "fit 100 % of the objects (IoU of 0.5 or more)"


def test_objects_of_all_sizes_get_several_anchors_a_level() -> None:
    sides = [12 * 1.3**step for step in range(14)]
    sizes, ratios, _ = anchors(statistics(*sides, images=20))
    assert (sizes, ratios) == ([11, 23, 45, 91, 181], USUAL)
    # One size a level leaves gaps.
    sides = [12 * 1.15**step for step in range(26)]
    sizes, ratios, reason = anchors(statistics(*sides, images=20))
    assert (sizes, ratios) == (
        [[8, 11], [16, 23], [32, 45], [64, 91], [128, 181]], USUAL,
    )  # fmt: skip
    assert reason == "fit 95 % of the objects (IoU of 0.5 or more)"


def test_long_objects_get_long_anchors() -> None:
    pens = statistics_of(20 * [[(0, 30.0, 180.0), (0, 180.0, 30.0)]])
    sizes, ratios, reason = anchors(pens)
    assert (sizes, ratios) == ([32, 64, 128, 256, 512], [0.17, 1, 6])
    assert reason == "fit 100 % of the objects (IoU of 0.5 or more)"
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), pens)
    assert reasons(choices)["model.anchor_ratios"] == "for long and flat objects"
    found = family_of(config.model.name).anchors(config)
    assert found is not None
    assert found.aspect_ratios == (0.17, 1, 6)


def test_given_sizes_or_ratios_are_kept_and_the_other_is_chosen() -> None:
    pens = statistics_of(20 * [[(0, 30.0, 180.0), (0, 180.0, 30.0)]])
    sizes, ratios, reason = anchors(pens, "model.anchor_sizes=[32,64,128,256,512]")
    assert (sizes, ratios) == ([32, 64, 128, 256, 512], [0.17, 1, 6])
    assert reason == "fit 100 % of the objects (IoU of 0.5 or more)"
    assert anchors(pens, "model.anchor_ratios=[0.2,5]")[1] == [0.2, 5]
    assert anchors(pens, "model.anchor_sizes=[[8,9],[8,9],[8,9],[8,9],[8,9]]")[0] == 5 * [[8, 9]]


def test_anchors_of_a_pretrained_detector_are_kept_unless_others_fit_far_more(
    tmp_path: Path,
) -> None:
    zoo = ["model.name=COCO-Detection/faster_rcnn_R_50_FPN_3x"]
    own = [32, 64, 128, 256, 512]
    assert anchors(statistics(96, 144, 192), *zoo) == (
        own, USUAL, "those of the weights; they fit 100 % of the objects (IoU of 0.5 or more)",
    )  # fmt: skip
    # The largest image size makes 14 px of these.
    tiny = statistics(14, size=(640, 480))
    given = ["augment.image_size=480"]
    assert anchors(tiny, *zoo, *given)[0] == [16, 32, 64, 128, 256]
    # As many anchors as the weights have, or they would not fit.
    sides = [12 * 1.3**step for step in range(14)]
    assert len(str(anchors(statistics(*sides, images=20), *zoo)[0]).split("[")) == 2
    assert anchors(statistics(96, 144), *zoo, "model.weights=random")[0] == own
    file = tmp_path / "model.pth"
    model = {"name": "efficientnet_lite0_fpn", "weights": "random",
             "anchor_sizes": [20, 40, 80, 160, 320], "anchor_ratios": [0.4, 1, 2.5]}  # fmt: skip
    write_checkpoint(file, Checkpoint({}, ("a",), run_config(model=model), 1))
    found = anchors(statistics(96, 144, 192), f"model.weights={file}")
    assert found[:2] == ([20, 40, 80, 160, 320], [0.4, 1, 2.5])


REAL_SETS = {
    "airport": ["data=airport"],
    "bccd": ["data=bccd"],
    "chess": ["data=chess"],
    "coco_tiny": ["task=segm"],
    "deeppcb": ["data.columns='x1,y1,x2,y2,class'"],
    "nuclei": ["data=nuclei", "task=segm"],
}


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", REAL_SETS)
def test_the_project_itself_has_no_objection(shared_data: Path, name: str) -> None:
    given = load_train_config(["hardware=cpu", f"data.root={shared_data / name}", *REAL_SETS[name]])
    dataset = read_dataset(given.data)
    data = DatasetStatistics(dataset.tables["train"], dataset.num_classes)
    config, choices = resolve_recipe(given, data)
    found = family_of(config.model.name).anchors(config)
    assert found is not None
    assert check_anchors(dataset.tables, dataset.classes, found) == []
    recall = anchor_recall(*resized(data.boxes, data.box_image_sizes, found), found)
    assert recall >= 0.95
    assert f"fit {percent(recall)} of" in reasons(choices)["model.anchor_sizes"]


def test_crowded_images_keep_more_detections() -> None:
    crowd = statistics_of([3 * [(0, 40.0, 40.0)], 180 * [(0, 40.0, 40.0)]])
    config, _ = resolve_recipe(load_train_config([]), crowd)
    assert config.evaluation.detections_per_image == 360


def test_random_weights_freeze_nothing() -> None:
    config, _ = resolve_recipe(load_train_config(["model.weights=random"]), statistics())
    assert config.model.freeze_at == 0


def test_a_mistyped_model_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ModelError, match="efficientnet_lite0_fpn"):
        resolve_recipe(load_train_config(["model.name=efficientnet_lite_fpn"]), statistics())


def test_a_backbone_with_fewer_levels_gets_as_many_anchor_sizes() -> None:
    config, _ = resolve_recipe(load_train_config(["model.name=timm/shvit_s1"]), statistics())
    anchors = family_of(config.model.name).anchors(config)
    assert anchors is not None
    assert anchors.strides == (16, 32, 64)
    assert len(config.model.anchor_sizes or ()) == 3
    config, _ = resolve_recipe(load_train_config(["model.anchor_sizes=[8,16]"]), statistics())
    with pytest.raises(ConfigError, match=r"model\.anchor_sizes has 2 sizes, but .* needs 5"):
        family_of(config.model.name).anchors(config)


def solver(data: DatasetStatistics, *words: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what is chosen of `solver.*`, and the reasons."""
    config, choices = resolve_recipe(load_train_config(["hardware=cpu", *words]), data)
    return config.solver.model_dump(), {
        key.removeprefix("solver."): why for key, why in reasons(choices).items()
    }


def images_with(*counts: tuple[int, int], images: int) -> DatasetStatistics:
    """Return images; each (class, number of images) adds an object of that class to the first."""
    return statistics_of(
        [
            [(category, 60.0, 60.0) for category, number in counts if index < number]
            for index in range(images)
        ]
    )


@pytest.mark.parametrize(
    ("data", "steps", "reason"),
    [
        (20 * [10 * [(0, 60.0, 60.0)]], 300, "the fewest by default"),
        (200 * [10 * [(0, 60.0, 60.0)]], 400, "8 epochs of 200 images"),
        (20 * [10 * [(kind, 60.0, 60.0) for kind in range(6)]], 900, "150 for each of 6 classes"),
        # One object an image, so 500 steps of four images.
        (20 * [[(0, 60.0, 60.0)]], 500, "shows the rarest class 2,000 times"),
        (
            800 * [10 * [(0, 60.0, 60.0)]], 1200,
            "the most by default; 8 epochs of 800 images: 1,600",
        ),
    ],
)  # fmt: skip
def test_steps_follow_images_classes_and_the_rarest_class(
    data: list[list[tuple[int, float, float]]], steps: int, reason: str
) -> None:
    values, why = solver(statistics_of(data))
    assert (values["max_iter"], why["max_iter"]) == (steps, reason)
    assert values["warmup_iters"] == steps // 10


def test_a_class_that_cannot_be_learnt_costs_no_steps() -> None:
    hopeless = statistics_of([*19 * [10 * [(0, 60.0, 60.0)]], [*10 * [(0, 60.0, 60.0)], (1, 9, 9)]])
    assert solver(hopeless)[0]["max_iter"] == 300


def test_rare_classes_are_oversampled() -> None:
    values, why = solver(images_with((0, 100), (1, 19), images=100))
    assert values["repeat_threshold"] == 0.2
    assert why["repeat_threshold"] == (
        "1 of 2 classes are in fewer than 20 % of the images: oversample these"
    )
    assert solver(images_with((0, 100), (1, 20), images=100))[0]["repeat_threshold"] == 0
    # A single class is rare where most images are empty, which is another matter.
    assert solver(images_with((0, 10), images=100))[0]["repeat_threshold"] == 0
    data = images_with((0, 100), (1, 19), images=100)
    assert solver(data, "solver.repeat_threshold=0")[0]["repeat_threshold"] == 0


def test_mostly_empty_images_are_shown_less_often() -> None:
    values, why = solver(images_with((0, 25), images=100))
    assert values["empty_share"] == 0.5
    assert why["empty_share"] == "75 % of the images are empty: show fewer of them"
    values, why = solver(images_with((0, 50), images=100))
    assert values["empty_share"] == 1
    assert why["empty_share"] == "50 % of the images are empty: show all"
    data = images_with((0, 25), images=100)
    assert solver(data, "solver.empty_share=1")[0]["empty_share"] == 1


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ([], 7e-4),
        (["solver.images_per_batch=16"], 1.4e-3),
        (["solver.optimizer=sgd"], 0.02 / 16),
        (["solver.optimizer=sgd", "solver.images_per_batch=16"], 0.02 / 4),
    ],
)
def test_rates_grow_with_the_batch(words: list[str], rate: float) -> None:
    assert solver(statistics(), *words)[0]["base_lr"] == pytest.approx(rate)


GIB = 1 << 30


@pytest.mark.parametrize(
    # 4 images of up to 416 x 672 px take 1.0 GiB and the weights 0.1.
    ("free", "parts"),
    [(None, 1), (1.5, 1), (1.3, 2), (0.6, 4), (0.1, 4)],
)
def test_a_batch_is_divided_if_memory_is_scarce(
    free: float | None, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = resolve_recipe(
        load_train_config(["hardware=cpu", "hardware.precision=fp32"]), statistics()
    )
    assert config.solver.accumulate == 1
    monkeypatch.setattr(recipe, "free_memory", lambda device: free and int(free * GIB))
    choice = choose_accumulate(config, 1)
    assert (choice.key, choice.value) == ("solver.accumulate", parts)
    if free is not None:
        assert choice.reason.endswith(f" GiB, {free} GiB are free")


def test_free_memory_is_read_from_the_machine_or_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.free_memory("cpu") is None
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   4096 kB\n")
    assert memory.free_memory("cpu") == 4096 << 10
    for name, text in (("max", "max"), ("current", "900"), ("stat", "anon 1\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.free_memory("cpu") == 4096 << 10
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.free_memory("cpu") == 1000 - 900 + 50
    assert memory.free_memory("mps") is None


def test_what_is_for_gpus_is_said_to_be_untested() -> None:
    words = ["hardware=gpu", "hardware.precision=fp16", "model.name=efficientnet_lite0_fpn"]
    config, choices = resolve_recipe(load_train_config(words), statistics())
    assert config.solver.images_per_batch == 8
    assert config.solver.base_lr == pytest.approx(9.9e-4)
    assert config.solver.max_iter == 1000
    why = reasons(choices)
    for key in ("augment.image_size", "solver.images_per_batch", "solver.base_lr",
                "solver.max_iter"):  # fmt: skip
        assert why[key].endswith("; untested"), key
    assert "untested" not in str(reasons(resolve_recipe(load_train_config(["hardware=cpu"]),
                                                        statistics())[1]))  # fmt: skip


def test_time_is_turned_into_steps_with_what_depends_on_them() -> None:
    given = load_train_config(["hardware=cpu", "solver.minutes=15", "solver.warmup_iters=3"])
    before, choices = resolve_recipe(given, statistics())
    assert before.solver.minutes is None
    after, choices = with_steps(before, choices, 801, "fifteen minutes")
    assert (after.solver.max_iter, after.solver.warmup_iters) == (801, 3)
    assert after.evaluation.eval_period == 201
    assert reasons(choices)["solver.max_iter"] == "fifteen minutes"
    assert chosen(choices)["evaluation.eval_period"] == 201
    assert "solver.warmup_iters" not in chosen(choices)


def test_runs_of_older_versions_train_as_they_did() -> None:
    values = run_config().model_dump(mode="json")
    for key in ("minutes", "empty_share"):
        del values["solver"][key]
    del values["model"]["anchor_ratios"]
    older = RunConfig.model_validate(values)
    assert (older.solver.empty_share, older.solver.minutes) == (1, None)
    found = family_of(older.model.name).anchors(older)
    assert found is not None
    assert found.aspect_ratios == (0.5, 1, 2)

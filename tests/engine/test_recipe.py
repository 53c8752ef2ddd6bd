"""What is chosen for the user, and that nothing the user named is replaced."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.errors import ConfigError, ModelError
from detfinetune.families import family_of
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.choices import Choice


def statistics(**changes: object) -> DatasetStatistics:
    values: dict[str, object] = {
        "num_images": 200,
        "median_side": 480.0,
        "object_sizes": (0.1, 0.2, 0.2, 0.3),
        "objects_per_image": (0, 20),
    }
    return DatasetStatistics(**{**values, **changes})  # type: ignore[arg-type]


def chosen(choices: list[Choice]) -> dict[str, object]:
    return {choice.key: choice.value for choice in choices}


def test_without_a_gpu_the_quick_recipe_is_complete() -> None:
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), statistics())
    assert config.model.name == "efficientnet_lite0_fpn"
    assert config.augment.image_size == 320
    assert config.augment.crop_size == 0
    dumped = config.model_dump(exclude={"augment": {"window"}})  # of images that are not here
    for section in ("model", "augment", "solver", "hardware", "evaluation"):
        assert None not in dumped[section].values(), section
        assert "auto" not in {k: v for k, v in dumped[section].items() if k != "weights"}.values()
    assert all(choice.reason for choice in choices)


def test_what_the_user_names_is_never_replaced() -> None:
    named = [
        "model.name=efficientnet_lite0_fpn", "model.freeze_at=0",
        "model.anchor_sizes=[7,14,28,56,112]",
        "hardware.precision=fp32",
        "augment.image_size=500", "augment.max_size=501", "augment.crop_size=99",
        "solver.optimizer=sgd", "solver.base_lr=0.5", "solver.weight_decay=0", "solver.max_iter=7",
        "solver.images_per_batch=3", "solver.warmup_iters=0", "solver.decay=linear",
        "solver.checkpoint_period=2", "evaluation.eval_period=0",
        "evaluation.detections_per_image=5",
    ]  # fmt: skip
    before = load_train_config(["hardware=cpu", *named])
    after, choices = resolve_recipe(before, statistics())
    assert after.model_dump() == before.model_dump()
    assert choices == []
    again, more = resolve_recipe(after, statistics(num_images=9999))
    assert (again, more) == (after, [])


@pytest.mark.parametrize(
    "key",
    [
        "augment.image_size", "augment.max_size", "augment.crop_size", "solver.optimizer",
        "solver.base_lr", "solver.weight_decay", "solver.images_per_batch", "solver.max_iter",
        "solver.warmup_iters", "solver.checkpoint_period", "evaluation.eval_period",
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
    small = statistics(object_sizes=(0.02, 0.03, 0.03, 0.04), median_side=600.0)
    config, choices = resolve_recipe(load_train_config(["hardware=cpu"]), small)
    assert config.augment.image_size == 896
    assert config.augment.crop_size == 320
    reasons = {choice.key: choice.reason for choice in choices}
    assert "objects are small" in reasons["augment.image_size"]


def test_anchors_follow_the_objects() -> None:
    def anchors(*sizes: float) -> list[float] | None:
        config, _ = resolve_recipe(
            load_train_config(["hardware=cpu"]), statistics(object_sizes=sizes)
        )
        return config.model.anchor_sizes

    assert anchors(0.2, 0.3, 0.4) == [32, 64, 128, 256, 512]
    assert anchors(0.055, 0.3, 0.4) == [16, 32, 64, 128, 256]


def test_crowded_images_keep_more_detections() -> None:
    config, _ = resolve_recipe(load_train_config([]), statistics(objects_per_image=(3, 180)))
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

"""Checks raw Detectron2 keys of the configuration, and sets them.

yacs silently accepts any new key, and some of Detectron2's keys have no effect here, because this
package has its own key for them. Both are errors that name the key to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.config import CfgNode

from detfinetune.errors import did_you_mean

# Detectron2 key, or a group of keys ending in a dot -> the key to use instead.
_REPLACED_BY = {
    "MODEL.DEVICE": "hardware.device",
    "MODEL.WEIGHTS": "model.weights",
    "MODEL.MASK_ON": "task=segm",
    "MODEL.KEYPOINT_ON": "task",
    "MODEL.LOAD_PROPOSALS": "model.name",
    "MODEL.META_ARCHITECTURE": "model.name",
    "MODEL.BACKBONE.NAME": "model.name",
    "MODEL.BACKBONE.FREEZE_AT": "model.freeze_at",
    "MODEL.TIMM.": "model.name",
    "MODEL.ROI_HEADS.NUM_CLASSES": "data.classes",
    "MODEL.RETINANET.NUM_CLASSES": "data.classes",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "augment.scale_jitter",
    "INPUT.MIN_SIZE_TRAIN": "augment.image_size",
    "INPUT.MIN_SIZE_TEST": "augment.image_size",
    "INPUT.MAX_SIZE_TRAIN": "augment.max_size",
    "INPUT.MAX_SIZE_TEST": "augment.max_size",
    "INPUT.RANDOM_FLIP": "augment.flip",
    "INPUT.CROP.": "augment.crop_size",
    "DATASETS.": "data.root",
    "DATALOADER.NUM_WORKERS": "hardware.num_workers",
    "DATALOADER.REPEAT_THRESHOLD": "solver.repeat_threshold",
    "DATALOADER.": "the data section",
    "SOLVER.BASE_LR": "solver.base_lr",
    "SOLVER.MAX_ITER": "solver.max_iter",
    "SOLVER.IMS_PER_BATCH": "solver.images_per_batch",
    "SOLVER.WARMUP_ITERS": "solver.warmup_iters",
    "SOLVER.WEIGHT_DECAY": "solver.weight_decay",
    "SOLVER.AMP.": "hardware.precision",
    "SOLVER.": "the solver section",
    "TEST.DETECTIONS_PER_IMAGE": "evaluation.detections_per_image",
    "TEST.EVAL_PERIOD": "evaluation.eval_period",
    "TEST.": "the evaluation section",
    "OUTPUT_DIR": "output_dir",
    "SEED": "seed",
    "VERSION": "nothing",
    "CUDNN_BENCHMARK": "the hardware section",
}


def apply_passthrough(cfg: CfgNode, raw: Mapping[str, Any]) -> list[str]:
    """Set the keys of `raw` (nested or dotted) in `cfg`, and return the problems, one line each.

    Ints are accepted for floats and lists for tuples; other differences in type are problems.
    """
    known = dict(_flatten(cfg))
    problems = []
    for key, value in _flatten(raw):
        if owner := _replacement(key):
            problems.append(f"detectron2.{key} has no effect here: use {owner} instead.")
        elif key not in known:
            problems.append(_unknown(key, known))
        else:
            fitted = float(value) if _is_int_for_float(value, known[key]) else value
            try:
                cfg.merge_from_list([key, fitted])
            except ValueError:
                problems.append(
                    f"detectron2.{key}: {value!r} is a {type(value).__name__}, but Detectron2 "
                    f"expects a {type(known[key]).__name__} such as {known[key]!r}."
                )
    return problems


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted key."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and (value or isinstance(value, CfgNode)):
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value


def _replacement(key: str) -> str | None:
    """Return our key for a Detectron2 key that has no effect; the longest match counts."""
    matches = [
        known
        for known in _REPLACED_BY
        if key == known or (known.endswith(".") and key.startswith(known))
    ]
    return _REPLACED_BY[max(matches, key=len)] if matches else None


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    group = [name for name in known if name.startswith(f"{key}.")]
    if group:
        return (
            f"detectron2.{key} is a group of keys; set one of them, such as detectron2.{group[0]}."
        )
    return f"detectron2.{key} is not a key of Detectron2.{did_you_mean(key, known)}"


def _is_int_for_float(value: Any, default: Any) -> bool:
    return isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)

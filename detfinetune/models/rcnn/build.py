"""Builds a detector from a `CfgNode`, and loads base weights into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from detfinetune.config.resolved import RunConfig
from detfinetune.console import name_list
from detfinetune.errors import WeightsError
from detfinetune.models.family import BaseWeights

# Imported to register the backbone in Detectron2.
from detfinetune.models.rcnn.backbones import timm_fpn  # noqa: F401
from detfinetune.models.rcnn.backbones.depthwise import use_fp32_depthwise
from detfinetune.models.rcnn.backbones.timm_weights import backbone_state
from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.rcnn.roi_align import use_sparse_roi_align
from detfinetune.models.rcnn.weights import RcnnWeights
from detfinetune.models.weight_files import read_state_dict, read_zoo_pickle

# Caffe2's files lack these statistics, because they are folded into scale and shift.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class LoadReport:
    """Result of loading base weights."""

    loaded: int
    """Number of the model's tensors that were loaded."""

    total: int
    """Number of the model's tensors."""

    other_shape: tuple[str, ...]
    """Tensors with another shape in the file, such as class heads for other classes."""

    missing: tuple[str, ...]
    """Tensors that the file lacks; they keep their random initialization."""

    other_classes: tuple[str, ...] = ()
    """Tensors that fit but are for other classes; they keep their random initialization."""

    def notes(self, weights: RcnnWeights) -> tuple[str, ...]:
        """Return what to tell the user, one line each."""
        rest = ", the rest are random" if self.loaded < self.total else ""
        notes = [
            f"base weights: {weights.description}",
            f"  {self.loaded} of {self.total} tensors loaded{rest}",
        ]
        if self.other_classes or self.other_shape:
            theirs = f": {name_list(weights.classes)}" if weights.classes else ""
            notes.append(f"  class layers are random, as the weights have other classes{theirs}")
        return tuple(notes)


def build_model(config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None) -> RcnnModel:
    """Build the model of a run on the CPU, and load base weights into it.

    Raises:
        WeightsError: they do not fit.
    """
    on_cpu = torch.device(config.hardware.device).type == "cpu"
    model = build_detector(
        build_cfg(model_settings(config, len(classes))),
        channels_last=config.hardware.channels_last,
        sparse_roi_align=config.hardware.sparse_roi_align and on_cpu,
    )
    if on_cpu and config.hardware.precision == "bf16":
        use_fp32_depthwise(model)
    wrapped = RcnnModel(model, classes)
    if isinstance(base, RcnnWeights):
        wrapped.notes = load_base_weights(model, base, classes).notes(base)
    return wrapped


def build_detector(
    cfg: CfgNode, *, channels_last: bool = False, sparse_roi_align: bool = True
) -> nn.Module:
    """Build Detectron2's model of `cfg` on the CPU, with random weights.

    Args:
        cfg: from `d2_cfg.build_cfg`.
        channels_last: store convolution weights, and thus activations, as NHWC.
        sparse_roi_align: compute ROIAlign as a sparse matrix product, which is faster on a CPU.
    """
    model: nn.Module = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if sparse_roi_align:
        use_sparse_roi_align(model)
    return model


def load_base_weights(
    model: nn.Module, weights: RcnnWeights, classes: Sequence[str] | None = None
) -> LoadReport:
    """Load base weights into a detector from `build_detector`, in place.

    Tensors of another shape, such as heads for other classes, are not loaded but reported. So are
    heads that would fit, if the file has class names and they differ from `classes`.

    Args:
        model: changed in place.
        weights: from `find_base_weights`.
        classes: names of the model's classes, in order; None compares heads by shape only.

    Raises:
        WeightsError: the file cannot be read, or fits less than half of the backbone and so belongs
            to another model.
    """
    own = model.state_dict()
    if weights.kind == "random":
        return LoadReport(0, len(own), (), tuple(own))
    found = _matching_state(model, weights)
    fitting = {
        name: value
        for name, value in found.items()
        if name in own and value.shape == own[name].shape
    }
    renamed: tuple[str, ...] = ()
    if classes is not None and weights.classes not in (None, tuple(classes)):
        count = len(classes)
        renamed = tuple(name for name, value in fitting.items() if _of_classes(name, value, count))
        fitting = {name: value for name, value in fitting.items() if name not in renamed}
    other = tuple(
        name for name, value in found.items() if name in own and value.shape != own[name].shape
    )
    _check_backbone(own, fitting, weights)
    model.load_state_dict(fitting, strict=False)
    missing = tuple(name for name in own if name not in found)
    return LoadReport(len(fitting), len(own), other, missing, renamed)


def _of_classes(name: str, value: Tensor, count: int) -> bool:
    """Return whether a tensor of a head has one part for each of `count` classes.

    Boxes and masks may instead be predicted once for all classes.
    """
    layer = name.split(".")[-2] if "." in name else ""
    if layer == "bbox_pred":
        # RetinaNet's, below `head.`, is one for all classes whatever its size.
        return name.startswith("roi_heads.") and value.shape[0] == 4 * count
    if layer == "predictor":
        return name.startswith("roi_heads.mask_head.") and value.shape[0] == count
    return layer == "cls_score"


def _matching_state(model: nn.Module, weights: RcnnWeights) -> dict[str, Tensor]:
    """Return the file's tensors under the model's names."""
    if weights.kind in ("backbone", "timm"):
        body: Any = model.get_submodule("backbone.bottom_up")
        state = backbone_state(body.backbone, weights.path)
        return {f"backbone.bottom_up.body.{name}": value for name, value in state.items()}
    if weights.path is None:
        raise ValueError(f"weights of kind {weights.kind} need a file")
    if weights.path.suffix != ".pkl":
        return read_state_dict(weights.path)
    file = read_zoo_pickle(weights.path)
    if not file.match_by_name_ends:
        return file.tensors
    matched: dict[str, Tensor] = align_and_update_state_dicts(
        model.state_dict(), file.tensors, c2_conversion=file.author == "Caffe2"
    )
    return matched


def _check_backbone(
    own: Mapping[str, Tensor], fitting: Mapping[str, Tensor], weights: RcnnWeights
) -> None:
    """Raise an error for weights that fit less than half of the backbone."""
    nested = any(name.startswith("backbone.bottom_up.") for name in own)
    prefix = "backbone.bottom_up." if nested else "backbone."
    wanted = [name for name in own if name.startswith(prefix) and not name.endswith(_STATISTICS)]
    fit = sum(name in fitting for name in wanted)
    if 2 * fit < len(wanted):
        raise WeightsError(
            f"model.weights: {weights.description} fits {fit} of the backbone's {len(wanted)} "
            "tensors, so it belongs to another model. Check model.name and model.weights."
        )

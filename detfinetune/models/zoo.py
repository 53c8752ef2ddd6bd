"""Names of the models that can be fine-tuned, and the tasks they support.

Three kinds of name: an entry of Detectron2's model zoo (`COCO-Detection/...` and
`COCO-InstanceSegmentation/...`), `efficientnet_lite0_fpn` whose ImageNet weights are installed with
the package, and `timm/<backbone>` for any convolutional backbone that timm knows. Nothing here
imports torch until a timm name is looked up.
"""

from __future__ import annotations

from typing import Literal

from detfinetune.config.schema import Task
from detfinetune.errors import ModelError, did_you_mean

ModelKind = Literal["zoo", "timm"]

PACKAGED_MODEL = "efficientnet_lite0_fpn"
TIMM_PREFIX = "timm/"
ZOO_URL = "https://dl.fbaipublicfiles.com/detectron2/"

# Copied from Detectron2, where this table is private and importing it needs torch; a test compares
# the two. Name -> weights file below ZOO_URL/<name>/.
ZOO_WEIGHTS: dict[str, str] = {
    "COCO-Detection/faster_rcnn_R_50_C4_1x": "137257644/model_final_721ade.pkl",
    "COCO-Detection/faster_rcnn_R_50_DC5_1x": "137847829/model_final_51d356.pkl",
    "COCO-Detection/faster_rcnn_R_50_FPN_1x": "137257794/model_final_b275ba.pkl",
    "COCO-Detection/faster_rcnn_R_50_C4_3x": "137849393/model_final_f97cb7.pkl",
    "COCO-Detection/faster_rcnn_R_50_DC5_3x": "137849425/model_final_68d202.pkl",
    "COCO-Detection/faster_rcnn_R_50_FPN_3x": "137849458/model_final_280758.pkl",
    "COCO-Detection/faster_rcnn_R_101_C4_3x": "138204752/model_final_298dad.pkl",
    "COCO-Detection/faster_rcnn_R_101_DC5_3x": "138204841/model_final_3e0943.pkl",
    "COCO-Detection/faster_rcnn_R_101_FPN_3x": "137851257/model_final_f6e8b1.pkl",
    "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x": "139173657/model_final_68b088.pkl",
    "COCO-Detection/retinanet_R_50_FPN_1x": "190397773/model_final_bfca0b.pkl",
    "COCO-Detection/retinanet_R_50_FPN_3x": "190397829/model_final_5bd44e.pkl",
    "COCO-Detection/retinanet_R_101_FPN_3x": "190397697/model_final_971ab9.pkl",
    "COCO-Detection/rpn_R_50_C4_1x": "137258005/model_final_450694.pkl",
    "COCO-Detection/rpn_R_50_FPN_1x": "137258492/model_final_02ce48.pkl",
    "COCO-Detection/fast_rcnn_R_50_FPN_1x": "137635226/model_final_e5f7ce.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x": "137259246/model_final_9243eb.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_1x": "137260150/model_final_4f86c3.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x": "137260431/model_final_a54504.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x": "137849525/model_final_4ce675.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x": "137849551/model_final_84107b.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x": "137849600/model_final_f10217.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x": "138363239/model_final_a2914c.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_101_DC5_3x": "138363294/model_final_0464b7.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x": "138205316/model_final_a3ec72.pkl",
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x": "139653917/model_final_2d9806.pkl",
}

# In the zoo, but without a box classifier that could be fine-tuned on labelled boxes alone.
_NOT_DETECTORS = {
    "COCO-Detection/rpn_R_50_C4_1x": "only proposes regions and knows no classes",
    "COCO-Detection/rpn_R_50_FPN_1x": "only proposes regions and knows no classes",
    "COCO-Detection/fast_rcnn_R_50_FPN_1x": "needs regions proposed beforehand by another model",
}


def detector_names() -> tuple[str, ...]:
    """Return the names of all models that can be trained, except `timm/...`."""
    zoo = (name for name in ZOO_WEIGHTS if name not in _NOT_DETECTORS)
    return (PACKAGED_MODEL, *zoo)


def zoo_weights_url(name: str) -> str:
    """Return the URL of a zoo entry's weights, trained on COCO."""
    return f"{ZOO_URL}{name}/{ZOO_WEIGHTS[name]}"


def model_kind(name: str) -> ModelKind:
    """Return whether `name` is a model of Detectron2's zoo or has a timm backbone."""
    return "timm" if name == PACKAGED_MODEL or name.startswith(TIMM_PREFIX) else "zoo"


def timm_backbone(name: str) -> str:
    """Return timm's name of the backbone of a model of kind `timm`."""
    return "efficientnet_lite0" if name == PACKAGED_MODEL else name.removeprefix(TIMM_PREFIX)


def check_model_name(name: str, task: Task) -> None:
    """Check that a model of this name exists and supports `task`.

    Raises:
        ModelError: the name is unknown (the text has the nearest one and the choices), the entry is
            not a detector, or it has no masks although `task` is segm.
    """
    if model_kind(name) == "timm":
        _check_timm_name(name)
        return
    if name in _NOT_DETECTORS:
        raise ModelError(
            f"model.name={name}: this zoo entry {_NOT_DETECTORS[name]}, so it cannot be fine-tuned "
            "on labelled boxes. Use COCO-Detection/faster_rcnn_R_50_FPN_3x instead."
        )
    if name not in ZOO_WEIGHTS:
        raise ModelError(_unknown_name(name))
    if task == "segm" and name.startswith("COCO-Detection/"):
        raise ModelError(
            f"model.name={name} predicts only boxes, but task=segm needs masks. "
            f"Use model.name={mask_sibling(name)}, or task=bbox."
        )


def mask_sibling(name: str) -> str:
    """Return the zoo's Mask R-CNN that is most similar to a box-only entry."""
    stem = name.removeprefix("COCO-Detection/").replace("faster_rcnn", "mask_rcnn")
    sibling = f"COCO-InstanceSegmentation/{stem}"
    return sibling if sibling in ZOO_WEIGHTS else "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


def _unknown_name(name: str) -> str:
    if name.endswith(".py") or "fcos" in name or "regnet" in name:
        return (
            f"model.name={name}: models that Detectron2 describes in a Python file (lazy configs) "
            f"cannot be used. {_choices()}"
        )
    bare = name.removesuffix(".yaml")
    exact = [known for known in ZOO_WEIGHTS if bare in (known, known.partition("/")[2])]
    hint = f" Did you mean '{exact[0]}'?" if exact else did_you_mean(name, detector_names())
    return f"model.name={name} is not a known model.{hint} {_choices()}"


def _choices() -> str:
    listed = "".join(f"\n  {known}" for known in detector_names())
    return f"Choose one of these, or timm/<backbone>:{listed}"


def _check_timm_name(name: str) -> None:
    import timm  # takes seconds, and needs torch

    if name == PACKAGED_MODEL:
        return
    backbone = timm_backbone(name)
    if not timm.is_model(backbone):
        hint = did_you_mean(backbone, timm.list_models()).replace("'", f"'{TIMM_PREFIX}", 1)
        raise ModelError(
            f"model.name={name}: timm {timm.__version__} has no backbone '{backbone}'.{hint} "
            "timm.list_models() lists all."
        )

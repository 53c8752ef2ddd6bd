"""Names of the models that can be fine-tuned, and the tasks they support.

Three kinds of name: an entry of Detectron2's model zoo (`COCO-Detection/...`, `Misc/...` and so
on), `efficientnet_lite0_fpn` whose ImageNet weights are installed with the package, and
`timm/<backbone>` for any convolutional backbone that timm knows. Nothing here imports torch until a
timm name is looked up.
"""

from __future__ import annotations

from typing import Literal

from detfinetune.config.schema import Task
from detfinetune.errors import ModelError, did_you_mean
from detfinetune.families import suggested_names

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
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x": "137261548/model_final_04e291.pkl",
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x": "137849621/model_final_a6e10b.pkl",
    "COCO-Keypoints/keypoint_rcnn_R_101_FPN_3x": "138363331/model_final_997cc7.pkl",
    "COCO-Keypoints/keypoint_rcnn_X_101_32x8d_FPN_3x": "139686956/model_final_5ad38f.pkl",
    "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x": "139514544/model_final_dbfeb4.pkl",
    "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x": "139514569/model_final_c10459.pkl",
    "COCO-PanopticSegmentation/panoptic_fpn_R_101_3x": "139514519/model_final_cafdb1.pkl",
    "LVISv0.5-InstanceSegmentation/mask_rcnn_R_50_FPN_1x": "144219072/model_final_571f7c.pkl",
    "LVISv0.5-InstanceSegmentation/mask_rcnn_R_101_FPN_1x": "144219035/model_final_824ab5.pkl",
    "LVISv0.5-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_1x": "144219108/model_final_5e3439.pkl",  # noqa: E501
    "Cityscapes/mask_rcnn_R_50_FPN": "142423278/model_final_af9cf5.pkl",
    "PascalVOC-Detection/faster_rcnn_R_50_C4": "142202221/model_final_b1acc2.pkl",
    "Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5": "138602867/model_final_65c703.pkl",
    "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5": "144998336/model_final_821d0b.pkl",
    "Misc/cascade_mask_rcnn_R_50_FPN_1x": "138602847/model_final_e9d89b.pkl",
    "Misc/cascade_mask_rcnn_R_50_FPN_3x": "144998488/model_final_480dd8.pkl",
    "Misc/mask_rcnn_R_50_FPN_3x_syncbn": "169527823/model_final_3b3c51.pkl",
    "Misc/mask_rcnn_R_50_FPN_3x_gn": "138602888/model_final_dc5d9e.pkl",
    "Misc/scratch_mask_rcnn_R_50_FPN_3x_gn": "138602908/model_final_01ca85.pkl",
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_gn": "183808979/model_final_da7b4c.pkl",
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn": "184226666/model_final_5ce33e.pkl",
    "Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x": "139797668/model_final_be35db.pkl",
    "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": "18131413/model_0039999_e76410.pkl",
    "Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x": "137781054/model_final_7ab50c.pkl",
    "Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x": "137781281/model_final_62ca52.pkl",
    "Detectron1-Comparisons/keypoint_rcnn_R_50_FPN_1x": "137781195/model_final_cce136.pkl",
}

# Part of a zoo entry's name -> why it cannot be fine-tuned here.
_REFUSED = {
    "/rpn_": "only proposes regions and knows no classes",
    "/fast_rcnn_": "needs regions proposed beforehand by another model",
    "/keypoint_": "finds keypoints, but labels here are boxes and masks",
    "/panoptic_": "segments whole scenes, but labels here are boxes and masks",
    "dconv": "has deformable convolutions, which need Detectron2's compiled operators",
    "syncbn": "normalizes over the images of several GPUs (SyncBN)",
}


def detector_names() -> tuple[str, ...]:
    """Return the names of all models that can be trained, except `timm/...`."""
    return (PACKAGED_MODEL, *(name for name in ZOO_WEIGHTS if _why_refused(name) is None))


def is_own_name(name: str) -> bool:
    """Return whether a name is `auto`, a zoo entry, or a timm backbone."""
    return name in ("auto", PACKAGED_MODEL, *ZOO_WEIGHTS) or name.startswith(TIMM_PREFIX)


def _why_refused(name: str) -> str | None:
    return next((reason for part, reason in _REFUSED.items() if part in name), None)


def zoo_weights_url(name: str) -> str:
    """Return the URL of a zoo entry's weights."""
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
    if name not in ZOO_WEIGHTS:
        raise ModelError(_unknown_name(name))
    if reason := _why_refused(name):
        stem = f"{'mask' if task == 'segm' else 'faster'}_rcnn_R_50_FPN_3x"
        group = "COCO-InstanceSegmentation" if task == "segm" else "COCO-Detection"
        raise ModelError(
            f"model.name={name}: this zoo entry {reason}, so it cannot be fine-tuned here. "
            f"Use {group}/{stem} instead."
        )
    if task == "segm" and "mask_rcnn" not in name:
        raise ModelError(
            f"model.name={name} predicts only boxes, but task=segm needs masks. "
            f"Use model.name={mask_sibling(name)}, or task=bbox."
        )


def mask_sibling(name: str) -> str:
    """Return the zoo's Mask R-CNN that is most similar to a box-only entry."""
    stem = name.partition("/")[2].replace("faster_rcnn", "mask_rcnn")
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
    names = [*detector_names(), *suggested_names()]
    hint = f" Did you mean '{exact[0]}'?" if exact else did_you_mean(name, names)
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

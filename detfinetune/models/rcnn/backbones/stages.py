"""The stages of backbones: which parameters come before which feature map."""

from __future__ import annotations

import re

from torch import nn

from detfinetune.models.rcnn.backbones.timm_fpn import TimmBody, frozen_parameters

_LAST_STAGE = 5
_RESNET_STAGE = re.compile(r"^backbone\.(?:bottom_up\.)?(?:stem|res(\d))\.")


def stage_depths(model: nn.Module) -> dict[str, int]:
    """Return for the parameters of the backbone, by name, the stages from there to the heads.

    1 is the stage of stride 32, 2 that of stride 16, and so on; 5 is the stem.
    """
    stages: dict[str, int] = {}
    for name, _ in model.named_parameters():
        if found := _RESNET_STAGE.match(name):
            stages[name] = int(found[1] or 1)
    bodies = (module for module in model.modules() if isinstance(module, TimmBody))
    if (timm_body := next(bodies, None)) is not None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        # From the last stage to the first, whose parameters all later ones need too.
        for stage in range(_LAST_STAGE, 0, -1):
            for parameter in frozen_parameters(timm_body.body, stage):
                stages[names[id(parameter)]] = stage
    return {name: _LAST_STAGE + 1 - stage for name, stage in stages.items()}

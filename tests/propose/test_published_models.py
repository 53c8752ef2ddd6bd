"""The published zero-shot models, on a picture whose objects are known."""

from __future__ import annotations

import io
import urllib.request

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as mask_api

from detfinetune.propose.prompts import Prompts
from detfinetune.propose.sources import load_zero_shot

pytestmark = pytest.mark.network

# Two cats beside two remote controls, by the documentation of OWLv2 in transformers.
PICTURE = "http://images.cocodataset.org/val2017/000000039769.jpg"
CATS = [(342, 23, 642 - 342, 371 - 23), (7, 52, 327 - 7, 473 - 52)]


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    with urllib.request.urlopen(PICTURE, timeout=30) as response:
        return np.asarray(Image.open(io.BytesIO(response.read())).convert("RGB"))


@pytest.mark.parametrize(
    "name", ["grounding_dino_tiny", "mm_grounding_dino_tiny", "owlv2_base", "florence2"]
)
def test_both_cats_are_found(name: str, picture: NDArray[np.uint8]) -> None:
    prompts = Prompts(("remote", "cat"), ("remote control", "cat", "kitten"), (0, 1, 1))
    model = load_zero_shot(name, "cpu")
    found, narrow, again = model.propose([picture, picture[:, :500], picture], prompts)
    cats = found[(found.class_ids == 1) & (found.scores >= model.usual_threshold)]
    ious = mask_api.iou(np.array(CATS, dtype=float), cats.xywh.astype(float), [0] * len(cats))
    assert (ious.max(axis=1) > 0.8).all()
    (alone,) = model.propose([picture[:, :500]], prompts)
    for one, other in ((found, again), (narrow, alone)):
        assert one.class_ids.tolist() == other.class_ids.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4 * 640)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)

"""A tiny Florence-2 that has learned one picture by heart: an answer to each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tiny_florence import write_tiny_florence

from detfinetune.models.florence2.tasks import TASKS
from detfinetune.models.florence2.weights import ARCHITECTURE
from detfinetune.models.pretrained import read_network, read_processor

SIZE = (200, 100)
WORDS = "the disc"
ANSWERS = {
    "caption": "Grüner Kreis",
    "detailed_caption": "A disc and a box.",
    "more_detailed_caption": "A disc, a box. A sign.",
    "dense_region_caption": "green disc<loc_50><loc_100><loc_250><loc_500>",
    "region_proposal": "<loc_50><loc_100><loc_250><loc_500><loc_500><loc_200><loc_900><loc_600>",
    "od": "disc<loc_50><loc_100><loc_250><loc_500>box<loc_500><loc_200><loc_900><loc_600>",
    "referring_segmentation": "<loc_50><loc_300><loc_150><loc_100><loc_250><loc_300><loc_150>"
    "<loc_500>",
    "phrase_grounding": "the disc<loc_50><loc_100><loc_250><loc_500>",
    "ocr": "STOP",
    "ocr_with_region": "STOP<loc_550><loc_700><loc_850><loc_750><loc_850><loc_950><loc_550>"
    "<loc_900>",
}


def draw_picture() -> Image.Image:
    """Return the picture: a green disc, a red box, and a word."""
    image = Image.new("RGB", SIZE, (40, 40, 60))
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 10, 50, 50), fill=(60, 220, 60))
    pen.rectangle((100, 20, 180, 60), fill=(220, 60, 60))
    pen.text((122, 76), "STOP", fill="white")
    return image


def write_taught_florence(folder: Path, names: Sequence[str] = tuple(ANSWERS)) -> Path:
    """Train the language model on the picture with the question and answer of each task."""
    write_tiny_florence(folder)
    network, processor = read_network(folder, ARCHITECTURE), read_processor(folder)
    pixels = processor.image_processor(images=[draw_picture()], return_tensors="pt").pixel_values
    with torch.no_grad():
        features = network.get_image_features(pixel_values=pixels).pooler_output
    pairs = [_pair(processor.tokenizer, name) for name in names]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    torch.manual_seed(0)
    network.train()
    for _ in range(300):
        # Longer questions are no batch with shorter ones.
        losses = [_loss(network, features, *pair) for pair in pairs]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        if max(losses) < 0.02:
            break
    assert max(losses) < 0.02
    network.save_pretrained(folder)
    return folder


def _pair(tokenizer: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    question = TASKS[name].question.format(text=WORDS)
    return torch.tensor(tokenizer(question).input_ids), torch.tensor(
        tokenizer(ANSWERS[name]).input_ids
    )


def _loss(
    network: Any, features: torch.Tensor, question: torch.Tensor, answer: torch.Tensor
) -> torch.Tensor:
    words = network.get_input_embeddings()(question)[None]
    inputs = torch.cat([features, words], dim=1)
    loss: torch.Tensor = network(inputs_embeds=inputs, labels=answer[None]).loss
    return loss

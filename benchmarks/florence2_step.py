"""Florence-2: seconds and peak GPU memory of a fine-tuning step with random weights.

    python benchmarks/florence2_step.py [--sizes base large] [--images 8] [--repeats 5]

LoRA of rank 32 in bf16 autocast on images of 768 px with answers of 100 tokens, with and without
gradient checkpointing. Needs a CUDA device; on a CPU only `--sizes tiny` is run, without memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration

from detfinetune.console import table
from detfinetune.models.florence2.build import add_adapters, checkpoint_activations
from detfinetune.models.florence2.model import encoder_inputs
from detfinetune.models.florence2.settings import Florence2Settings

# Width, layers and heads of the language model; widths of the vision tower; side of images.
SIZES = {
    "base": (768, 6, 12, (128, 256, 512, 1024), 768),
    "large": (1024, 12, 16, (256, 512, 1024, 2048), 768),
    "tiny": (64, 2, 2, (32, 32, 64, 64), 64),
}
VOCABULARY = 51289
ANSWER_TOKENS = 100
PROMPT_TOKENS = 12


def build(size: str, checkpointing: bool, device: str) -> Any:
    """Return a network with random weights and adapters, as `detfinetune train` builds it."""
    width, layers, heads, stages, _ = SIZES[size]
    text = {
        "model_type": "bart", "vocab_size": VOCABULARY, "d_model": width,
        "encoder_layers": layers, "decoder_layers": layers, "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "max_position_embeddings": 1024,
    }  # fmt: skip
    groups = [max(stage // 32, 1) for stage in stages]
    vision = {
        "embed_dim": stages, "num_heads": groups, "num_groups": groups, "projection_dim": width,
    }  # fmt: skip
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=VOCABULARY - 1)
    torch.manual_seed(0)
    with torch.device(device):
        network = Florence2ForConditionalGeneration(config)
    alpha = 64.0 if width < 1024 else 32.0
    add_adapters(network, Florence2Settings(lora_alpha=alpha))
    if checkpointing:
        checkpoint_activations(network)
    return network.to(device).train()


def measure(size: str, checkpointing: bool, images: int, repeats: int) -> list[object]:
    """Return a row: median seconds of a step after two that are not counted, and peak GiB."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, side = build(size, checkpointing, device), SIZES[size][-1]
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    pixels = torch.randn(images, 3, side, side, device=device)
    prompt = torch.randint(4, VOCABULARY - 1, (PROMPT_TOKENS,), device=device)
    labels = torch.randint(4, VOCABULARY - 1, (images, ANSWER_TOKENS), device=device)
    times = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            inputs = encoder_inputs(network, pixels, prompt)
            loss = network(inputs_embeds=inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())  # waits for the GPU
        times.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    # The next row starts anew.
    del network, optimizer, trained, inputs, loss
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return [size, "yes" if checkpointing else "no", statistics.median(times[2:]), memory]


def main() -> int:
    """Print the table; return 1 where it cannot be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "large"])
    parser.add_argument("--images", type=int, default=8, help="images of a step (default: 8)")
    parser.add_argument("--repeats", type=int, default=5, help="steps measured (default: 5)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and set(arguments.sizes) != {"tiny"}:
        print("This needs a CUDA device; --sizes tiny runs anywhere.", file=sys.stderr)
        return 1
    rows = [
        measure(size, checkpointing, arguments.images, arguments.repeats)
        for size in arguments.sizes
        for checkpointing in (False, True)
    ]
    print(table(rows, ("size", "checkpointing", "s a step", "peak GiB"), digits=3))
    return 0


if __name__ == "__main__":
    sys.exit(main())

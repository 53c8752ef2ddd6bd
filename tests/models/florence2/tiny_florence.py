"""A Florence-2 of 1.5 M parameters with random weights, in a folder that transformers loads."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    PreTrainedTokenizerFast,
)

SIDE = 96
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_WIDTH = 128
_POSITIONS = 512


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, with the locations and special tokens of Florence-2."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL[:4], *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    added = [*_SPECIAL, "<od>", "</od>", *(f"<loc_{bin_}>" for bin_ in range(1000)), "<image>"]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in added])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        sep_token="</s>", pad_token="<pad>", cls_token="<s>", mask_token="<mask>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip


def write_tiny_florence(folder: Path, seed: int = 0) -> Path:
    """Write model, processor and tokenizer."""
    tokenizer = tiny_tokenizer()
    text = {
        "model_type": "bart", "vocab_size": len(tokenizer), "d_model": _WIDTH,
        "max_position_embeddings": _POSITIONS, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_ffn_dim": 2 * _WIDTH, "decoder_ffn_dim": 2 * _WIDTH,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        # With the usual 0.02 it takes long until it looks at the image.
        "init_std": 0.1, "dropout": 0.0, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2,
    }  # fmt: skip
    vision = {
        "depths": (1, 1), "patch_size": (7, 3), "patch_stride": (4, 2), "patch_padding": (3, 1),
        "patch_prenorm": (False, True), "embed_dim": (64, 128), "num_heads": (2, 4),
        "num_groups": (2, 4), "window_size": 4, "drop_path_rate": 0.0, "projection_dim": _WIDTH,
    }  # fmt: skip
    torch.manual_seed(seed)
    network = Florence2ForConditionalGeneration(
        Florence2Config(
            text_config=text, vision_config=vision, image_token_id=tokenizer.image_token_id
        )
    )
    # As published: without our own settings, it would garble repeated classes.
    network.generation_config.no_repeat_ngram_size = 3
    network.generation_config.num_beams = 3
    network.save_pretrained(folder)
    tiny_processor(tokenizer).save_pretrained(folder)
    return folder


def tiny_processor(tokenizer: PreTrainedTokenizerFast) -> Florence2Processor:
    """Return the processor of the model."""
    images = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_seq_length=145
    )
    return Florence2Processor(image_processor=images, tokenizer=tokenizer)

"""Zero-shot detectors with random weights, in folders that transformers loads as a user's."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

# What Grounding DINO takes for the ends of phrases, whatever the tokenizer.
_BERT = {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?", 0: "[PAD]"}
_WIDTH = 32
KINDS = ("grounding_dino", "mm_grounding_dino", "owlv2")


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of ASCII letters with the special tokens where BERT has them."""
    letters = string.ascii_lowercase + string.digits + "-,'/ß"
    vocabulary = {token: number for number, token in _BERT.items()}
    vocabulary |= {letter: 200 + number for number, letter in enumerate(letters)}
    vocabulary |= {f"##{letter}": 300 + number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        pad_token="[PAD]", mask_token="[MASK]", model_max_length=512,
    )  # fmt: skip


def write_tiny_grounding_dino(folder: Path, *, mm: bool = False, max_text_len: int = 256) -> Path:
    """Write a Grounding DINO, or an MM-Grounding-DINO."""
    settings = {
        "backbone_config": SwinConfig(
            embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            image_size=64, out_indices=[2, 3, 4],
        ),
        "text_config": BertConfig(
            vocab_size=1100, hidden_size=_WIDTH, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=_WIDTH,
        ),
        "num_queries": 20, "d_model": _WIDTH, "encoder_layers": 1, "decoder_layers": 2,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": _WIDTH,
        "decoder_ffn_dim": _WIDTH, "max_text_len": max_text_len, "init_std": 0.5,
    }  # fmt: skip
    torch.manual_seed(2)  # With others, all boxes are of one class, or none is in the image.
    if mm:
        network = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**settings))
        for head in network.class_embed:
            # Otherwise all scores are near 0.01.
            torch.nn.init.zeros_(head.bias)
    else:
        network = GroundingDinoForObjectDetection(GroundingDinoConfig(**settings))
    for head in network.bbox_embed:
        # Otherwise all boxes are equally large.
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    network.save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192})
    processor = GroundingDinoProcessor(image_processor=images, tokenizer=bert_tokenizer())
    processor.save_pretrained(folder)
    return folder


def write_tiny_owlv2(folder: Path) -> Path:
    """Write an OWLv2 of 16 patches."""
    shared = {
        "hidden_size": _WIDTH, "intermediate_size": _WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "initializer_range": 0.5,
    }  # fmt: skip
    torch.manual_seed(0)
    network = Owlv2ForObjectDetection(
        Owlv2Config(
            text_config={**shared, "vocab_size": 1100, "max_position_embeddings": 32,
                         "bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0},
            vision_config={**shared, "image_size": 64, "patch_size": 16},
            projection_dim=_WIDTH,
        )
    )  # fmt: skip
    for layer in (network.box_head.dense2, network.class_head.logit_shift):
        torch.nn.init.normal_(layer.weight, std=0.3)
    network.save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(image_processor=images, tokenizer=bert_tokenizer()).save_pretrained(folder)
    return folder

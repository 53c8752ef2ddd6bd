"""The detector: losses, adapters, checkpoints and predictions of a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bright_shapes import CLASSES, SIDE
from PIL import Image
from quick_runs import resolved
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoProcessor, Florence2Config, Florence2ForConditionalGeneration

from detfinetune.data.sample import Sample
from detfinetune.engine.ema import AveragedWeights
from detfinetune.errors import CheckpointError
from detfinetune.models.detection_model import PredictOptions
from detfinetune.models.florence2.build import add_adapters, build_model
from detfinetune.models.florence2.model import Florence2Model
from detfinetune.models.florence2.pack import Florence2Batch, build_packer
from detfinetune.models.florence2.settings import Florence2Settings


def build(base: Path, *overrides: str, seed: int = 0) -> Florence2Model:
    torch.manual_seed(seed)
    return build_model(resolved(base, *overrides), CLASSES, None)


def batch(base: Path, images: int = 3, seed: int = 0) -> Florence2Batch:
    """Return a batch of noise, whose first image has no objects."""
    generator = np.random.default_rng(seed)
    samples = []
    for count in range(images):
        corners = generator.uniform(0, 30, (count, 2))
        samples.append(
            Sample(
                generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
                np.concatenate([corners, corners + 20], axis=1),
                generator.integers(0, 2, count), None, 2 * SIDE, SIDE,
            )
        )  # fmt: skip
    return build_packer(resolved(base), CLASSES)(samples)


def test_a_batch_has_pixels_answers_and_sizes(random_base: Path) -> None:
    packed = batch(random_base)
    assert packed.pixels.shape == (3, 3, SIDE, SIDE)
    assert packed.pixels.dtype == torch.uint8
    assert packed.sizes == ((SIDE, 2 * SIDE),) * 3
    assert packed.labels[0].tolist() == [0, 2, *[-100] * (packed.labels.shape[1] - 2)]
    answer = packed.labels[1][packed.labels[1] >= 0]
    text = AutoProcessor.from_pretrained(random_base).tokenizer.decode(answer)
    assert text.startswith("<s>")
    assert text.count("<loc_") == 4


def test_the_loss_is_the_cross_entropy_of_the_answer(random_base: Path) -> None:
    model, packed = build(random_base, "model.lora_dropout=0").eval(), batch(random_base)
    with torch.no_grad():
        logits = model.network(
            inputs_embeds=model._inputs(packed.pixels),
            # What the decoder sees is the answer, one token later.
            decoder_input_ids=torch.cat(
                [torch.full((3, 1), 2), packed.labels[:, :-1].where(packed.labels[:, :-1] >= 0, 1)],
                dim=1,
            ),
        ).logits
        loss = model(packed)["loss_tokens"]
    each = [
        float(cross_entropy(row[labels >= 0], labels[labels >= 0]))
        for row, labels in zip(logits, packed.labels, strict=True)
    ]
    assert float(loss) == pytest.approx(sum(each) / 3)
    kept = packed.labels >= 0
    with torch.no_grad():
        in_training = model.train()(packed)["loss_tokens"]
    assert float(in_training) == pytest.approx(
        float(cross_entropy(logits[kept], packed.labels[kept])), rel=1e-3
    )
    assert float(in_training) != pytest.approx(float(loss), rel=1e-5)


def test_inputs_are_those_of_the_library(random_base: Path) -> None:
    model, packed = build(random_base).eval(), batch(random_base)
    processor = AutoProcessor.from_pretrained(random_base)
    processor.image_processor.size = {"height": SIDE, "width": SIDE}
    processor.num_image_tokens = (SIDE // 8) ** 2 + 1
    images = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in packed.pixels]
    inputs = processor(text=["<OD>"] * 3, images=images, return_tensors="pt")
    with torch.no_grad():
        theirs = model.network(**inputs, labels=packed.labels).logits
        ours = model.network(
            inputs_embeds=model._inputs(packed.pixels), labels=packed.labels
        ).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_all_linear_layers_but_the_head_get_adapters(random_base: Path) -> None:
    model = build(random_base)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert all(".lora_" in name for name in trained)
    linear = {
        name.removesuffix(".base_layer")
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name
    }
    adapted = {name.split(".lora_")[0] for name in trained}
    assert linear - adapted == {"network.lm_head"}
    assert adapted - linear == set()
    assert "trained: " in model.notes[2]


def test_a_frozen_vision_tower_gets_none(random_base: Path) -> None:
    for rank in (0, 4):
        model = build(random_base, "model.freeze_vision=true", f"model.lora_rank={rank}")
        trained = [name for name, value in model.named_parameters() if value.requires_grad]
        assert trained
        assert not any("vision_tower" in name for name in trained)
        assert any("language_model" in name for name in trained)


@pytest.mark.parametrize(
    ("width", "layers", "heads", "share"), [(768, 6, 12, 0.0520), (1024, 12, 16, 0.0369)]
)
def test_the_trained_share_of_the_published_models(
    width: int, layers: int, heads: int, share: float
) -> None:
    large = width == 1024
    text = {
        "model_type": "bart", "vocab_size": 51289, "d_model": width, "encoder_layers": layers,
        "decoder_layers": layers, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
        "encoder_attention_heads": heads, "decoder_attention_heads": heads,
        "max_position_embeddings": 4096 if large else 1024,
    }  # fmt: skip
    sides = [256, 512, 1024, 2048] if large else [128, 256, 512, 1024]
    groups = [side // 32 for side in sides]
    vision = {
        "embed_dim": sides, "num_heads": groups, "num_groups": groups, "projection_dim": width,
    }  # fmt: skip
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=51288)
    with torch.device("meta"):
        network = Florence2ForConditionalGeneration(config)
        add_adapters(network, Florence2Settings(lora_alpha=32))
    sizes = [(value.numel(), value.requires_grad) for value in network.parameters()]
    trained = sum(size for size, trains in sizes if trains)
    assert trained / sum(size for size, _ in sizes) == pytest.approx(share, abs=1e-4)


def test_checkpointed_activations_give_the_same_gradients(random_base: Path) -> None:
    packed, gradients = batch(random_base), {}
    for checkpointing in ("true", "false"):
        model = build(
            random_base, f"model.gradient_checkpointing={checkpointing}", "model.lora_dropout=0.2"
        ).train()
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        block = model.network.model.vision_tower.blocks[0][0].spatial_block
        block.register_forward_hook(count)
        torch.manual_seed(1)
        model(packed)["loss_tokens"].backward()
        assert calls == (2 if checkpointing == "true" else 1)
        gradients[checkpointing] = [
            value.grad for value in model.parameters() if value.requires_grad
        ]
    for again, kept in zip(gradients["true"], gradients["false"], strict=True):
        torch.testing.assert_close(again, kept)


def test_a_checkpoint_holds_adapters_and_the_hash_of_the_base(random_base: Path) -> None:
    first, second = build(random_base, seed=0), build(random_base, seed=1)
    state = first.checkpoint_state()
    names = set(state) - {"base_sha256"}
    assert all(".lora_" in name for name in names)
    assert state["base_sha256"].dtype == torch.uint8
    with torch.no_grad():
        for name in names:
            state[name].normal_()
    second.load_checkpoint_state(state)
    packed = batch(random_base)
    with torch.no_grad():
        assert first.eval()(packed) == second.eval()(packed)


def test_all_trained_weights_are_kept_without_adapters(random_base: Path) -> None:
    model = build(random_base, "model.lora_rank=0")
    tensors = set(load_file(random_base / "model.safetensors"))
    kept = {name.removeprefix("network.") for name in model.checkpoint_state()}
    # A buffer is no parameter; the head shares the embeddings.
    assert kept - tensors == {"base_sha256"}
    assert all("pos_idx_to_embed" in name or "shared" in name or "lm_head" in name
               or "embed_tokens" in name for name in tensors - kept)  # fmt: skip


def test_another_base_is_refused(random_base: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in random_base.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    tensors = load_file(changed / "model.safetensors")
    next(iter(tensors.values())).add_(1e-3)
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    state = build(random_base).checkpoint_state()
    with pytest.raises(CheckpointError, match="base weights of this checkpoint have changed"):
        build(changed).load_checkpoint_state(state)


def test_other_adapters_are_refused_by_name_and_shape(random_base: Path) -> None:
    state = build(random_base, "model.lora_rank=4").checkpoint_state()
    with pytest.raises(RuntimeError, match=r"has the shape \[4, 128\], not \[32, 128\]"):
        build(random_base).load_checkpoint_state(state)
    with pytest.raises(RuntimeError, match="is missing or unknown"):
        build(random_base, "model.lora_rank=4", "model.freeze_vision=true").load_checkpoint_state(
            state
        )


def test_averaged_adapters(random_base: Path) -> None:
    model = build(random_base)
    average = AveragedWeights(model, decay=0.5)
    before = {name: value.clone() for name, value in model.checkpoint_state().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    average.update(1)
    name = next(name for name in before if "lora_B" in name)
    with average.applied():
        inside = model.checkpoint_state()[name].clone()
    assert torch.equal(model.checkpoint_state()[name], before[name] + 1)
    assert 0 < float(inside.mean()) < 1


def never_end(model: Florence2Model) -> None:
    end = torch.tensor([model.vocabulary.end])
    model.network.lm_head.register_forward_hook(
        lambda _, __, logits: logits.index_fill(-1, end, -1e4)
    )


def test_an_untrained_model_predicts_valid_boxes(random_base: Path) -> None:
    model, packed = build(random_base).eval(), batch(random_base)
    never_end(model)
    with torch.no_grad():
        found = model.predict(packed, PredictOptions(detections_per_image=5))
        alone = model.predict(
            Florence2Batch(packed.pixels[1:2], packed.labels[1:2], packed.sizes[1:2]),
            PredictOptions(detections_per_image=5),
        )[0]
    assert len(found) == 3
    assert sum(map(len, found)) > 0
    for prediction in found:
        assert len(prediction) <= 5
        assert (prediction.width, prediction.height) == (SIDE, 2 * SIDE)
        assert (np.diff(prediction.scores) <= 0).all()
        assert (prediction.boxes[:, 2:] > prediction.boxes[:, :2]).all()
        assert (prediction.boxes <= [SIDE, 2 * SIDE, SIDE, 2 * SIDE]).all()
    # An image is predicted alike in any batch.
    assert alone.class_ids.tolist() == found[1].class_ids.tolist()
    np.testing.assert_allclose(alone.boxes, found[1].boxes, atol=1e-4)


def test_answers_that_the_limit_cuts_off_are_counted(
    random_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, packed = build(random_base).eval(), batch(random_base)
    never_end(model)
    with torch.no_grad():
        model.predict(packed, PredictOptions(detections_per_image=1))
        model.predict(packed, PredictOptions(detections_per_image=1))
    assert model.cut_off == 6
    assert capsys.readouterr().err.count("cut off within a box") == 1

"""Where transformers come from, and what is said when they do not come."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from tiny_transformers import built, resolved, save_tiny_dit

from detfinetune.errors import CheckpointError, DetFinetuneError, ModelError, WeightsError
from detfinetune.families import family_of
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.vit.backbones import timm_vit
from detfinetune.models.vit.backbones.timm_vit import count_blocks
from detfinetune.models.vit.sources import VitWeights


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def failure(*words: str) -> str:
    with pytest.raises(DetFinetuneError) as raised:
        built(resolved(*words))
    return str(raised.value)


def test_weights_are_loaded_and_named(dit_folder: Path) -> None:
    config = resolved("model.name=dit_diffusion", f"model.weights={dit_folder}")
    model = built(config)
    from safetensors.torch import load_file

    file = dit_folder / "transformer" / "diffusion_pytorch_model.safetensors"
    stored = load_file(file)
    own = model.backbone.transformer.state_dict()
    assert torch.equal(
        own["transformer_blocks.0.attn1.to_q.weight"],
        stored["transformer_blocks.0.attn1.to_q.weight"],
    )
    base = family_of("dit_diffusion").base_weights(config)
    assert base.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(dit_folder) in base.description
    assert config.model.pretrained == str(dit_folder)  # type: ignore[attr-defined]


def test_random_weights_keep_the_vae_of_the_folder(dit_folder: Path) -> None:
    words = ["model.name=dit_diffusion", f"model.pretrained={dit_folder}"]
    loaded = built(resolved(*words, f"model.weights={dit_folder}")).backbone
    random = built(resolved(*words, "model.weights=random")).backbone
    name = "transformer_blocks.0.attn1.to_q.weight"
    assert not torch.equal(
        loaded.transformer.state_dict()[name], random.transformer.state_dict()[name]
    )
    assert random.vae_sha256 == loaded.vae_sha256
    assert all(
        torch.equal(one, other)
        for one, other in zip(loaded.vae.parameters(), random.vae.parameters(), strict=True)
    )


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "repository"),
    [("dit_diffusion", "facebook/DiT-XL-2-256"), ("dit_document", "microsoft/dit-base")],
)
def test_without_the_hub_the_ways_out_are_listed(name: str, repository: str) -> None:
    said = failure(f"model.name={name}")
    assert f"{repository} is not in the cache of the Hugging Face hub" in said
    assert "model.weights=FOLDER" in said


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("vae/config.json", "vae/config.json is missing"),
        ("transformer/config.json", "transformer/config.json is missing"),
        ("transformer/diffusion_pytorch_model.safetensors", "there is no file of weights"),
    ],
)
def test_a_folder_that_lacks_a_part(
    dit_folder: Path, tmp_path: Path, removed: str, said: str
) -> None:
    copy = shutil.copytree(dit_folder, tmp_path / "copy")
    (copy / removed).unlink()
    assert said in failure("model.name=dit_diffusion", f"model.weights={copy}")


def test_weights_of_another_configuration(dit_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dit_folder, tmp_path / "copy")
    file = copy / "transformer" / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "num_layers": 5}), encoding="utf-8")
    said = failure("model.name=dit_diffusion", f"model.weights={copy}")
    assert "the file of weights lacks" in said


def test_a_name_that_is_nothing() -> None:
    said = failure("model.name=dit_document", "model.weights=no such folder")
    assert "is not a folder, a checkpoint or a name on the Hugging Face hub" in said


def test_the_licence_is_told_on_use(dit_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dit_folder, tmp_path / "DiT-XL-2-512")
    notes = "\n".join(built(resolved("model.name=dit_diffusion", f"model.weights={copy}")).notes)
    assert "licence: CC-BY-NC-4.0" in notes
    free = built(resolved("model.name=dit_diffusion", f"model.weights={dit_folder}")).notes
    assert "licence" not in "\n".join(free)


def test_timm_tells_its_own_licences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_vit, "load_pretrained", lambda name: None)
    family = family_of("vit/vit_base_patch16_224.mae")
    weights = family.base_weights(resolved("model.name=vit/vit_base_patch16_224.mae"))
    assert isinstance(weights, VitWeights)
    assert weights.licence == "cc-by-nc-4.0"
    free = family.base_weights(resolved("model.name=vit/vit_small_patch14_dinov2"))
    assert free.licence is None


@pytest.mark.usefixtures("offline")
def test_without_the_hub_timm_has_no_weights() -> None:
    said = failure("model.name=vit/vit_small_patch14_dinov2")
    assert "timm cannot load them into vit_small_patch14_dinov2" in said
    assert "model.weights=FILE" in said


def test_a_file_of_timm_is_loaded(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(3)
    whole = timm.create_model("test_vit")
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    model = built(resolved("model.name=vit/test_vit", f"model.weights={tmp_path / 'weights.pth'}"))
    assert torch.equal(model.backbone.model.blocks[5].attn.qkv.weight,
                       whole.blocks[5].attn.qkv.weight)  # fmt: skip


def test_a_checkpoint_keeps_its_timestep(dit_folder: Path, tmp_path: Path) -> None:
    words = ["model.name=dit_diffusion", "model.tap_block=2"]
    config = resolved(*words, f"model.weights={dit_folder}", "model.timestep=250")
    state = built(config).checkpoint_state()
    file = tmp_path / "best.pth"
    write_checkpoint(file, Checkpoint(state, ("disc", "square"), config, 1))
    again = resolved(*words, f"model.weights={file}")
    assert again.model.timestep == 250  # type: ignore[attr-defined]
    built(again)
    said = failure(*words, f"model.weights={file}", "model.timestep=100")
    assert "model.timestep=100: the checkpoint" in said
    assert "was trained with 250" in said


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"network.lora_A.weight": torch.zeros(4, 4)}, tmp_path / "other.pth")
    config = resolved("model.name=vit/test_vit", f"model.weights={tmp_path / 'other.pth'}")
    with pytest.raises(WeightsError, match=r"other.pth has 0 of the \d+ weights of test_vit"):
        built(config)


def test_a_checkpoint_has_no_vae_but_knows_it(dit_folder: Path, tmp_path: Path) -> None:
    words = ["model.name=dit_diffusion", "model.tap_block=2"]
    folder = shutil.copytree(dit_folder, tmp_path / "dit")
    config = resolved(*words, f"model.weights={folder}")
    model = built(config)
    state = model.checkpoint_state()
    assert not any("vae." in name or "encoder" in name for name in state)
    again = built(config, weights=False)
    again.load_checkpoint_state(state)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.eval().backbone(images)["last_feat"],
                       again.eval().backbone(images)["last_feat"])  # fmt: skip

    save_tiny_dit(folder, seed=1)
    changed = built(config, weights=False)
    with pytest.raises(CheckpointError, match=r"VAE in the folder model\.pretrained is not"):
        changed.load_checkpoint_state(state)
    shutil.rmtree(folder)
    with pytest.raises(WeightsError, match=r"vae/config\.json is missing"):
        built(config, weights=False)


@pytest.mark.parametrize(
    "name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_tiny_r_s16_p8_224", "cait_xxs24_224",
             "beit_base_patch16_224", "naflexvit_base_patch16_gap"],
)  # fmt: skip
def test_other_models_of_timm_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="is not a plain vision transformer"):
        count_blocks(name)


def test_a_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(ModelError, match="Did you mean 'vit/vit_small_patch14_dinov2'"):
        count_blocks("vit_small_patch14_dino2")


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("vit_small_patch14_dinov2", 12), ("vit_small_patch16_dinov3", 12),
     ("vit_base_patch16_224.mae", 12), ("deit3_small_patch16_224", 12),
     ("eva02_tiny_patch14_224", 12), ("samvit_base_patch16", 12)],
)  # fmt: skip
def test_plain_vision_transformers_are_taken(name: str, blocks: int) -> None:
    assert count_blocks(name) == blocks

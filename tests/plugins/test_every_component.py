"""Every denoiser and segmenter that comes along keeps its protocol's promises and takes no weights but its own."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from smoothseg import SmoothsegError, WeightsError, weights
from smoothseg.components.plugins import plugins
from smoothseg.testing import check_denoiser, check_segmenter, recipe

CLASSES = ("sky", "road", "car", "tree")
TINY_ADM = {"native": 16, "widths": (8, 16), "blocks": 1, "attention": (1,), "head_width": 8, "groups": 4}


@dataclasses.dataclass(frozen=True)
class Made:
    """A component's spec, and its weight file if it has one."""

    spec: str
    file: Path | None = None


def own(kind, name, options=""):
    """Return a function that writes the weights of a randomly filled network of `name` as training would."""

    def make(folder):
        made = recipe(kind, f"{name}:{options.format(folder=folder)}")
        torch.manual_seed(5)
        network = made.network(CLASSES if kind == "segmenter" else None)
        state = {
            key: tensor + 0.02 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
            for key, tensor in network.state_dict().items()
        }
        for key in state:
            if key.endswith("running_var"):
                state[key] = state[key].abs()
        path = folder / f"{name}.safetensors"
        classes = CLASSES if kind == "segmenter" else None
        weights.save(path, state, network=name, config=network.config, classes=classes, half=False)
        return Made(f"{name}:weights={path}", path)

    return make


def tiny_adm(folder):
    (folder / "tiny.json").write_text(json.dumps(TINY_ADM))
    return own("denoiser", "adm", "architecture={folder}/tiny.json")(folder)


def torchvision(folder):
    from torchvision.models import get_model

    torch.manual_seed(5)
    model = get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=4)
    torch.save(model.state_dict(), folder / "lraspp.pth")
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    options = f"weights={folder}/lraspp.pth,classes={folder}/classes.txt,model=lraspp_mobilenet_v3_large"
    return Made(f"torchvision:{options}", folder / "lraspp.pth")


def transformers(folder):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(5)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=dict(enumerate(CLASSES)),
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder / "segformer")
    preprocessor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "segformer" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return Made(f"transformers:model={folder}/segformer", folder / "segformer" / "model.safetensors")


MMSEG_CONFIG = """
norm = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[124, 116, 104], std=[58, 57, 57], bgr_to_rgb=True, size=(32, 32)
    ),
    backbone=dict(type="ResNetV1c", depth=18, base_channels=4, norm_cfg=norm),
    decode_head=dict(
        type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=4, norm_cfg=norm
    ),
    test_cfg=dict(mode="whole"),
)
test_dataloader = dict(
    dataset=dict(type="BaseSegDataset", metainfo=dict(classes=("sky", "road", "car", "tree")))
)
"""


def mmseg(folder):
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    from smoothseg_mmseg import library

    (folder / "config.py").write_text(MMSEG_CONFIG)
    library.ready()
    torch.manual_seed(5)
    with library.quiet(), DefaultScope.overwrite_default_scope("mmseg"):
        network = MODELS.build(Config.fromfile(folder / "config.py").model)
    torch.save({"state_dict": network.state_dict()}, folder / "mmseg.pth")
    return Made(f"mmseg:config={folder}/config.py,weights={folder}/mmseg.pth", folder / "mmseg.pth")


MAKERS: dict[tuple[str, str], Callable[[Path], Made]] = {
    ("denoiser", "adm"): tiny_adm,
    ("denoiser", "dncnn"): own("denoiser", "dncnn", "depth=4,width=8"),
    ("denoiser", "ffdnet"): own("denoiser", "ffdnet", "depth=4,width=8"),
    ("denoiser", "identity"): lambda folder: Made("identity"),
    ("segmenter", "hrnet"): own("segmenter", "hrnet", "width=w18-small"),
    ("segmenter", "mmseg"): mmseg,
    ("segmenter", "torchvision"): torchvision,
    ("segmenter", "transformers"): transformers,
    ("segmenter", "vit-adapter"): own("segmenter", "vit-adapter", "architecture=small"),
}
EXTRAS = {"transformers": "transformers", "mmseg": "mmseg"}
WITH_WEIGHTS = [key for key in MAKERS if key != ("denoiser", "identity")]


def by_component(keys):
    return pytest.mark.parametrize(
        ("kind", "name"),
        [
            pytest.param(
                *key,
                marks=pytest.mark.skipif(
                    key[1] in EXTRAS and importlib.util.find_spec(EXTRAS[key[1]]) is None,
                    reason=f"extra '{key[1]}' is not installed",
                ),
            )
            for key in sorted(keys)
        ],
        ids=[name for _, name in sorted(keys)],
    )


def load(kind, spec, device="cpu"):
    return recipe(kind, spec).load(device)


def rewritten(path, change):
    """Write a weight file anew with `change` made to its tensors; what is stored beside them stays."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        save_file(change(state), path, metadata=metadata)
    else:
        content = torch.load(path, weights_only=True)
        torch.save(change(content.get("state_dict", content)), path)


def test_every_component_that_comes_along_is_tested_here():
    ours = {plugin.owner for plugin in plugins().plugins if plugin.distribution == "smoothseg"}
    registered = {
        (kind, entry.name)
        for kind in ("denoiser", "segmenter")
        for entry in plugins()[kind]
        if entry.owner in ours
    }
    assert registered == set(MAKERS)


@by_component(MAKERS)
def test_a_component_keeps_its_promises(kind, name, tmp_path):
    made = MAKERS[kind, name](tmp_path)
    component = load(kind, made.spec)
    if kind == "denoiser":
        check_denoiser(component)
    else:
        check_segmenter(component)
        assert component.classes == CLASSES
    if made.file is not None:
        assert component.digests[made.file.name] == weights.digest(made.file)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@by_component(MAKERS)
def test_a_component_keeps_its_promises_on_a_gpu(kind, name, tmp_path):
    made = MAKERS[kind, name](tmp_path)
    check = check_denoiser if kind == "denoiser" else check_segmenter
    check(load(kind, made.spec, "cuda"), device="cuda")


@by_component(MAKERS)
def test_a_component_takes_an_image_of_one_pixel(kind, name, tmp_path):
    component = load(kind, MAKERS[kind, name](tmp_path).spec)
    pixel = torch.full((2, 3, 1, 1), 0.5)
    result = component.denoise(pixel, 0.25, seeds=[1, 2]) if kind == "denoiser" else component.segment(pixel)
    assert torch.isfinite(result).all()
    assert torch.equal(result[0], result[1])


@by_component(WITH_WEIGHTS)
def test_a_wrong_key_is_refused_by_name(kind, name, tmp_path):
    made = MAKERS[kind, name](tmp_path)

    def rename(state):
        key = list(state)[len(state) // 2]
        return {("odd_name" if each == key else each): tensor for each, tensor in state.items()}

    rewritten(made.file, rename)
    with pytest.raises(WeightsError, match=r"1 missing.*1 unexpected .*odd_name"):
        load(kind, made.spec)


@by_component(WITH_WEIGHTS)
def test_a_wrong_shape_is_refused_by_name(kind, name, tmp_path):
    made = MAKERS[kind, name](tmp_path)
    changed = []

    def reshape(state):
        # transformers renames its older keys; the decoder's first batch norm is one that keeps its name
        matrices = [key for key, tensor in state.items() if tensor.ndim >= 2]
        key = "decode_head.batch_norm.weight" if name == "transformers" else matrices[-1]
        changed.append(key)
        return {**state, key: torch.cat([state[key], state[key][:1]])}

    rewritten(made.file, reshape)
    with pytest.raises(WeightsError) as error:
        load(kind, made.spec)
    assert changed[0] in str(error.value)
    assert "\n" not in str(error.value)


@by_component(WITH_WEIGHTS)
def test_a_damaged_file_is_an_error_of_one_line(kind, name, tmp_path):
    made = MAKERS[kind, name](tmp_path)
    made.file.write_bytes(made.file.read_bytes()[:-100])
    with pytest.raises(SmoothsegError) as error:
        load(kind, made.spec)
    assert made.file.name in str(error.value)
    assert "\n" not in str(error.value)

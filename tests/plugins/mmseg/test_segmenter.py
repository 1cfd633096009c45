"""mmsegmentation's networks as segmenters: small ones of its configs, with weights drawn here."""

from __future__ import annotations

import importlib.util
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file
from torch import nn
from torch.nn import functional

from smoothseg import ConfigError, UnknownNameError, WeightsError, weights
from smoothseg.data import class_names, palettes
from smoothseg.testing import check_segmenter
from smoothseg_hrnet import HRNetRecipe
from smoothseg_mmseg import MMSegRecipe, config, library
from smoothseg_mmseg.fit import Fit

ROOT = Path(__file__).resolve().parents[3]
PACKAGED = ROOT / "tests/golden/hrnet"
SHARED = ROOT.parent / "shared/golden/hrnet"
GOLDEN = {"tiny_b": PACKAGED, **{name: SHARED for name in ("tiny_a", "tiny_b") if SHARED.exists()}}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mmseg") is None, reason="the extra mmseg is not installed"
)


@pytest.fixture(autouse=True, scope="module")
def imported():
    """mmsegmentation as `load` imports it, before any test reads one of its registries."""
    library.ready()


SMALL_HRNET = (
    "dict(backbone=dict(extra=dict(stage1=dict(num_channels=(8,)), stage2=dict(num_channels=(4, 8)), "
    "stage3=dict(num_modules=1, num_channels=(4, 8, 16)), stage4=dict(num_modules=1, num_channels=(4, 8, 16, 32)))), "
    "decode_head=dict(in_channels=[4, 8, 16, 32], channels=60){more})"
)
HRNET = ("fcn_hr18s_4xb2-40k_cityscapes-512x1024", f"model = {SMALL_HRNET.format(more='')}")
SEGFORMER = (
    "segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "model = dict(backbone=dict(embed_dims=8), decode_head=dict(in_channels=[8, 16, 40, 64], channels=16))",
)
DEEPLAB = (
    "deeplabv3plus_r18-d8_4xb4-80k_loveda-512x512",
    "model = dict(backbone=dict(base_channels=8), decode_head=dict(in_channels=64, channels=8, c1_in_channels=8, "
    "c1_channels=4), auxiliary_head=dict(in_channels=32, channels=8))",
)
SLIDING = (
    HRNET[0],
    "model = "
    + SMALL_HRNET.format(more=", test_cfg=dict(mode='slide', crop_size=(40, 64), stride=(24, 40))"),
)
UNET = (
    "unet-s5-d16_fcn_4xb4-40k_drive-64x64",
    "model = dict(backbone=dict(base_channels=4), decode_head=dict(in_channels=4, channels=4, num_classes=2, "
    "out_channels=1, threshold=0.6, loss_decode=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True)), "
    "auxiliary_head=dict(in_channels=8, channels=4), test_cfg=dict(_delete_=True, mode='whole'))",
)
BEIT = (
    "beit-base_upernet_8xb2-160k_ade20k-640x640",
    "model = dict(backbone=dict(embed_dims=12, num_layers=4, num_heads=2, img_size=(64, 64), "
    "out_indices=(0, 1, 2, 3)), neck=dict(embed_dim=12), decode_head=dict(in_channels=[12] * 4, channels=8), "
    "auxiliary_head=dict(in_channels=12, channels=8), "
    "test_cfg=dict(crop_size=(64, 64), stride=(48, 48)))",
)
SEGNEXT = (
    "segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512",
    "model = dict(backbone=dict(embed_dims=[8, 8, 16, 16], depths=[1, 1, 1, 1]), decode_head=dict("
    "in_channels=[8, 16, 16], channels=16, ham_channels=16, ham_kwargs=dict(MD_R=4), norm_cfg=dict(num_groups=4)))",
)
PSANET = (
    "psanet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "model = dict(backbone=dict(depth=18, base_channels=8), decode_head=dict(in_channels=64, channels=8), "
    "auxiliary_head=dict(in_channels=32, channels=8))",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a config on a shipped one and a checkpoint of its network; returns both paths and the network, once."""
    library.ready()
    known = {}

    def made(case):
        if case not in known:
            folder = tmp_path_factory.mktemp("mmseg")
            path = written(folder / "config.py", *case)
            network = built(path)
            torch.save({"meta": {"epoch": 1}, "state_dict": network.state_dict()}, folder / "checkpoint.pth")
            known[case] = path, folder / "checkpoint.pth", network
        return known[case]

    return made


@pytest.fixture
def loaded(made):
    def loaded(case):
        path, checkpoint, _ = made(case)
        return MMSegRecipe(config=str(path), weights=str(checkpoint)).load("cpu")

    return loaded


def written(path, base, body=""):
    path.write_text(f"_base_ = {str(config.find(base))!r}\n{body}\n", encoding="utf-8")
    return path


def built(path):
    """The network of a config as mmsegmentation builds it, with batch norms that have seen something."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    torch.manual_seed(4)
    content = Config.fromfile(path).model
    content.pop("pretrained", None)
    content.backbone.pop("init_cfg", None)
    with library.quiet(), DefaultScope.overwrite_default_scope("mmseg"):
        network = MODELS.build(content)
    for name, parameter in network.named_parameters():
        if "position_bias" in name:
            nn.init.normal_(parameter)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def photo(height, width, batch=1, seed=0):
    """Images of whole levels, as mmsegmentation reads them: uint8 (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator).to(torch.uint8)


@torch.no_grad()
def mmsegs_scores(network, image):
    """What mmsegmentation's own test step scores an RGB image uint8 (3, H, W)."""
    from mmseg.structures import SegDataSample

    size = tuple(image.shape[-2:])
    sample = SegDataSample(metainfo={"ori_shape": size, "img_shape": size, "pad_shape": size})
    with library.quiet():
        result = network.test_step({"inputs": [image.flip(0)], "data_samples": [sample]})
    return result[0].seg_logits.data


@pytest.mark.parametrize("case", [HRNET, SEGFORMER, DEEPLAB, SLIDING], ids=lambda case: case[0])
@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_scores_are_those_of_mmsegmentations_own_test_step(case, size, made, loaded):
    images = photo(*size)
    expected = mmsegs_scores(made(case)[2], images[0])
    scores = loaded(case).segment(images.float() / 255)
    torch.testing.assert_close(scores[0], expected, atol=1e-4, rtol=1e-4)
    assert scores.std() > 0
    wrong = mmsegs_scores(made(case)[2], images[0].flip(0))
    assert not torch.allclose(scores[0], wrong, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", [HRNET, SEGNEXT, SLIDING], ids=lambda case: case[0])
def test_the_segmenter_keeps_its_protocols_promises(case, loaded):
    check_segmenter(loaded(case))


@pytest.mark.parametrize(
    ("case", "fit"),
    [
        (HRNET, Fit()),
        (SEGFORMER, Fit(least=(32, 32))),
        (DEEPLAB, Fit()),
        (UNET, Fit(multiple=32)),
        (BEIT, Fit(least=(64, 64))),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_any_height_and_width_are_scored_at_full_size(case, fit, loaded):
    segmenter = loaded(case)
    assert segmenter.fit == fit
    for size in ((1, 1), (1, 70), (33, 47)):
        scores = segmenter.segment(photo(*size).float() / 255)
        assert scores.shape == (1, len(segmenter.classes), *size)
        assert scores.dtype == torch.float32
        assert torch.isfinite(scores).all()


def test_what_lies_outside_0_1_is_not_clipped(loaded):
    images = photo(40, 50).float() / 255
    segmenter = loaded(HRNET)
    assert not torch.equal(segmenter.segment(images + 1), segmenter.segment((images + 1).clamp(0, 1)))


def test_a_network_that_draws_numbers_leaves_those_of_others_alone(loaded):
    segmenter = loaded(SEGNEXT)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = segmenter.segment(photo(40, 50).float())
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(segmenter.segment(photo(40, 50).float()), first)


def test_one_score_for_two_classes_becomes_two_with_the_configs_threshold(made, tmp_path):
    path, _, network = made(UNET)
    images = photo(32, 64, seed=3)
    # mmsegmentation makes a probability of the score; shift it until half of the pixels exceed the threshold of 0.6
    middle = mmsegs_scores(network, images[0]).logit().median()
    with torch.no_grad():
        network.decode_head.conv_seg.bias += torch.tensor(0.6).logit() - middle
    expected = mmsegs_scores(network, images[0]) > 0.6
    assert 0.4 < expected.float().mean() < 0.6
    save_file(network.state_dict(), tmp_path / "shifted.safetensors")
    segmenter = MMSegRecipe(config=str(path), weights=str(tmp_path / "shifted.safetensors")).load("cpu")
    assert segmenter.classes == ("background", "vessel")
    labels = segmenter.segment(images.float() / 255).argmax(dim=1)
    assert (labels == expected).float().mean() > 0.999


def test_a_network_larger_than_the_checkpoints_is_refused_by_its_keys(made):
    _, checkpoint, _ = made(HRNET)
    deeper = "fcn_hr18s_4xb2-40k_cityscapes-512x1024"
    with pytest.raises(
        WeightsError, match=r"checkpoint\.pth does not fit EncoderDecoder: \d+ missing \(back"
    ):
        MMSegRecipe(config=deeper, weights=str(checkpoint)).load("cpu")


def test_a_key_too_many_is_refused_by_name(made, tmp_path):
    path, _, network = made(HRNET)
    save_file({**network.state_dict(), "decode_head.extra": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"1 unexpected \(decode_head\.extra\)"):
        MMSegRecipe(config=str(path), weights=str(tmp_path / "x.safetensors")).load("cpu")


def test_a_training_runs_checkpoint_is_read_without_its_log(made, loaded, tmp_path):
    from mmengine.logging import MessageHub

    path, _, network = made(HRNET)
    hub = MessageHub("a-run")
    hub.update_scalar("train/loss", 0.5)
    hub.update_scalar("train/loss", torch.tensor(0.25))
    hub.update_info("iter", 2)
    saved = {"meta": {"iter": 2}, "message_hub": hub.state_dict(), "state_dict": network.state_dict()}
    torch.save(saved, tmp_path / "iter_2.pth")
    with pytest.raises(WeightsError, match="HistoryBuffer"):
        weights.load(str(tmp_path / "iter_2.pth"), package="smoothseg_mmseg")
    segmenter = MMSegRecipe(config=str(path), weights=str(tmp_path / "iter_2.pth")).load("cpu")
    images = photo(32, 32).float()
    assert torch.equal(segmenter.segment(images), loaded(HRNET).segment(images))


def test_a_compiled_operation_that_is_missing_is_named_when_the_network_is_loaded(loaded):
    with pytest.raises(ConfigError, match=r"compiled operation 'psamask_forward', which mmcv-lite lacks"):
        loaded(PSANET)


def test_missing_weights_are_asked_for_with_the_published_ones_address():
    with pytest.raises(
        ConfigError, match=r"needs weights=.*published https://.*-59b7973e\.pth#sha256=59b7973e$"
    ):
        MMSegRecipe(config="fcn_hr48_4xb2-160k_cityscapes-512x1024").load("cpu")


def test_a_name_that_is_not_shipped_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Did you mean .*'fcn_hr48_4xb2-160k_cityscapes-512x1024'"):
        MMSegRecipe(config="fcn_hr48_4xb2-160k_cityscapes").load("cpu")
    with pytest.raises(ConfigError, match=r"config absent/fcn\.py does not exist"):
        MMSegRecipe(config="absent/fcn.py").load("cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "cannot be read: ZeroDivisionError: division by zero"),
        ("_base_ = 'absent.py'", "cannot be read: FileNotFoundError"),
        ("a = 1", "has no 'model'"),
        (
            "custom_imports = dict(imports='no_such.models', allow_failed_imports=False)",
            "No module named 'no_such'",
        ),
        ("model = dict(type='EncoderDecoder', backbone=dict(type='mmdet.Net'))", "'mmdet.Net' needs mmdet"),
        ("model = dict(type='EncoderDecoder')", "cannot be built: TypeError.*missing"),
        ("model = dict(type='Unheard')", "cannot be built: KeyError.*Unheard"),
    ],
)
def test_a_config_that_is_none_says_why(text, message, made, tmp_path):
    (tmp_path / "bad.py").write_text(text + "\n")
    with pytest.raises(ConfigError, match=rf"bad\.py.*{message}"):
        MMSegRecipe(config=str(tmp_path / "bad.py"), weights=str(made(HRNET)[1])).load("cpu")


def test_nothing_pretrained_is_asked_for(made):
    read = config.read(config.find("segformer_mit-b5_8xb2-160k_ade20k-512x512"))
    assert "init_cfg" not in json.dumps(config._plain(read.model))
    assert "init_cfg" in config.find("segformer_mit-b5_8xb2-160k_ade20k-512x512").read_text()


def test_classes_and_colours_are_the_datasets(loaded):
    cityscapes = loaded(HRNET)
    assert cityscapes.classes == class_names.CITYSCAPES
    assert cityscapes.palette[0] == (128, 64, 128)
    assert len(loaded(SEGFORMER).classes) == len(loaded(SEGFORMER).palette) == 150


@pytest.mark.parametrize(
    ("dataset", "names", "colours"),
    [
        (
            "type='CityscapesDataset', metainfo=dict(classes=('car', 'road'))",
            ("car", "road"),
            ((0, 0, 142), (128, 64, 128)),
        ),
        (
            "type='BaseSegDataset', metainfo=dict(classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]])",
            ("a", "b"),
            ((1, 2, 3), (4, 5, 6)),
        ),
        (
            "type='BaseSegDataset', metainfo=dict(classes=['a ', 'b'])",
            ("a", "b"),
            palettes.palette(2),
        ),
        (
            "type='RepeatDataset', dataset=dict(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']))",
            ("a", "b"),
            palettes.palette(2),
        ),
        (
            "type='ConcatDataset', datasets=[dict(type='BaseSegDataset', metainfo=dict(classes=FILE))]",
            ("a", "b"),
            palettes.palette(2),
        ),
    ],
)
def test_metainfo_goes_before_the_dataset_type(dataset, names, colours, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    dataset = dataset.replace("FILE", repr(str(tmp_path / "names.txt")))
    (tmp_path / "c.py").write_text(
        f"model = dict(type='X')\ntest_dataloader = dict(dataset=dict({dataset}))\n"
    )
    assert config.classes(config.read(tmp_path / "c.py"), 2) == (names, colours)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("", "has no dataset in test_dataloader"),
        ("type='Unheard'", "dataset type 'Unheard' is not known"),
        ("type='BaseSegDataset'", "BaseSegDataset does not name its classes"),
        ("type='CityscapesDataset'", "scores 2 classes, but dataset CityscapesDataset names 19"),
    ],
)
def test_a_dataset_that_does_not_name_the_classes_is_refused(loader, message, tmp_path):
    (tmp_path / "c.py").write_text(
        f"model = dict(type='X')\ntest_dataloader = dict(dataset=dict({loader}))\n"
    )
    with pytest.raises(ConfigError, match=message):
        config.classes(config.read(tmp_path / "c.py"), 2)


def test_base_files_count_in_the_digest_and_comments_do_not(made, loaded, tmp_path):
    _, checkpoint, _ = made(HRNET)
    digests = loaded(HRNET).digests
    assert set(digests) == {"checkpoint.pth", "config.py (resolved)"}
    assert digests["checkpoint.pth"] == weights.digest(checkpoint)

    def resolved(body):
        written(tmp_path / "base.py", HRNET[0], HRNET[1] + body)
        (tmp_path / "config.py").write_text("_base_ = 'base.py'\n")
        return config.read(tmp_path / "config.py").digest(class_names.CITYSCAPES)

    assert resolved("  # nothing new\nlearning_rate = 1.0") == digests["config.py (resolved)"]
    assert resolved("\nmodel.update(test_cfg=dict(mode='whole', more=1))") != digests["config.py (resolved)"]


def test_base_files_may_be_named_by_their_package(made, loaded, tmp_path):
    (tmp_path / "c.py").write_text(f"_base_ = 'mmseg::hrnet/{HRNET[0]}.py'\n{HRNET[1]}\n")
    segmenter = MMSegRecipe(config=str(tmp_path / "c.py"), weights=str(made(HRNET)[1])).load("cpu")
    images = photo(32, 32).float()
    assert torch.equal(segmenter.segment(images), loaded(HRNET).segment(images))


def hrnet(name, folder, named):
    """A config of a golden HRNet, and its checkpoint, as mmsegmentation has them."""
    golden = json.loads((GOLDEN[name] / f"{name}.config.json").read_text())
    extra = {
        key.lower(): {own.lower(): value for own, value in stage.items() if own != "FUSE_METHOD"}
        for key, stage in golden.items()
        if key.startswith("STAGE")
    }
    channels = golden["STAGE4"]["NUM_CHANNELS"]
    norm = {"type": "SyncBN", "requires_grad": True}
    head = {"type": "FCNHead", "in_channels": channels, "in_index": [0, 1, 2, 3], "channels": sum(channels)}
    head |= {"input_transform": "resize_concat", "kernel_size": 1, "num_convs": 1, "concat_input": False}
    head |= {"dropout_ratio": -1, "num_classes": 5, "norm_cfg": norm, "align_corners": False}
    preprocessor = {"type": "SegDataPreProcessor", "bgr_to_rgb": True, "size": [64, 96]}
    preprocessor |= {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    model = {"type": "EncoderDecoder", "data_preprocessor": preprocessor, "test_cfg": {"mode": "whole"}}
    model |= {"backbone": {"type": "HRNet", "norm_cfg": norm, "extra": extra}, "decode_head": head}
    dataset = {"type": "BaseSegDataset", "metainfo": {"classes": named}}
    (folder / "golden.py").write_text(f"model = {model}\ntest_dataloader = dict(dataset={dataset})\n")
    packed = GOLDEN[name] / f"{name}.safetensors.xz"
    state = (
        load(lzma.decompress(packed.read_bytes()))
        if packed.exists()
        else load_file(GOLDEN[name] / f"{name}.safetensors")
    )
    # the head's first convolution has no bias there: the batch norm behind it takes it out of its mean
    state["last_layer.1.running_mean"] -= state.pop("last_layer.0.bias")
    names = {"last_layer.0.": "decode_head.convs.0.conv.", "last_layer.1.": "decode_head.convs.0.bn."}
    names |= {"last_layer.3.": "decode_head.conv_seg."}
    renamed = {
        next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), f"backbone.{key}"): t
        for key, t in state.items()
    }  # fmt: skip
    save_file(renamed, folder / "golden.safetensors")
    return folder / "golden.py", folder / "golden.safetensors"


@pytest.mark.golden
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_hrnet_scores_as_its_authors_code_and_as_the_plugin_of_its_own(name, tmp_path):
    names = ["a", "b", "c", "d", "e"]
    path, state = hrnet(name, tmp_path, names)
    with np.load(GOLDEN[name] / f"{name}.io.npz") as arrays:
        images = torch.from_numpy(arrays["a_image_uint8"]).float() / 255
        golden = torch.from_numpy(arrays["a_logits"])
    scores = MMSegRecipe(config=str(path), weights=str(state)).load("cpu").segment(images)
    full = {"size": images.shape[-2:], "mode": "bilinear", "align_corners": False}
    torch.testing.assert_close(scores, functional.interpolate(golden, **full), atol=1e-4, rtol=0)

    (tmp_path / "names.txt").write_text("\n".join(names))
    own = HRNetRecipe(
        weights=str(state),
        width=str(GOLDEN[name] / f"{name}.config.json"),
        classes=str(tmp_path / "names.txt"),
    ).load("cpu")
    torch.testing.assert_close(scores, functional.interpolate(own.segment(images), **full), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_whole_published_hrnet_w48_is_built_and_run(tmp_path):
    library.ready()
    name = "fcn_hr48_4xb2-160k_cityscapes-512x1024"
    network = built(config.find(name))
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_858_659
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w48.pth")
    segmenter = MMSegRecipe(config=name, weights=str(tmp_path / "w48.pth")).load("cpu")
    images = photo(64, 96)
    scores = segmenter.segment(images.float() / 255)
    assert scores.shape == (1, 19, 64, 96)
    torch.testing.assert_close(scores[0], mmsegs_scores(network, images[0]), atol=1e-4, rtol=1e-4)

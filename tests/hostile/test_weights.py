"""Weight files of strangers: nothing of them runs, and no claim of theirs is believed that the file cannot hold."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from smoothseg import weights
from smoothseg.components.plugins import plugins
from smoothseg_training.checkpoint import Checkpoint
from smoothseg_transformers import described, files

PACKAGE = "smoothseg_adm"


def load(path: Path):
    return weights.load(str(path), package=PACKAGE)


def safetensors(header: bytes | dict, content: bytes = b"") -> bytes:
    """Return a file of safetensors with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def small(path: Path, *, zipped: bool = True) -> bytes:
    """Return a torch file with a state dict."""
    state = {"a": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4, dtype=torch.int64)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


# What runs


class Runs:
    """Something that a pickle makes by calling `function`."""

    def __init__(self, function, *arguments):
        self.made = (function, arguments)

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("read", [load, Checkpoint.load], ids=["weights", "checkpoint"])
@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_of_a_pickle_runs(tmp_path, refused, read, zipped):
    target = tmp_path / "written"
    harm = Runs(open, str(target), "w")
    torch.save({"a": harm}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert refused(lambda: read(tmp_path / "w.pth"))
    (tmp_path / "p.pth").write_bytes(pickle.dumps({"a": harm}))
    assert refused(lambda: read(tmp_path / "p.pth"))
    assert not target.exists()


# Bombs and lies


def bomb(path: Path, entry: str) -> None:
    """Write a torch file again with `entry` as 64 MiB of zeros, compressed to 0.06."""
    with zipfile.ZipFile(io.BytesIO(small(path))) as before, zipfile.ZipFile(path, "w") as after:
        for each in before.infolist():
            if each.filename.endswith(entry):
                with after.open(zipfile.ZipInfo(each.filename), "w", force_zip64=True) as file:
                    file._compressor = zipfile._get_compressor(zipfile.ZIP_DEFLATED)
                    file._zinfo.compress_type = zipfile.ZIP_DEFLATED
                    for _ in range(64):
                        file.write(bytes(2**20))
            else:
                after.writestr(each, before.read(each))


@pytest.mark.parametrize("read", [load, Checkpoint.load], ids=["weights", "checkpoint"])
@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_a_torch_file_that_unpacks_to_more_than_it_is_is_refused(tmp_path, refused, read, entry):
    path = tmp_path / "w.pth"
    bomb(path, entry)
    assert path.stat().st_size < 2**18
    message = refused(lambda: read(path), seconds=5, mebibytes=40)
    assert message
    assert "w.pth" in message


def test_a_short_storage_that_is_stretched_to_a_long_tensor_is_refused(tmp_path, refused):
    for name, tensor in (
        ("stretched", torch.zeros(1).expand(2**40)),
        ("empty", torch.zeros(2, 2, device="meta")),
        (
            "sparse",
            torch.sparse_coo_tensor(
                torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (2**30, 2**30), check_invariants=True
            ),
        ),
    ):
        path = tmp_path / f"{name}.pth"
        torch.save({"a": tensor}, path)
        message = refused(lambda path=path: load(path), seconds=5, mebibytes=100)
        assert message
        assert path.name in message


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        {"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"__metadata__": {"smoothseg": 5}},
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{}" + b" " * 1000 + b"{",
    ],
    ids=range(11),
)
def test_safetensors_that_lie_are_refused(tmp_path, refused, header):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors(header, b"\0" * 4))
    assert refused(lambda: load(path), seconds=5, mebibytes=100)


@pytest.mark.parametrize("length", [0, 7, 2**31, 2**63, 2**64 - 1])
def test_a_header_longer_than_the_file_is_refused(tmp_path, refused, length):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    assert refused(lambda: load(path), seconds=5, mebibytes=100)


@pytest.mark.parametrize(
    "stored",
    [
        "[" * 100_000,
        '{"format": 1, "network": "dncnn", "config": {}, "card": {}, "classes": "ab"}',
        '{"format": 1, "network": "dncnn", "config": {}, "card": {}, "classes": [1]}',
        f'{{"format": {"9" * 5000}}}',
        '{"format": 1}',
        "null",
    ],
    ids=range(6),
)
def test_what_is_stored_beside_tensors_is_refused_if_it_is_something_else(tmp_path, refused, stored):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"smoothseg": stored})
    assert refused(lambda: load(path), seconds=5)


HUGE = 2**40
STAGE = {
    "NUM_MODULES": 1,
    "NUM_BRANCHES": 1,
    "BLOCK": "BASIC",
    "NUM_BLOCKS": [1],
    "NUM_CHANNELS": [8],
    "FUSE_METHOD": "SUM",
}
STAGES = {
    f"STAGE{i}": {**STAGE, "NUM_BRANCHES": i, "NUM_BLOCKS": [1] * i, "NUM_CHANNELS": [8] * i}
    for i in (1, 2, 3, 4)
}
ADM = {"native": 64, "widths": [32], "blocks": 1, "attention": [], "head_width": 32}
CONFIGS = {
    "dncnn-deep": ("denoiser", "dncnn", {"depth": HUGE, "width": 1, "form": "kair"}),
    "dncnn-wide": ("denoiser", "dncnn", {"depth": 3, "width": HUGE, "form": "kair"}),
    "dncnn-gigabytes": ("denoiser", "dncnn", {"depth": 30, "width": 4000, "form": "salman"}),
    "ffdnet-deep": ("denoiser", "ffdnet", {"depth": HUGE, "width": 1}),
    "adm-wide": ("denoiser", "adm", {**ADM, "widths": [2**30]}),
    "adm-gigabytes": ("denoiser", "adm", {**ADM, "widths": [8192]}),
    "adm-deep": ("denoiser", "adm", {**ADM, "blocks": HUGE}),
    "adm-patch": ("denoiser", "adm", {**ADM, "patch": HUGE, "native": HUGE}),
    "hrnet-deep": (
        "segmenter",
        "hrnet",
        {**STAGES, "num_classes": 2, "STAGE1": {**STAGE, "NUM_BLOCKS": [HUGE]}},
    ),
    "hrnet-modules": (
        "segmenter",
        "hrnet",
        {**STAGES, "num_classes": 2, "STAGE4": {**STAGES["STAGE4"], "NUM_MODULES": HUGE}},
    ),
    "hrnet-wide": (
        "segmenter",
        "hrnet",
        {**STAGES, "num_classes": 2, "STAGE4": {**STAGES["STAGE4"], "NUM_CHANNELS": [8, 8, 8, HUGE]}},
    ),
    "hrnet-classes": ("segmenter", "hrnet", {**STAGES, "num_classes": HUGE}),
    "none": ("segmenter", "hrnet", {}),
    "vit-adapter-none": ("segmenter", "vit-adapter", {}),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_file_that_states_a_network_larger_than_its_tensors_is_refused(tmp_path, refused, case):
    kind, name, config = CONFIGS[case]
    path = tmp_path / "w.safetensors"
    weights.save(path, {"a": torch.ones(2)}, network=name, config=config, classes=("a", "b"))
    recipe = plugins()[kind].recipe({"name": name, "weights": str(path)})
    message = refused(lambda: recipe.load(torch.device("cpu")), seconds=15, mebibytes=300)
    assert message
    assert "w.safetensors" in message


def vit_adapter():
    from smoothseg_vit_adapter.architecture import PRESETS

    return PRESETS["small"].config()


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        *(("backbone", "width", HUGE), ("backbone", "stem", HUGE), ("backbone", "blocks", [HUGE, 2, 2, 2])),
        *(("backbone", "native", [2**20, 2**20]), ("backbone", "points", HUGE), ("head", "width", 2**30)),
        *(("backbone", "heads", HUGE), ("pipeline", "crop", HUGE)),
    ],
)
def test_a_vit_adapter_larger_than_its_tensors_is_refused(tmp_path, refused, part, key, value):
    config = vit_adapter()
    config[part][key] = value
    path = tmp_path / "w.safetensors"
    weights.save(path, {"a": torch.ones(2)}, network="vit-adapter", config=config, classes=("a",) * 11)
    recipe = plugins()["segmenter"].recipe({"name": "vit-adapter", "weights": str(path)})
    message = refused(lambda: recipe.load(torch.device("cpu")), seconds=15, mebibytes=300)
    assert message


@pytest.mark.parametrize(
    "key", ["model.999999999.weight", "model.9" * 3 + ".weight", f"model.{'9' * 6000}.weight"]
)
@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
def test_a_key_that_claims_a_billion_layers_is_refused(tmp_path, refused, key, name):
    path = tmp_path / "w.pth"
    torch.save({"model.0.weight": torch.ones(4, 3, 3, 3), key: torch.ones(1)}, path)
    recipe = plugins()["denoiser"].recipe({"name": name, "weights": str(path)})
    assert refused(lambda: recipe.load(torch.device("cpu")), seconds=15)


@pytest.mark.parametrize("model", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_a_tensor_without_numbers_that_claims_many_classes_is_refused(tmp_path, refused, model):
    path = tmp_path / "w.pth"
    state = {key: torch.zeros(HUGE, 0) for key in ("classifier.4.weight", "classifier.low_classifier.weight")}
    torch.save({**state, "last_layer.3.weight": torch.zeros(HUGE, 0)}, path)
    for spec in ({"name": "torchvision", "model": model}, {"name": "hrnet", "width": "w18-small"}):
        try:
            recipe = plugins()["segmenter"].recipe({**spec, "weights": str(path)})
        except Exception as error:  # a model that this version of torchvision does not have
            pytest.skip(str(error))
        assert refused(lambda recipe=recipe: recipe.load(torch.device("cpu")), seconds=15)


# Folders of transformers


@pytest.mark.parametrize(
    "content",
    [
        {"model_type": "segformer", "hidden_sizes": [HUGE] * 4},
        {"model_type": "segformer", "depths": [HUGE] * 4},
        {"model_type": "segformer", "num_labels": HUGE},
        {"model_type": "segformer", "id2label": {"0": "a" * 100, "x": 1}},
        {"model_type": "segformer", "auto_map": {"AutoModel": "evil.Evil"}, "depths": "x"},
        {"model_type": ["segformer"]},
        {"model_type": "upernet", "backbone_config": {"model_type": "resnet", "depths": [HUGE]}},
        {"model_type": "upernet", "backbone_config": {"model_type": "swin", "embed_dim": HUGE}},
    ],
    ids=range(8),
)
def test_a_folder_of_transformers_with_any_config_is_refused(tmp_path, refused, content):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}')
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    recipe = plugins()["segmenter"].recipe({"name": "transformers", "model": str(tmp_path)})
    assert refused(lambda: recipe.load(torch.device("cpu")), seconds=15)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "..", ""])
def test_an_index_names_no_file_elsewhere(tmp_path, refused, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert refused(
        lambda: (
            [path for path in files.weight_files(tmp_path) if path.parent != tmp_path]
            or files.weight_files(tmp_path)
        )
    )


@given(
    content=st.dictionaries(
        st.sampled_from(["do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.lists(st.floats() | st.integers(), max_size=4),
    )
)
def test_any_preprocessor_is_read_or_refused(tmp_path, refused, content, tried):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(content))
    refused(lambda: described.normalisation(path))
    tried()


# Fuzzing


def changed(content: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """Return `content` with some bytes changed and the end cut off."""
    made = bytearray(content)
    for place, value in changes:
        made[place % len(made)] = value
    return bytes(made[: len(made) - cut % (2 * len(made)) if cut % 2 else len(made)])


CHANGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6)


@given(changes=CHANGES, cut=st.integers(0, 5000), zipped=st.booleans())
def test_any_changed_torch_file_is_read_or_refused(tmp_path, refused, changes, cut, zipped, tried):
    path = tmp_path / "w.pth"
    path.write_bytes(changed(small(path, zipped=zipped), changes, cut))
    refused(lambda: load(path), seconds=10)
    tried()


@given(content=st.binary(max_size=60))
def test_any_pickle_is_read_or_refused(tmp_path, refused, content, tried):
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02" + content + b".")
    refused(lambda: load(path), seconds=10)
    tried()


OPCODES = st.lists(
    st.sampled_from(
        [
            *(
                b"}",
                b"]",
                b")",
                b"(",
                b"t",
                b"l",
                b"d",
                b"u",
                b"e",
                b"s",
                b"a",
                b"R",
                b"b",
                b"0",
                b"2",
                b"N",
                b"\x88",
                b"\x85",
            ),
            *(
                b"K\x05",
                b"M\xff\xff",
                b"J\xff\xff\xff\x7f",
                b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
                b"q\x00",
                b"h\x00",
            ),
            *(
                b"X\x01\x00\x00\x00a",
                b"ccollections\nOrderedDict\n",
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"Q",
            ),
            *(
                b"ctorch\nFloatStorage\n",
                b"c__builtin__\nset\n",
                b"cbuiltins\nbytearray\n",
                b"c_codecs\nencode\n",
            ),
            *(
                b"cnumpy\ndtype\n",
                b"cnumpy.core.multiarray\nscalar\n",
                b"X\x07\x00\x00\x00storage",
                b"X\x03\x00\x00\x00cpu",
            ),
            b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(program=OPCODES, zipped=st.booleans())
def test_any_program_of_a_pickle_is_run_or_refused(tmp_path, refused, program, zipped, tried):
    path = tmp_path / "w.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", b"\x80\x02" + program + b".")
            archive.writestr("w/data/a", b"\0" * 16)
            archive.writestr("w/version", b"3\n")
    else:
        path.write_bytes(b"\x80\x02" + program + b".")
    refused(lambda: load(path), seconds=10)
    tried()


@given(changes=CHANGES, cut=st.integers(0, 3000))
def test_any_changed_safetensors_are_read_or_refused(tmp_path, refused, changes, cut, tried):
    path = tmp_path / "w.safetensors"
    weights.save(path, {"a": torch.ones(2, 3)}, network="dncnn", config={"depth": 3}, classes=("a", "b"))
    path.write_bytes(changed(path.read_bytes(), changes, cut))
    refused(lambda: load(path), seconds=10)
    tried()


@given(
    header=st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__", "\0", "\ud7ff"]),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": st.sampled_from(
                    ["F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "F4", "C64", "U64", "X"]
                ),
                "shape": st.lists(st.sampled_from([0, 1, 2, 2**31, 2**63, 2**64, -1]), max_size=4),
                "data_offsets": st.lists(st.sampled_from([0, 2, 4, 8, 16, 2**40, -1]), max_size=3),
            },
        )
        | st.text(max_size=3),
        max_size=3,
    ),
    content=st.sampled_from([0, 4, 8, 16]).map(bytes),
)
def test_any_header_of_safetensors_is_read_or_refused(tmp_path, refused, header, content, tried):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors(header, content))
    refused(lambda: load(path), seconds=10)
    tried()


@given(
    config=st.dictionaries(
        st.sampled_from(
            [
                "depth",
                "width",
                "form",
                "native",
                "widths",
                "blocks",
                "attention",
                "head_width",
                "groups",
                "patch",
                "embedding",
            ]
        ),
        st.integers(-2, 40)
        | st.just(HUGE)
        | st.lists(st.integers(-1, 64), max_size=3)
        | st.sampled_from(["kair", "salman", "residual", ""])
        | st.floats(),
        max_size=6,
    ),
    name=st.sampled_from(["dncnn", "ffdnet", "adm"]),
)
def test_any_config_of_a_denoiser_is_built_or_refused(tmp_path, refused, config, name, tried):
    path = tmp_path / "w.safetensors"
    path.unlink(missing_ok=True)
    weights.save(
        path, {"a": torch.ones(2)}, network=name, config=config if name != "adm" else {**ADM, **config}
    )
    recipe = plugins()["denoiser"].recipe({"name": name, "weights": str(path)})
    refused(lambda: recipe.load(torch.device("cpu")), seconds=20)
    tried()

"""What a GPU must not change: noise and votes at all, packaged networks by more than rounding, a run by anything."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from smoothseg import networks
from smoothseg.components.plugins import plugins
from smoothseg.machine import devices
from smoothseg.runs.executing import execute
from smoothseg.runs.listener import Listener
from smoothseg.runs.plan import Plan
from smoothseg.runs.preparing import prepare
from smoothseg.smoothing import lattice, philox
from smoothseg.smoothing.base_model import BaseModel
from smoothseg.smoothing.geometry import Geometry, labels
from smoothseg.smoothing.noise import NoisyImage
from smoothseg.smoothing.sampling import Draw
from smoothseg.smoothing.votes import Votes
from smoothseg.testing import check_denoiser, check_segmenter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

DEVICE = "cuda"
SIGMA = 0.25
PACKAGED = [
    ("denoiser", "adm:weights=streets"),
    ("segmenter", "hrnet:weights=streets"),
    ("segmenter", "hrnet:weights=streets-noise"),
    ("segmenter", "vit-adapter:weights=streets"),
]
OPTIONS = [
    ("denoiser", "adm:weights=streets,rows=4"),
    ("denoiser", "adm:weights=streets,steps=multi,respacing=2"),
    ("denoiser", "adm:weights=streets,fit=tile,tile=64,overlap=16"),
    ("denoiser", "adm:weights=streets,precision=bfloat16"),
    ("denoiser", "adm:weights=streets,precision=bfloat16,rows=4"),
    ("segmenter", "hrnet:weights=streets,precision=bfloat16"),
    ("segmenter", "vit-adapter:weights=streets,precision=bfloat16"),
    ("segmenter", "vit-adapter:weights=streets,mode=slide,crop=96,stride=64"),
]


@pytest.fixture
def gpu():
    """The device, set as in a run: without TF32 and autotuning."""
    return devices.device(DEVICE)


@pytest.fixture(scope="module")
def scene():
    return plugins()["dataset"].recipe("streets:count=1,height=192,width=256").load()[0]


def load(kind, spec, device):
    return plugins()[kind].recipe(spec).load(device)


def seen(kind, scene):
    """Return two images as a network of `kind` sees them at half the size, on the CPU, and the sigma it is told."""
    shape, size = Geometry(0.5), scene.image.shape[:2]
    sigma = SIGMA if kind == "denoiser" else 0.02
    noisy = NoisyImage(scene.image, scene.key, sigma=sigma, seed=0).samples([0, 1])
    return networks.resize(noisy, shape.size(*size)), shape.sigma_told(sigma, *size)


def results(kind, spec, scene, device):
    """Return what the component `spec` makes of two images on `device`, brought to the CPU."""
    images, told = seen(kind, scene)
    component = load(kind, spec, device)
    images = images.to(device)
    made = component.denoise(images, told, seeds=[1, 2]) if kind == "denoiser" else component.segment(images)
    assert made.device.type == torch.device(device).type
    return made.cpu()


def apart(first, second, size):
    """Return the share of the pixels at `size` whose labels differ between two tensors of scores."""
    return float((labels(first, size) != labels(second, size)).float().mean())


@pytest.mark.parametrize(("kind", "spec"), PACKAGED, ids=[spec for _, spec in PACKAGED])
def test_packaged_weights_give_the_result_of_the_cpu(gpu, scene, kind, spec):
    ours, theirs = (results(kind, spec, scene, device) for device in (gpu, "cpu"))
    scale = 1.0 if kind == "denoiser" else float(theirs.abs().max())
    # rounding to TF32, which a run switches off, would be beyond this
    assert float((ours - theirs).abs().max()) <= 1e-4 * scale
    if kind == "segmenter":
        assert apart(ours, theirs, scene.image.shape[:2]) <= 1e-3


@pytest.mark.parametrize(("kind", "spec"), PACKAGED, ids=[spec for _, spec in PACKAGED])
def test_half_the_bits_give_nearly_the_same_result(gpu, scene, kind, spec):
    ours, theirs = (
        results(kind, f"{spec},precision={precision}", scene, gpu) for precision in ("bfloat16", "float32")
    )
    assert not torch.equal(ours, theirs)
    if kind == "denoiser":
        assert float((ours - theirs).abs().mean()) <= 2e-3
    else:
        assert apart(ours, theirs, scene.image.shape[:2]) <= 0.01


@pytest.mark.parametrize(
    ("kind", "spec"), [*PACKAGED, *OPTIONS], ids=[spec for _, spec in [*PACKAGED, *OPTIONS]]
)
def test_packaged_weights_keep_the_promises_of_a_component(gpu, kind, spec):
    check = check_denoiser if kind == "denoiser" else check_segmenter
    check(load(kind, spec, gpu), device=gpu)


def test_draws_are_the_same_numbers(gpu):
    seeds = networks.seeds(7, "key", range(3), purpose="noise")
    there = networks.standard_normal(seeds, (3, 33, 47), device=gpu)
    assert there.device.type == gpu.type
    assert torch.equal(there.cpu(), networks.standard_normal(seeds, (3, 33, 47)))


@pytest.mark.parametrize("kind", ["lattice", "gaussian"])
@pytest.mark.parametrize("sigma", [0.25, 0.1, 1.0])
def test_lattice_copies_are_the_same_numbers_and_gaussian_ones_nearly(gpu, sigma, kind):
    image = np.arange(256, dtype=np.uint8).repeat(3 * 5).reshape(16, 80, 3)
    here, there = (
        NoisyImage(image, "key", sigma=sigma, seed=5, kind=kind, device=device).samples([3, 0, 8])
        for device in ("cpu", gpu)
    )
    assert there.device.type == gpu.type
    if kind == "lattice":
        assert torch.equal(there.cpu(), here)
    else:  # a GPU rounds image / 255 otherwise
        assert torch.allclose(there.cpu(), here, rtol=0, atol=2**-22)


def test_words_are_those_of_the_cpu(gpu):
    seeds = networks.seeds(7, "key", range(3), purpose="noise")
    for bits in (8, 16):
        here, there = (
            philox.pieces(philox.keys(seeds, device), 100_001, 1, bits=bits) for device in ("cpu", gpu)
        )
        assert there.device.type == gpu.type
        assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("sigma", [1e-8, 0.01, 0.25, 1.0, 20.0])
def test_lattice_noise_is_the_same_integers_at_full_size(gpu, sigma):
    seeds = networks.seeds(7, "key", range(2), purpose="noise")
    here, there = (
        lattice.draw(seeds, 3 * 1024 * 2048, lattice.law(sigma, device))
        for device in (torch.device("cpu"), gpu)
    )
    assert there.device.type == gpu.type
    assert torch.equal(there.cpu(), here)


class Crossings(TorchDispatchMode):
    """Counts the bytes that operations bring from the CPU to a device."""

    def __init__(self, device):
        super().__init__()
        self.device, self.bytes = device, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if isinstance(made, torch.Tensor) and made.device.type == self.device.type:
            sources = [each for each in tree_leaves((arguments, options)) if isinstance(each, torch.Tensor)]
            self.bytes += sum(each.nbytes for each in sources if each.device.type == "cpu")
        return made


def test_nothing_but_keys_is_brought_to_the_device(gpu):
    image = np.zeros((512, 512, 3), dtype=np.uint8)
    copies = NoisyImage(image, "key", sigma=0.25, seed=5, device=gpu)
    with Crossings(gpu) as crossings:
        copies.samples(range(4))
    assert crossings.bytes == 4 * 16


@pytest.mark.parametrize("capacity", [400, 2**15])
@pytest.mark.parametrize("classes", [2, 19, 300])
def test_votes_are_the_same_numbers(gpu, classes, capacity):
    drawing = np.random.Generator(np.random.Philox(classes))
    dtype = np.uint8 if classes <= 256 else np.int16
    maps = torch.from_numpy(drawing.integers(0, classes, (40, 33, 47), dtype=dtype))
    maps[20:, ::2] = maps[:20, ::2]  # so that there are ties
    counted = [Votes(classes, (33, 47), capacity=capacity, device=device) for device in ("cpu", gpu)]
    for votes in counted:
        for start in range(0, 40, 7):
            votes.add(maps[start : start + 7].to(votes.counts.device))
    here, there = counted
    assert there.counts.device.type == gpu.type
    assert torch.equal(there.counts.cpu(), here.counts)
    assert np.array_equal(there.mode(), here.mode())
    assert np.array_equal(there.hits(here.mode()), here.hits(here.mode()))


def options(device, **changes):
    return {
        "dataset": "streets:count=1,height=96,width=128",
        "denoiser": "adm:weights=streets",
        "segmenter": ["hrnet:weights=streets", "vit-adapter:weights=streets"],
        "certifier": "holm:n0=4,n=60,alpha=0.05",
        "sigma": [0.25, 0.5],
        "device": str(device),
        **changes,
    }


RUN = """
import json, pathlib, sys
from smoothseg.runs.executing import execute
from smoothseg.runs.plan import Plan
from smoothseg.runs.preparing import prepare
execute(prepare(Plan.of(json.loads(sys.argv[1]))), pathlib.Path(sys.argv[2]))
"""


class Stop(Listener):
    """Interrupts a run after its first certificate."""

    def certified(self, job, entry, before):
        raise KeyboardInterrupt


def certificates(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.npz"))}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "denoiser": "adm:weights=streets,precision=bfloat16,rows=8",
            "segmenter": "hrnet:weights=streets,precision=bfloat16",
        },
    ],
    ids=["float32", "bfloat16"],
)
def test_a_run_that_goes_on_and_one_of_another_batch_size_make_the_same_certificates(gpu, tmp_path, changes):
    prepared = prepare(Plan.of(options(gpu, **changes)))
    execute(prepared, tmp_path / "one")
    whole = certificates(tmp_path / "one")
    assert len(whole) == len(prepared.jobs)
    assert json.loads((tmp_path / "one" / "run.json").read_text())["plan"]["device"] == gpu.type

    execute(prepared, tmp_path / "eight", batch_size=8)
    assert certificates(tmp_path / "eight") == whole

    with pytest.raises(KeyboardInterrupt):
        execute(prepared, tmp_path / "cut", listener=Stop())
    assert len(certificates(tmp_path / "cut")) == 1
    told = json.dumps(options(gpu, **changes))  # goes on in a process that knows nothing of this one
    subprocess.run([sys.executable, "-c", RUN, told, str(tmp_path / "cut")], check=True, timeout=300)
    assert certificates(tmp_path / "cut") == whole


def test_memory_does_not_grow_with_the_number_of_samples(gpu, scene):
    model = BaseModel(
        load("denoiser", "adm:weights=streets", gpu),
        load("segmenter", "hrnet:weights=streets", gpu),
        Geometry(0.5),
    )

    def peak(n):
        certifier = plugins()["certifier"].recipe(f"holm:n0=4,n={n}").load()
        torch.cuda.synchronize(gpu)
        torch.cuda.reset_peak_memory_stats(gpu)
        certifier.certify(Draw(model, scene.image, scene.key, sigma=SIGMA, seed=0, batch_size=4, device=gpu))
        return torch.cuda.max_memory_allocated(gpu)

    peak(8)  # workspaces of the libraries stay
    pixels = scene.image.shape[0] * scene.image.shape[1]
    assert peak(200) - peak(20) < 180 * pixels / 10

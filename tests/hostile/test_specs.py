"""Component specs of strangers: any text gives a recipe or an error of one line, and neither takes time without end."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothseg.components.discovery import KINDS
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import parse, settings
from smoothseg.errors import UserError
from smoothseg.weights import locate
from smoothseg.weights.sources import Source, hub_parts

NUMBERS = [
    *(
        "nan",
        "inf",
        "-inf",
        "1e400",
        "-0",
        "-0.0",
        "1e-400",
        "0x10",
        "1_0",
        "٣",
        "１",
        "+1",
        " 1 ",
        "1.0",
        "",
        "true",
    ),
    *(
        "9" * 30,
        "9" * 4000,
        "9" * 1_000_000,
        "-" + "9" * 5000,
        "1e" + "9" * 5000,
        "0." + "9" * 5000,
        "1/3",
        "1j",
    ),
]
ENTRIES = [(kind, entry) for kind in KINDS for entry in plugins()[kind]]
OPTIONS = [(kind, entry.name, field.name) for kind, entry in ENTRIES for field in entry.fields]


@pytest.mark.parametrize("number", NUMBERS[::3], ids=lambda number: number[:12])
def test_any_number_is_an_option_or_refused(refused, number):
    def every():
        for kind, name, option in OPTIONS:
            with contextlib.suppress(UserError):
                plugins()[kind].recipe(f"{name}:{option}={number}")

    refused(every)


CERTIFIERS = [entry.name for entry in plugins()["certifier"]]


@pytest.mark.parametrize("name", CERTIFIERS)
def test_a_certifier_of_any_numbers_is_loaded_or_refused_at_once(refused, name):
    for field in next(entry for entry in plugins()["certifier"] if entry.name == name).fields:
        for number in NUMBERS:
            spec = f"{name}:{field.name}={number}"
            refused(lambda spec=spec: plugins()["certifier"].recipe(spec).load(), seconds=5)


LONG = [
    "a" * 10**6,
    "a:" + "b=" * 10**5,
    "a:" + ",b=c" * 10**5,
    "a:" + "," * 10**6,
    "holm:" + ", " * 10**5,
    "holm:n" + " " * 10**5 + "x",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_spec_is_refused_in_time_and_in_a_short_line(refused, kind):
    for spec in LONG:
        message = refused(lambda spec=spec: plugins()[kind].recipe(spec), seconds=5)
        assert message
        assert len(message) < 3000


@pytest.mark.parametrize(
    "text", ["a\0b", "\ud800", "\x1b[31m", "~nobody/x", "~", "//", "..", "x" * 5000, "C:\\x", "a\nb"]
)
def test_any_path_in_a_spec_is_used_or_refused(refused, text):
    import torch

    for kind, name, option in (
        *(
            ("denoiser", "adm", "weights"),
            ("denoiser", "dncnn", "weights"),
            ("segmenter", "hrnet", "weights"),
        ),
        *(
            ("segmenter", "transformers", "model"),
            ("segmenter", "torchvision", "weights"),
        ),
        *(("dataset", "folder", "root"), ("dataset", "folder", "classes"), ("dataset", "cityscapes", "root")),
    ):
        given = {"name": name, option: text, **({"root": "/nonexistent"} if option == "classes" else {})}
        message = refused(lambda kind=kind, given=given: load(kind, given, torch.device("cpu")))
        assert message, given


def load(kind, given, device):
    recipe = plugins()[kind].recipe(given)
    return recipe.load(device) if kind in ("denoiser", "segmenter") else recipe.load()


# Fuzzing

TEXT = st.text(max_size=12)
PIECES = st.lists(
    st.sampled_from(
        [
            ":",
            ",",
            "=",
            " ",
            "n",
            "tau",
            "name",
            "holm",
            "none",
            "null",
            "0.6",
            "1e9",
            "\n",
            "\0",
            "{",
            "'",
            '"',
        ]
    )
    | TEXT,
    max_size=12,
).map("".join)


@given(
    kind=st.sampled_from(KINDS),
    spec=PIECES | st.builds("{}:{}".format, st.sampled_from([e.name for _, e in ENTRIES]), PIECES),
)
def test_any_spec_is_a_recipe_or_refused(refused, kind, spec, tried):
    refused(lambda: plugins()[kind].recipe(spec))
    tried()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(option=st.sampled_from(OPTIONS), value=VALUES, other=st.sampled_from(OPTIONS), more=VALUES)
def test_any_mapping_is_a_recipe_or_refused(refused, option, value, other, more, tried):
    kind, name, key = option
    refused(lambda: plugins()[kind].recipe({"name": name, key: value, other[2]: more}))
    tried()


@given(value=VALUES)
def test_what_is_no_spec_at_all_is_refused(refused, value, tried):
    for kind in KINDS:
        refused(lambda kind=kind: plugins()[kind].recipe(value))
    tried()


@given(
    options=st.dictionaries(
        st.sampled_from(["n", "n0", "alpha", "tau", "k", "taus", "radius"]),
        st.integers(-2, 10**12)
        | st.floats()
        | st.lists(st.floats(), max_size=4)
        | st.sampled_from(["own", "common", "fixed"]),
        max_size=4,
    ),
    name=st.sampled_from(CERTIFIERS),
)
def test_any_options_of_a_certifier_are_loaded_or_refused(refused, options, name, tried):
    refused(lambda: plugins()["certifier"].recipe({"name": name, **options}).load(), seconds=10)
    tried()


@given(
    name=st.from_regex(r"[a-z]{1,5}", fullmatch=True),
    options=st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), TEXT, max_size=3),
)
def test_a_spec_of_plain_options_is_read_back(name, options, tried):
    plain = {
        key: value.strip() for key, value in options.items()
        if "," not in value and value.strip().lower() not in ("none", "null")
    }  # fmt: skip
    assert parse(settings(name, plain), "component") == (name, plain)
    tried()


@given(
    reference=st.text(max_size=40)
    | st.builds(
        "{}://{}".format, st.sampled_from(["https", "http", "hf", "file", "ftp"]), st.text(max_size=30)
    )
)
def test_any_reference_of_weights_leads_somewhere_or_is_refused(refused, reference, tried):
    def follow():
        place = locate(reference, package="smoothseg_adm")[0]
        if isinstance(place, Source):
            assert place.path.parent.parent.name == "weights"  # inside of the cache
            assert ".." not in place.path.parts
            assert place.path.name.isascii()
            assert place.told.strip()

    refused(follow)
    if reference.startswith("hf://"):
        refused(lambda: hub_parts(reference))
    tried()

"""A disk that is really full, and one that is read-only: one line, and later the same command ends what it began."""

import shutil
import subprocess
import sys

import pytest

from smoothseg.report import checking
from smoothseg.runs import auditing, manifest


def _namespaces():
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _namespaces(), reason="needs Linux and the right to mount a disk of one's own"),
]

SCRIPT = """
set -u
disk=$1 copy=$2; shift 2
mount -t tmpfs -o size=4k,mode=700 none "$disk"
for size in $SIZES; do
    mount -o remount,size=${size}k "$disk"
    "$@" --output "$disk/run" 2>"$copy.$size.err" >/dev/null
    echo "$size $?"
done
mount -o remount,size=64m "$disk"
"$@" --output "$disk/run" 2>"$copy.err" >/dev/null
echo "whole $?"
mount -o remount,ro "$disk"
"$@" --output "$disk/run" 2>"$copy.ro.err" >/dev/null
echo "ro $?"
"$@" --output "$disk/new" 2>"$copy.new.err" >/dev/null
echo "new $?"
cp -r "$disk/run" "$copy"
"""

SIZES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 200, 240)


def test_a_full_and_a_read_only_disk_end_a_run_with_one_line_and_lose_nothing(tmp_path):
    command = [
        *(sys.executable, "-c", "from smoothseg.cli import main; main()", "certify"),
        *(
            "--dataset",
            "streets:count=1,height=48,width=64",
            "--denoiser",
            "identity",
            "--segmenter",
            "hrnet",
        ),
        *("--certifier", "holm:n0=4,n=40,alpha=0.05", "--device", "cpu", "--threads", "1"),
    ]
    (tmp_path / "disk").mkdir()
    words = ["unshare", "-rm", "sh", "-c", SCRIPT, "sh", tmp_path / "disk", tmp_path / "copy", *command]
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SIZES": " ".join(map(str, SIZES)), "COLUMNS": "500"},
    )
    codes = dict(line.split() for line in done.stdout.splitlines())
    said = {size: (tmp_path / f"copy.{size}.err").read_text() for size in (*map(str, SIZES), "ro", "new")}
    full = [size for size in map(str, SIZES) if codes[size] != "0"]
    assert len(full) >= 8, codes
    for size in full:
        assert codes[size] == "1", said[size]
        assert "No space left on device" in said[size].splitlines()[-1], said[size]
        assert "Traceback" not in said[size]
    assert codes["whole"] == "0"
    assert codes["ro"] == codes["new"] == "2"
    for size in ("ro", "new"):
        assert "no permission to write in" in said[size].splitlines()[-1]
    run = tmp_path / "copy"
    assert not list(run.rglob("*.tmp"))
    assert [*auditing.audit(run), *checking.differences(run), *manifest.differences(run)] == []
    assert shutil.which("unshare")

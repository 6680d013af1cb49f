"""A store reads back what was written, also after a crash, and never shows half a file."""

import hashlib
import threading

import pytest

from clickpose.errors import StoreError
from pipeline.store import Store, local_folder


@pytest.fixture(params=["local", "bucket"])
def store(request, tmp_path):
    """A local folder, and a file system that is none (pyarrow's own stand-in for a bucket)."""
    return Store(tmp_path / "root" if request.param == "local" else "mock:///bucket/root")


def test_bytes_there_and_back(store) -> None:
    store.write_bytes("reports/r1/report.md", b"# Better")
    store.write_bytes("reports/r1/report.md", b"# Worse")
    assert store.read_bytes("reports/r1/report.md") == b"# Worse"
    assert store.names("reports") == ["r1"]
    assert store.names("reports/r1") == ["report.md"]


def test_json_there_and_back(store) -> None:
    store.write_json("a/manifest.json", {"counts": [1, 2]})
    assert store.read_json("a/manifest.json") == {"counts": [1, 2]}


def test_folder_there_and_back(store, tmp_path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"\0\1")

    hashes = store.put_folder(tmp_path / "model", "models/v1")
    store.get_folder("models/v1", tmp_path / "copy")

    assert hashes["deep/weights"] == hashlib.sha256(b"\0\1").hexdigest()
    assert (tmp_path / "copy" / "config.json").read_text() == "{}"
    assert (tmp_path / "copy" / "deep" / "weights").read_bytes() == b"\0\1"


def test_a_stored_folder_is_never_overwritten(store, tmp_path) -> None:
    store.write_bytes("models/v1/config.json", b"{}")
    with pytest.raises(StoreError, match="models/v1"):
        store.put_folder(tmp_path, "models/v1")


@pytest.mark.parametrize("read", [Store.read_bytes, Store.read_json])
def test_a_missing_object_is_named(store, read) -> None:
    with pytest.raises(StoreError, match=r"reports/r9/report\.json does not exist"):
        read(store, "reports/r9/report.json")


def test_a_broken_json_file_is_named(store) -> None:
    store.write_bytes("reports/r1/report.json", b"{")
    with pytest.raises(StoreError, match=r"r1/report\.json is not JSON"):
        store.read_json("reports/r1/report.json")


def test_a_folder_that_is_not_there_is_empty(store) -> None:
    assert store.names("annotations") == []
    assert not store.exists("annotations")


def test_names_stay_inside_the_store(store) -> None:
    for name in ("../secret", "models/../../secret", "/etc/passwd"):
        with pytest.raises(StoreError, match="outside the store"):
            store.read_bytes(name)


def test_unknown_kinds_of_root_are_refused() -> None:
    with pytest.raises(StoreError, match="ftp://host/root"):
        Store("ftp://host/root")


def test_uri_of_keeps_the_options_of_a_bucket() -> None:
    store = Store("s3://bucket/root?region=eu-west-1&scheme=http")
    assert store.uri_of("models/v1") == "s3://bucket/root/models/v1?region=eu-west-1&scheme=http"
    assert store.path_of("models/v1") == "bucket/root/models/v1"


def test_a_pointer_is_one_line_that_anybody_can_read(tmp_path) -> None:
    store = Store(tmp_path)
    assert store.read_pointer("models/current") is None
    store.write_pointer("models/current", "v0001-abc")
    assert (tmp_path / "models" / "current").read_bytes() == b"v0001-abc\n"
    assert store.read_pointer("models/current") == "v0001-abc"


def test_a_reader_never_sees_half_a_pointer(tmp_path) -> None:
    store = Store(tmp_path)
    short, long = "v0001", "v0002-" + "x" * 200_000  # long enough that writing in place would show
    store.write_pointer("models/current", short)
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((tmp_path / "models" / "current").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        store.write_pointer("models/current", long)
        store.write_pointer("models/current", short)
    done.set()
    reader.join()

    assert seen <= {f"{short}\n", f"{long}\n"}


def test_a_write_that_dies_leaves_the_old_file_and_no_name(store, monkeypatch) -> None:
    store.write_bytes("models/current", b"v1\n")

    class Dying:
        type_name = store.filesystem.type_name

        def __getattr__(self, name):
            return getattr(real, name)

        def move(self, *_):
            raise OSError("the machine went away")

    real, store.filesystem = store.filesystem, Dying()
    with pytest.raises(StoreError, match="the machine went away"):
        store.write_bytes("models/current", b"v2\n")
    store.filesystem = real

    assert store.read_bytes("models/current") == b"v1\n"
    assert store.names("models") == ["current"]


def test_a_local_folder_is_used_in_place(tmp_path) -> None:
    assert local_folder(tmp_path) == tmp_path
    assert local_folder(tmp_path.as_uri()) == tmp_path
    with pytest.raises(StoreError, match="nowhere"):
        local_folder(tmp_path / "nowhere")


def test_a_remote_folder_is_copied_once(tmp_path, monkeypatch) -> None:
    remote = Store("mock:///bucket/models/v1")
    remote.write_bytes("config.json", b"{}")
    monkeypatch.setattr("pipeline.store.Store", lambda uri: remote)

    copy = local_folder(remote.uri, tmp_path)
    (copy / "config.json").write_text("kept")

    assert copy.name == "v1"
    assert local_folder(remote.uri, tmp_path) == copy
    assert (copy / "config.json").read_text() == "kept"
    assert [path.name for path in copy.parent.iterdir()] == ["v1"]

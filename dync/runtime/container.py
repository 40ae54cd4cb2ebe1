"""The zip of an artifact: stored, aligned, and with nothing in it that was not declared.

The archive's comment holds a SHA-256 of every byte outside the members' data, the manifest's included: headers, padding, directory. So a
flipped bit is found wherever it is; the other members' hashes stand in the manifest.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dync.errors import ArtifactError
from dync.runtime.files import replacing

ALIGNMENT = 64
MANIFEST = "manifest.json"
COMMENT = b"dync artifact "
PADDING = 0xD935
"""Id of the extra field that Android's zipalign pads with."""
DATE = (1980, 1, 1, 0, 0, 0)
NAME = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


def safe_name(name: str) -> bool:
    """Whether a member's name is a plain relative path: no "..", no root, no drive, no backslash."""
    return bool(NAME.fullmatch(name)) and not any(set(part) <= {"."} for part in name.split("/"))


def write(path: Path, members: Iterable[tuple[str, Iterable[Any]]]) -> None:
    """Writes members, given as (name, pieces of bytes), to a zip at `path`.

    All of it or, on any failure, nothing: an old file stays as it was.
    """
    with replacing(path) as file:
        _fill(file, members)


def _fill(file: Any, members: Iterable[tuple[str, Iterable[Any]]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in members:
            if not safe_name(name):
                raise ArtifactError(f"{name!r} is no name for a member of an artifact")
            info = zipfile.ZipInfo(name, DATE)
            info.external_attr = 0o644 << 16
            start = file.tell() + 30 + len(name.encode()) + 20 + 4  # local header, name, zip64 field, head of the padding field
            padding = -start % ALIGNMENT
            info.extra = struct.pack("<HH", PADDING, padding) + bytes(padding)
            with archive.open(info, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
        archive.comment = COMMENT + b"0" * 64
    file.seek(0)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view, zipfile.ZipFile(file) as archive:
        digest = _outside(view, _extents(archive, view))
    file.seek(-64, os.SEEK_END)
    file.write(digest.encode())


class Container:
    """An artifact's members as memory views. Raises ArtifactError, one line, for a file that is none or is damaged.

    `outside_intact` says whether everything but the members' data is as it was written; the members' own hashes are the caller's to check.
    """

    def __init__(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if not self.size:
                    raise ArtifactError(f"{path} is empty")
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                with zipfile.ZipFile(file) as archive:
                    self.comment = archive.comment
                    self.extents = _extents(archive, self.map)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, EOFError, OverflowError) as error:
            raise ArtifactError(f"{path} is not a dync artifact, or it is cut off or damaged: {error}") from error
        self.view = memoryview(self.map)

    def __getitem__(self, name: str) -> memoryview:
        start, end = self.extents[name]
        return self.view[start:end]

    def __iter__(self) -> Iterator[str]:
        return iter(self.extents)

    @property
    def outside_intact(self) -> bool:
        return self.comment == COMMENT + _outside(self.map, self.extents).encode()


def _extents(archive: zipfile.ZipFile, data: Any) -> dict[str, tuple[int, int]]:
    """Name → where its data stands. Raises ArtifactError for names, sizes or kinds that no artifact has."""
    found: dict[str, tuple[int, int]] = {}
    last = 0
    for info in sorted(archive.infolist(), key=lambda i: i.header_offset):
        if not safe_name(info.orig_filename) or info.orig_filename != info.filename:
            raise ArtifactError(f"member {info.orig_filename!r} has a name that no artifact has")
        if info.filename in found:
            raise ArtifactError(f"member {info.filename!r} is there twice")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise ArtifactError(f"member {info.filename!r} is compressed or encrypted; an artifact's are not")
        head = data[info.header_offset:info.header_offset + 30]
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise ArtifactError(f"member {info.filename!r} has a damaged header")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
        if info.header_offset < last or start + info.file_size > archive.start_dir:
            raise ArtifactError(f"member {info.filename!r} claims {info.file_size} bytes, more than the file has for it")
        last = start + info.file_size
        found[info.filename] = (start, last)
    return found


def _outside(data: Any, extents: Mapping[str, tuple[int, int]]) -> str:
    """SHA-256 over the manifest and all bytes that belong to no member, but for the 64 that hold this digest."""
    digest, last = hashlib.sha256(), 0
    view = memoryview(data)
    try:
        for name, (start, end) in sorted(extents.items(), key=lambda item: item[1]):
            digest.update(view[last:end if name == MANIFEST else start])
            last = end
        digest.update(view[last:len(view) - 64])
    finally:
        view.release()
    return digest.hexdigest()

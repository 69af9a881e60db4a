"""A search of all bytes under a folder: what is zipped, compressed or encoded in a page is opened first."""

from __future__ import annotations

import base64
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from PIL import Image

ENCODED = re.compile(rb"base64,([A-Za-z0-9+/=]+)")


def opened(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The content, and all that is inside of it, each with its name."""
    yield name, name.encode() + b"\n" + content
    if content.startswith(b"PK") and is_zipfile(io.BytesIO(content)):
        with ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                inside = member.comment + member.extra + archive.read(member)
                yield from opened(inside, f"{name}/{member.filename}")
    elif content.startswith(b"\x1f\x8b"):
        yield from opened(gzip.decompress(content), f"{name}/unzipped")
    elif content.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(content)) as image:
            yield f"{name}/metadata", repr(image.info).encode()
    for number, encoded in enumerate(ENCODED.findall(content)):
        yield from opened(base64.b64decode(encoded), f"{name}/{number}")


def found_in(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Where under a folder each of the secrets stands, whatever the case, as "SECRET in PLACE"."""
    wanted = [(secret, secret.lower().encode()) for secret in secrets]
    parts = (
        part
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for part in opened(path.read_bytes(), path.relative_to(folder).as_posix())
    )
    return [f"{secret} in {place}" for place, content in parts for secret, text in wanted if text in content.lower()]

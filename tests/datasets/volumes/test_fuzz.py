"""Whatever a header says, reading soon ends with a volume or with FederationError, and does not change the file."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from datetime import timedelta
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from support.volumes import sampled, write

from fedsynth.datasets.volumes import examine, read_volume
from fedsynth.federation import FederationError

SOON = settings(max_examples=150, deadline=timedelta(seconds=2))
DTYPES = ["u1", "i1", "<i2", ">u2", "<i4", ">u4", "<i8", "<u8", "<f4", ">f8", "<c8", "<c16"]
EDGE = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, -2.0, np.nan, np.inf, 1e-30, 3e38])


def held(raw: bytes, name: str, chosen: int | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(raw)
        for look in (examine, read_volume):
            with contextlib.suppress(FederationError):
                look(path, chosen)
        assert path.read_bytes() == raw
        assert [found.name for found in Path(folder).iterdir()] == [name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("fuzz") / "v.nii", *sampled(shape=(9, 8, 7))).read_bytes()


@SOON
@given(
    st.lists(st.tuples(st.integers(0, 351), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4), st.booleans()
)
def test_random_bytes_in_the_header(whole: bytes, changes: list[tuple[int, bytes]], packed: bool) -> None:
    raw = bytearray(whole)
    for place, text in changes:
        raw[place : place + len(text)] = text
    held(gzip.compress(bytes(raw), 1) if packed else bytes(raw), "v.nii.gz" if packed else "v.nii")


@SOON
@given(st.binary(max_size=600), st.sampled_from(["v.nii", "v.nii.gz", "v.img", "v.hdr", "v.dcm"]), st.booleans())
def test_random_files(noise: bytes, name: str, packed: bool) -> None:
    held(gzip.compress(noise, 1) if packed else noise, name)


@SOON
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.sampled_from(DTYPES),
    st.lists(st.lists(EDGE, min_size=4, max_size=4), min_size=3, max_size=3),
    st.tuples(EDGE, EDGE),
    st.sampled_from([None, 0, 1, -1, 99]),
    st.integers(0, 2**32 - 1),
)
def test_random_shapes_data_types_and_affines(
    shape: list[int], dtype: str, rows: list[list[float]], scaling: tuple[float, float], chosen: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    header = nibabel.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header["scl_slope"], header["scl_inter"] = scaling
    header["sform_code"] = 1
    for name, row in zip(("srow_x", "srow_y", "srow_z"), rows, strict=True):
        header[name] = row
    header["vox_offset"] = 352
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    held(header.binaryblock + bytes(4) + rng.bytes(size), "v.nii", chosen)

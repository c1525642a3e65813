"""Where the tensors of a safetensors file lie, with everything that the header says checked against the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import torch

from rewriter.checkpoints.json_object import LARGEST, parse_object
from rewriter.checkpoints.stored import Region

DTYPES: Final = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
}
_METADATA: Final = "__metadata__"
_MOST_DIMENSIONS: Final = 64  # torch's own limit


def safetensors_regions(file: Path) -> dict[str, Region]:
    """List the tensors of a safetensors file; no value is read.

    The header must be no larger than the file and the format allow, name no tensor twice, and give each a known dtype
    and as many bytes as its shape needs; together the tensors must fill the rest of the file without gap or overlap.

    Raises:
        ValueError: it does not.
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        size = file.stat().st_size
        length = int.from_bytes(opened.read(8), "little")
        if length > min(LARGEST, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = parse_object(opened.read(length))
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{_METADATA} that is no dict of strings")
    regions = {key: _region(file, key, entry, 8 + length) for key, entry in header.items()}
    end = 8 + length
    for key, region in sorted(regions.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
        if region.offset != end:
            raise ValueError(f"{_shown(key)} at byte {region.offset}, where the one before it ends at {end}")
        end += region.nbytes
    if end != size:
        raise ValueError(f"tensors up to byte {end} in a file of {size}")
    return regions


def _region(file: Path, key: str, entry: Any, start: int) -> Region:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{_shown(key)} without dtype, shape and data_offsets")
    name, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise ValueError(f"{_shown(key)} of the dtype {str(name)[:40]!r}")
    if not (_are_sizes(shape) and len(shape) <= _MOST_DIMENSIONS and _are_sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"{_shown(key)} with a shape or offsets that are no sizes")
    needed, given = math.prod(shape) * dtype.itemsize, offsets[1] - offsets[0]
    if needed != given:
        raise ValueError(f"{_shown(key)} with {given} bytes for {needed}")
    return Region(file, start + offsets[0], dtype, tuple(shape))


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _shown(key: str) -> str:
    return repr(key[:80])

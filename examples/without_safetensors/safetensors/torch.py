"""Read and write tensors: a header's length, the header (JSON), and the bytes of all tensors in turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safetensors import SafetensorError

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}


def load(data: bytes) -> dict[str, Tensor]:
    """Read tensors by name."""
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
    except ValueError as error:
        raise SafetensorError(f"the header cannot be read: {error}") from error
    content = bytearray(data[start:])
    return {name: _tensor(entry, content) for name, entry in header.items() if name != "__metadata__"}


def load_file(file: str | Path) -> dict[str, Tensor]:
    """Read tensors by name from a file."""
    return load(Path(file).read_bytes())


def save_file(tensors: Mapping[str, Tensor], file: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    content = b""
    for name, tensor in tensors.items():
        data = tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes()
        ends = [len(content), len(content) + len(data)]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": ends}
        content += data
    text = json.dumps(header).encode()
    Path(file).write_bytes(len(text).to_bytes(8, "little") + text + content)


def _tensor(entry: Mapping[str, Any], content: bytearray) -> Tensor:
    first, end = entry["data_offsets"]
    if first == end:
        return torch.zeros(entry["shape"], dtype=TYPES[entry["dtype"]])
    values = torch.frombuffer(content[first:end], dtype=torch.uint8).view(TYPES[entry["dtype"]])
    return values.reshape(entry["shape"])

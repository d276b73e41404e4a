#!/usr/bin/env python3
"""Turns the public weights of all-MiniLM-L6-v2 into the file that Blufio reads: minilm-gguf.py model.safetensors out.gguf

The matrices are rounded to Q8_0: 32 numbers share one f16 scale, each is a signed byte. Everything else stays f32. The result
is the same file everywhere, to the byte; ./dev model checks its sum. Needs nothing but Python.
"""
import json
import struct
import sys
from array import array

ROUNDED = ("dense.weight", "query.weight", "key.weight", "value.weight", "word_embeddings.weight")
F32, Q8_0 = 0, 8


def q8_0(numbers):
    """34 bytes for each 32 numbers. array('f') rounds to f32 wherever the reference computes in f32."""
    out = bytearray()
    for start in range(0, len(numbers), 32):
        block = numbers[start : start + 32]
        scale, inverse = array("f", (max(max(block), -min(block)) / 127,))[0], 0.0
        if scale:
            inverse = array("f", (1 / scale,))[0]
        scaled = array("f", [x * inverse for x in block])
        # Half away from zero: adding the half may round to f32 too.
        scaled = array("f", [x + 0.5 if x >= 0 else x - 0.5 for x in scaled])
        out += struct.pack("<e", scale)
        out += array("b", [max(-128, min(127, int(x))) for x in scaled]).tobytes()
    return bytes(out)


def main(source, target):
    with open(source, "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start = file.tell()
        info, data, count = b"", bytearray(), 0
        # By name, or the sum would change from run to run.
        for name in sorted(head):
            if name == "__metadata__" or "position_ids" in name or "pooler" in name:
                continue
            low, high = head[name]["data_offsets"]
            file.seek(start + low)
            raw = file.read(high - low)
            rounded = name.endswith(ROUNDED)
            if rounded:
                numbers = array("f", raw)
                if sys.byteorder == "big":
                    numbers.byteswap()
                raw = q8_0(numbers)
            dims = head[name]["shape"][::-1]  # the fastest first
            label = name.encode()
            info += struct.pack("<Q", len(label)) + label + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
            info += struct.pack("<IQ", Q8_0 if rounded else F32, len(data))
            data += raw + b"\0" * (-len(raw) % 32)
            count += 1
    info = b"GGUF" + struct.pack("<IQQ", 2, count, 0) + info
    with open(target, "wb") as file:
        file.write(info + b"\0" * (-len(info) % 32) + data)


main(*sys.argv[1:])

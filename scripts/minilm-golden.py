#!/usr/bin/env python3
"""What the unrounded model makes of sentences: minilm-golden.py folder-of-the-model sentences.txt > vectors.txt

Each line has a sentence, a tab, and its 384 numbers as base64 of little-endian i16 (the largest is 32767). Written once for
crates/blufio-adapters/tests/data/minilm.txt; needs the packages numpy and tokenizers, which nothing else here does.
"""
import base64
import json
import math
import struct
import sys

import numpy as np
from tokenizers import Tokenizer

folder, sentences = sys.argv[1:]
data = open(f"{folder}/model.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
T = {}
for name, at in json.loads(data[8 : 8 + size]).items():
    if name != "__metadata__" and "position_ids" not in name:
        low, high = at["data_offsets"]
        T[name] = np.frombuffer(data[8 + size + low : 8 + size + high], "<f4").reshape(at["shape"])
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(256)
erf = np.vectorize(math.erf)


def norm(x, name):
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-12)
    return x * T[name + ".LayerNorm.weight"] + T[name + ".LayerNorm.bias"]


def linear(x, name):
    return x @ T[name + ".weight"].T + T[name + ".bias"]


def heads(x):
    return x.reshape(len(x), 12, 32).transpose(1, 0, 2)


def vector(text):
    ids = tokenizer.encode(text).ids
    e = "embeddings."
    x = T[e + "word_embeddings.weight"][ids] + T[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + T[e + "token_type_embeddings.weight"][0], "embeddings")
    for layer in range(6):
        n = f"encoder.layer.{layer}."
        q, k, v = (heads(linear(x, f"{n}attention.self.{part}")) for part in ("query", "key", "value"))
        s = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(32))
        mixed = (s / s.sum(2, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), 384)
        x = norm(x + linear(mixed, n + "attention.output.dense"), n + "attention.output")
        wide = linear(x, n + "intermediate.dense")
        x = norm(x + linear(wide * 0.5 * (1 + erf(wide / math.sqrt(2))), n + "output.dense"), n + "output")
    return x.mean(0)


for text in open(sentences, encoding="utf-8").read().splitlines():
    v = vector(text)
    if text == "the cat sat on the mat":
        print((v / np.linalg.norm(v))[:4], file=sys.stderr)
    v = np.round(v / np.abs(v).max() * 32767).astype("<i2")
    print(text, base64.b64encode(v.tobytes()).decode(), sep="\t")

#!/usr/bin/env python3
"""Writes a checkpoint of ChatGLM-6B's size with random weights: the real names, shapes and eight shards.

usage: make_random_6b.py FOLDER [layers]

Safetensors are written by hand (u64 header length, JSON, data), so that only NumPy is needed. Weights
repeat one random block: what is measured with this folder is time and memory, not quality.
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np

DIM, HEADS, INNER, VOCAB, SHARDS = 4096, 32, 16384, 130528, 8


def tensors(layers):
    """(name, shape) in the order of the published shards; lm_head is a copy of the embedding."""
    yield "transformer.word_embeddings.weight", (VOCAB, DIM)
    for i in range(layers):
        layer = f"transformer.layers.{i}."
        yield layer + "input_layernorm.weight", (DIM,)
        yield layer + "input_layernorm.bias", (DIM,)
        yield layer + "attention.rotary_emb.inv_freq", (DIM // HEADS // 4,)
        yield layer + "attention.query_key_value.weight", (3 * DIM, DIM)
        yield layer + "attention.query_key_value.bias", (3 * DIM,)
        yield layer + "attention.dense.weight", (DIM, DIM)
        yield layer + "attention.dense.bias", (DIM,)
        yield layer + "post_attention_layernorm.weight", (DIM,)
        yield layer + "post_attention_layernorm.bias", (DIM,)
        yield layer + "mlp.dense_h_to_4h.weight", (INNER, DIM)
        yield layer + "mlp.dense_h_to_4h.bias", (INNER,)
        yield layer + "mlp.dense_4h_to_h.weight", (DIM, INNER)
        yield layer + "mlp.dense_4h_to_h.bias", (DIM,)
    yield "transformer.final_layernorm.weight", (DIM,)
    yield "transformer.final_layernorm.bias", (DIM,)
    yield "lm_head.weight", (VOCAB, DIM)


def write_data(out, block, elements, phase):
    """`elements` weights, the random block over and over, beginning at `phase`."""
    at = phase % len(block)
    while elements:
        n = min(elements, len(block) - at)
        out.write(memoryview(block[at : at + n]))
        elements -= n
        at = 0


def write_shard(path, members, block, phases):
    header, offset = {}, 0
    for name, shape in members:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, shape in members:
            write_data(out, block, int(np.prod(shape)), phases[name])
    return offset


def main():
    folder, layers = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 28
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    block = (rng.standard_normal(1 << 24, dtype=np.float32) * 0.02).astype(np.float16)
    everything = list(tensors(layers))
    phases = {name: 7919 * i for i, (name, _) in enumerate(everything)}
    phases["lm_head.weight"] = phases["transformer.word_embeddings.weight"]
    per_shard = -(-len(everything) // SHARDS)
    weight_map, total = {}, 0
    for s in range(SHARDS):
        members = everything[s * per_shard : (s + 1) * per_shard]
        name = f"model-{s + 1:05}-of-{SHARDS:05}.safetensors"
        total += write_shard(folder / name, members, block, phases)
        weight_map.update({member: name for member, _ in members})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["ChatGLMModel"], "model_type": "chatglm", "hidden_size": DIM,
        "inner_hidden_size": INNER, "num_attention_heads": HEADS, "num_layers": layers,
        "vocab_size": VOCAB, "max_sequence_length": 2048, "layernorm_epsilon": 1e-05,
        "position_encoding_2d": True, "bos_token_id": 130004, "eos_token_id": 130005,
        "mask_token_id": 130000, "gmask_token_id": 130001, "pad_token_id": 3,
    }
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()

"""Reading and writing the Hugging Face form: safetensors by hand (u64 header length, JSON header, data)."""
import json
import os
import struct

import numpy as np
import torch

from model import ChatGLM, Config

DTYPES = {"F32": np.float32, "F16": np.float16}


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header, data = json.loads(f.read(size)), f.read()
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            array = np.frombuffer(data[begin:end], DTYPES[info["dtype"]]).reshape(info["shape"])
            tensors[name] = torch.from_numpy(array.astype(np.float32))
    return tensors


def write_safetensors(path, tensors):
    """Writes {name: tensor} as f16, sorted by name."""
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        raw = tensors[name].detach().half().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensors[name].shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def load_folder(folder, weights="model.safetensors"):
    """(model, config.json as a dict) of a Hugging Face folder."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    model = ChatGLM(Config(**config))
    tensors = read_safetensors(os.path.join(folder, weights))
    state = {k: v for k, v in tensors.items() if not k.endswith("inv_freq") and k != "lm_head.weight"}
    model.load_state_dict(state)
    return model.eval(), config

"""Quantized arithmetic imitated in torch: what int8 and int4 do to the weights, for training and for a first measure.

int4: per row, blocks of 32 columns, a table of 16 levels, an 8-bit signed block scale times a row scale.
int8: blocks of 32 columns, values -127..127. Activations: int8 per block of 32. Embedding and head: int8.
"""
import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F

BLOCK = 32
LEVELS = torch.tensor([-63., -53, -41, -31, -23, -16, -10, -4, 1, 7, 13, 19, 25, 32, 42, 56])
MIDDLES = (LEVELS[1:] + LEVELS[:-1]) / 2


def int8_blocks(x):
    blocks = x.reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return ((blocks / scale).round() * scale).reshape(x.shape)


def int4_blocks(w):
    """Each block's largest element lands on the level -63; the sign of the scale makes it so."""
    blocks = w.reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = (-largest / 63).reshape(w.shape[0], -1)
    row = scale.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    scale = ((scale / row).round() * row).reshape(-1, 1)
    scale = torch.where(scale == 0, torch.full_like(scale, 1e-12), scale)
    return (LEVELS[torch.bucketize(blocks / scale, MIDDLES)] * scale).reshape(w.shape)


class StraightThrough(torch.autograd.Function):
    """Rounds forward, passes the gradient on unchanged."""

    @staticmethod
    def forward(ctx, x, rounding):
        return rounding(x)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class QuantizedLinear(nn.Linear):
    """Replaces the class of a Linear while quantized() is open."""

    rounding = None
    activations = True

    def forward(self, x):
        weight = StraightThrough.apply(self.weight, self.rounding)
        if self.activations:
            x = StraightThrough.apply(x, int8_blocks)
        return F.linear(x, weight, self.bias)


@contextlib.contextmanager
def quantized(model, kind, activations=True):
    """The model's linear layers in "int4" or "int8" (the embedding, where asked for, by the caller)."""
    rounding = {"int4": int4_blocks, "int8": int8_blocks}[kind]
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for layer in layers:
        layer.__class__, layer.rounding, layer.activations = QuantizedLinear, rounding, activations
    try:
        yield model
    finally:
        for layer in layers:
            layer.__class__ = nn.Linear
            del layer.rounding, layer.activations


@contextlib.contextmanager
def rounded_embedding(model):
    """The embedding (and so the head) in int8."""
    weight = model.transformer.word_embeddings.weight
    saved = weight.data.clone()
    weight.data.copy_(int8_blocks(saved))
    try:
        yield model
    finally:
        weight.data.copy_(saved)

"""ChatGLM-6B (v1) in plain torch, batched over right-padded sequences, for training the tiny model and as its reference.

The names of the parameters are those of the published checkpoint.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

ALPHA = math.sqrt(2 * 28)  # of the 28-layer original; the published code uses it at every depth


class Config:
    def __init__(self, vocab_size, hidden_size=128, num_layers=6, num_attention_heads=4, inner_hidden_size=None,
                 layernorm_epsilon=1e-5, max_sequence_length=512, **_):
        self.vocab_size, self.hidden_size, self.num_layers = vocab_size, hidden_size, num_layers
        self.num_attention_heads, self.inner_hidden_size = num_attention_heads, inner_hidden_size or 4 * hidden_size
        self.layernorm_epsilon, self.max_sequence_length = layernorm_epsilon, max_sequence_length


def rotary_frequencies(dim):
    """Rounded to half, as in the published code."""
    return (1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))).half().float()


def rotary_table(length, dim):
    """cos and sin [length, dim] of one rotary half."""
    angles = torch.outer(torch.arange(length).float(), rotary_frequencies(dim))
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.head_dim = c.num_attention_heads, c.hidden_size // c.num_attention_heads
        self.query_key_value = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.dense = nn.Linear(c.hidden_size, c.hidden_size)

    def forward(self, x, rotary, hidden):
        b, n, h = x.shape
        # The 3h rows are grouped per head: q, k, v of head 0, then of head 1, ...
        q, k, v = self.query_key_value(x).view(b, n, self.heads, 3 * self.head_dim).chunk(3, dim=-1)
        (cos_p, sin_p), (cos_b, sin_b) = rotary  # by position id and by block position id

        def rotated(t):
            first, second = t.chunk(2, dim=-1)
            return torch.cat((rotate(first, cos_p, sin_p), rotate(second, cos_b, sin_b)), dim=-1)

        q = rotated(q).transpose(1, 2) / math.sqrt(self.head_dim)
        k = rotated(k).permute(0, 2, 3, 1)
        scores = torch.matmul(q, k).masked_fill(hidden, -10000.0)
        context = torch.matmul(scores.softmax(dim=-1), v.transpose(1, 2))
        return self.dense(context.transpose(1, 2).reshape(b, n, h))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(c.hidden_size, c.inner_hidden_size)
        self.dense_4h_to_h = nn.Linear(c.inner_hidden_size, c.hidden_size)

    def forward(self, x):
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(c.hidden_size, c.layernorm_epsilon)
        self.attention = Attention(c)
        self.post_attention_layernorm = nn.LayerNorm(c.hidden_size, c.layernorm_epsilon)
        self.mlp = Mlp(c)

    def forward(self, x, rotary, hidden):
        x = self.input_layernorm(x)
        x = ALPHA * x + self.attention(x, rotary, hidden)  # the skip path carries the LayerNorm's output
        x = self.post_attention_layernorm(x)
        return ALPHA * x + self.mlp(x)


class Transformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.word_embeddings = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.num_layers))
        self.final_layernorm = nn.LayerNorm(c.hidden_size, c.layernorm_epsilon)


class ChatGLM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.transformer = Transformer(c)
        dim = c.hidden_size // c.num_attention_heads // 2
        self.cos, self.sin = rotary_table(c.max_sequence_length, dim)
        self.initialise()

    def initialise(self, gain=2.0):
        """Xavier-like, with a gain on what feeds the skip path: it competes with ALPHA times a unit vector."""
        for name, p in self.named_parameters():
            if name.endswith("word_embeddings.weight"):
                nn.init.normal_(p, std=0.05)
            elif p.dim() == 2:
                boost = gain if ".dense" in name else 1.0
                nn.init.normal_(p, std=boost / math.sqrt(p.shape[1]))
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def hidden_states(self, ids, context, length):
        """ids [b, n]; context [b]: the index of <sop>; length [b]: tokens without padding. [gMASK] stands before <sop>."""
        n = ids.shape[1]
        at = torch.arange(n)[None, :]
        sop = context[:, None]
        position = torch.where(at < sop, at, sop - 1)
        block = torch.where(at < sop, torch.zeros_like(at), at - sop + 1)
        visible = ((at < sop)[:, None, :] | (at[:, None, :] <= at[:, :, None])) & (at < length[:, None])[:, None, :]
        rotary = [(self.cos[p][:, :, None, :], self.sin[p][:, :, None, :]) for p in (position, block)]
        x = self.transformer.word_embeddings(ids)
        for layer in self.transformer.layers:
            x = layer(x, rotary, ~visible[:, None])
        return self.transformer.final_layernorm(x)

    def logits(self, states):
        return F.linear(states, self.transformer.word_embeddings.weight)  # the head is the embedding, no bias

    def loss(self, ids, context, length):
        """Mean cross-entropy over the answers: what follows <sop>, up to <eop>. The head runs on those places only."""
        at = torch.arange(ids.shape[1])[None, :]
        answers = (at >= context[:, None]) & (at < length[:, None] - 1)
        states = self.hidden_states(ids, context, length)[answers]
        return F.cross_entropy(self.logits(states), ids.roll(-1, 1)[answers])

    @torch.no_grad()
    def greedy(self, prompts, eop, limit=48):
        """Greedy answers (lists of ids, without <eop>) to prompts that end in [gMASK] <sop>."""
        sequences, running = [list(p) for p in prompts], set(range(len(prompts)))
        for _ in range(limit):
            rows = sorted(running)
            width = max(len(sequences[r]) for r in rows)
            ids = torch.tensor([sequences[r] + [0] * (width - len(sequences[r])) for r in rows])
            length = torch.tensor([len(sequences[r]) for r in rows])
            context = torch.tensor([len(prompts[r]) - 1 for r in rows])
            states = self.hidden_states(ids, context, length)[torch.arange(len(rows)), length - 1]
            for r, token in zip(rows, self.logits(states).argmax(-1).tolist()):
                if token == eop:
                    running.discard(r)
                else:
                    sequences[r].append(token)
            if not running:
                break
        return [s[len(p):] for s, p in zip(sequences, prompts)]

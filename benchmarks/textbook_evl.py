"""The EVL decoder as its description reads, for tests to compare with and benchmarks to beat: keys and values
projected for every token, maps computed from q and k of every head, the displacement table spelled out for
every pair of patches, a Conv1d over time. Same parameter names; slow; dropout left out.
"""

import torch
import torch.nn.functional as F
from einops import rearrange


def textbook_logits(state, features, *, heads, grid):
    """Logits (N,K) from a state dict of EVL's names and a list of (out, map_prev, map_next) per decoder
    layer.
    """
    n = features[0][0].shape[0]
    x = state["decoder.cls_token"].expand(n, 1, -1)
    for i, (out, map_prev, map_next) in enumerate(features):
        kv = textbook_tokens(state, i, out, map_prev, map_next, grid)
        part = {k.split(f"layers.{i}.")[1]: v for k, v in state.items() if f"decoder_layers.{i}." in k}
        x = textbook_layer(part, x, rearrange(kv, "n t l c -> n (t l) c"), heads)
    return linear(state, "proj.2", norm(state, "proj.0", x[:, 0]))


def textbook_maps(q, k):
    """(map_prev, map_next) (N,M,P,P) from q and k (N,T,L,H,D): patches only, heads averaged."""
    q, k = q[:, :, 1:], k[:, :, 1:]
    return attention_map(q[:, 1:], k[:, :-1]), attention_map(q[:, :-1], k[:, 1:])


def attention_map(q, k):
    scores = torch.einsum("nmahd,nmbhd->nmhab", q, k) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1).mean(dim=2)


def textbook_tokens(state, i, out, map_prev, map_next, grid):
    """Tokens plus what the modules found in `state` add."""
    kv = out
    if f"decoder.temporal_conv.{i}.weight" in state and out.shape[1] > 1:  # one frame has no time
        kv = kv + textbook_conv(state, i, out)
    if f"decoder.temporal_pos_embed.{i}" in state and out.shape[1] > 1:
        kv = kv + state[f"decoder.temporal_pos_embed.{i}"][None, :, None]
    if f"decoder.cross_attention.{i}.w1" in state:
        kv = kv + textbook_cross(state, i, map_prev, map_next, grid)
    return kv


def textbook_conv(state, i, out):
    n, c = out.shape[0], out.shape[-1]
    series = rearrange(out, "n t l c -> (n l) c t")
    name = f"decoder.temporal_conv.{i}."
    mixed = F.conv1d(series, state[name + "weight"], state[name + "bias"], padding=1, groups=c)
    return rearrange(mixed, "(n l) c t -> n t l c", n=n)


def displacement_index(grid):
    """(P, P): row of the table for query patch a and key patch b."""
    h, w = grid
    rows = torch.empty(h * w, h * w, dtype=torch.long)
    for a in range(h * w):
        for b in range(h * w):
            (ya, xa), (yb, xb) = divmod(a, w), divmod(b, w)
            rows[a, b] = (ya - yb + h - 1) * (2 * w - 1) + (xa - xb + w - 1)
    return rows


def textbook_cross(state, i, map_prev, map_next, grid):
    n, m, p, _ = map_prev.shape
    w1, w2 = state[f"decoder.cross_attention.{i}.w1"], state[f"decoder.cross_attention.{i}.w2"]
    index = displacement_index(grid)
    zero = w1.new_zeros(n, 1, p, w1.shape[1])
    prev = torch.cat([zero, torch.einsum("nmab,abc->nmac", map_prev, w1[index])], dim=1)
    after = torch.cat([torch.einsum("nmab,abc->nmac", map_next, w2[index]), zero], dim=1)
    return torch.cat([w1.new_zeros(n, m + 1, 1, w1.shape[1]), prev + after], dim=2)


def textbook_layer(part, x, kv, heads):
    query, y = norm(part, "norm1", x), norm(part, "norm3", kv)
    q, k, v = (
        linear(part, "attn.q_proj", query),
        linear(part, "attn.k_proj", y),
        linear(part, "attn.v_proj", y),
    )
    q, k, v = (rearrange(z, "n s (h d) -> n h s d", h=heads) for z in (q, k, v))
    scores = torch.einsum("nhqd,nhkd->nhqk", q, k) / q.shape[-1] ** 0.5
    mixed = torch.einsum("nhqk,nhkd->nhqd", scores.softmax(dim=-1), v)
    x = x + linear(part, "attn.out_proj", rearrange(mixed, "n h q d -> n q (h d)"))
    hidden = linear(part, "mlp.fc1", norm(part, "norm2", x))
    return x + linear(part, "mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))


def linear(state, name, x):
    return F.linear(x, state[name + ".weight"], state[name + ".bias"])


def norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[name + ".weight"], state[name + ".bias"])

"""Cross-intrinsic attention (MARCUS, method 3): every branch's queries see all branches' keys and values.

Rows of a batch are sample-major with the branches of a sample next to each other, so the branches'
sequences lie one after the other in memory: one attention over a view of them is the whole of it, and
keys and values are never repeated. The queries and keys are rotated before, every branch by the same
positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor


def cross_intrinsic_attention(query: Tensor, key: Tensor, value: Tensor, branches: int) -> Tensor:
    """h_i = softmax(q_i Kᵀ/√d) V, K and V over all branches. All ``(samples·branches, S, H, D)``."""
    rows, length, heads, dim = query.shape
    joined = (x.reshape(rows // branches, branches * length, heads, dim) for x in (query, key, value))
    q, k, v = (x.transpose(1, 2) for x in joined)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, heads, dim)


def cross_intrinsic_attention_plain(query: Tensor, key: Tensor, value: Tensor, branches: int) -> Tensor:
    """The formula, branch by branch, with keys and values repeated; the twin that tests compare with."""
    out = []
    for row in range(len(query)):
        first = row - row % branches
        keys = torch.cat([key[first + b] for b in range(branches)])  # (branches·S, H, D)
        values = torch.cat([value[first + b] for b in range(branches)])
        scores = torch.einsum("qhd,khd->hqk", query[row], keys) / query.shape[-1] ** 0.5
        out.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values))
    return torch.stack(out)


class CrossIntrinsicProcessor:
    """Attention of a LongCat block over the branches of a sample, or with ``cross`` off over each alone."""

    # diffusers asks every processor for these two.
    _attention_backend = None
    _parallel_config = None

    def __init__(self, branches: int = 3, cross: bool = True) -> None:
        self.branches = branches
        self.cross = cross

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Image tokens ``(B, S, W)``, in double-stream blocks with text ``(B, L, W)``, which comes first."""
        if attention_mask is not None:
            raise ValueError("LongCat attends to every token; a mask has no place here")
        heads = (attn.heads, -1)
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, heads))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, heads))
        value = attn.to_v(hidden_states).unflatten(-1, heads)
        if encoder_hidden_states is not None:
            text_query = attn.norm_added_q(attn.add_q_proj(encoder_hidden_states).unflatten(-1, heads))
            text_key = attn.norm_added_k(attn.add_k_proj(encoder_hidden_states).unflatten(-1, heads))
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(-1, heads)
            query = torch.cat([text_query, query], dim=1)
            key = torch.cat([text_key, key], dim=1)
            value = torch.cat([text_value, value], dim=1)
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        branches = self.branches if self.cross else 1
        out = self.attend(query, key, value, branches).flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return out
        length = encoder_hidden_states.shape[1]
        text, image = out[:, :length], out[:, length:]
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(text)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, branches: int) -> Tensor:
        """``cross_intrinsic_attention``; a benchmark puts the plain formulation in its place."""
        return cross_intrinsic_attention(query, key, value, branches)

"""The bundled vision transformer for 8×8 digits, and its trained weights."""

from __future__ import annotations

from importlib.resources import files

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS_FILE = "digits_vit.safetensors"
_CLASSES = 10


class Attention(nn.Module):
    """Multi-head self-attention, ``[N, tokens, width]`` to the same shape.

    Args:
        width: the token width; a multiple of ``heads``.
        heads: the number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the tokens."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """The two-layer GELU MLP of a block: the site that the demo rewrites.

    Args:
        width: input and output width.
        hidden: hidden width.
        dropout: probability of dropping a hidden value while training.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map each token by itself."""
        mapped: Tensor = self.fc2(self.drop(self.act(self.fc1(x))))
        return mapped


class Block(nn.Module):
    """A pre-norm transformer block, ``[N, tokens, width]`` to the same shape."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_ratio * width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then map, each with its residual."""
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class DigitsViT(nn.Module):
    """A vision transformer for 8×8 images: 2×2 patches, 16 tokens, mean pooling.

    Args:
        width: the token width.
        depth: the number of blocks, each with one MLP.
        heads: attention heads per block.
        mlp_ratio: the MLP's hidden width over ``width``.
        dropout: dropout inside the MLPs.
    """

    input_shape = (1, 8, 8)

    def __init__(
        self, width: int = 48, depth: int = 6, heads: int = 4, mlp_ratio: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.Sequential(*(Block(width, heads, mlp_ratio, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class logits ``[N, 10]`` of normalised images ``[N, 1, 8, 8]``."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


def digits_vit() -> nn.Module:
    """Return the bundled ``DigitsViT`` with its trained float32 weights, in eval mode."""
    model = DigitsViT()
    model.load_state_dict(safetensors.torch.load(files("rewriter.demo").joinpath(WEIGHTS_FILE).read_bytes()))
    return model.eval()

"""From backbone features to memory: projection, positions, deformable encoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.model.attention import DeformableAttention
from clickpose.model.backbone import CHANNELS
from clickpose.model.config import ModelConfig
from clickpose.model.layers import FeedForward
from clickpose.model.positions import image_encoding
from clickpose.model.sampling import LevelShapes


@dataclass(frozen=True)
class Tokens:
    """Feature maps of L levels as one sequence of S tokens.

    Attributes:
        content: ``(B, S, D)``.
        padding: ``(B, S)`` bool, True where there is no image; None when the batch has no padding.
        shapes: (h, w) of each level.
        valid_wh: ``(B, L, 2)`` number of columns and rows that show the image.
    """

    content: Tensor
    padding: Tensor | None
    shapes: LevelShapes
    valid_wh: Tensor

    @property
    def valid_ratios(self) -> Tensor:
        """``(B, L, 2)`` share of each level's width and height that shows the image."""
        return self.valid_wh / self.valid_wh.new_tensor([[w, h] for h, w in self.shapes])

    def cell_centres(self) -> list[Tensor]:
        """Per level ``(h * w, 2)`` x, y of the cells' centres, in cells."""
        return [_centres(h, w, self.content.device) for h, w in self.shapes]

    def first_token(self, level: int) -> int:
        """Index of a level's first token."""
        return sum(h * w for h, w in self.shapes[:level])


class FeatureProjection(nn.Module):
    """One token width for all levels; a fourth level comes from the raw stride-32 features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = CHANNELS[config.backbone]
        convolutions = [nn.Conv2d(c, config.width, 1) for c in channels]
        if config.num_levels == 4:
            convolutions.append(nn.Conv2d(channels[-1], config.width, 3, stride=2, padding=1))
        self.projections: Sequence[nn.Sequential] = nn.ModuleList(  # type: ignore[assignment]
            nn.Sequential(c, nn.GroupNorm(32, config.width)) for c in convolutions
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps ``(B, C_l, h, w)`` to maps ``(B, D, h, w)``."""
        sources = features + features[-1:] * (len(self.projections) - len(features))
        return [project(source) for project, source in zip(self.projections, sources, strict=True)]


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config)
        self.norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.ffn_width)

    def forward(self, tokens: Tokens, positions: Tensor, references: Tensor) -> Tensor:
        """Refine the last ``Q`` tokens, Q being the length of ``positions (B, Q, D)``; ``(B, Q, D)``."""
        x = tokens.content[:, -positions.shape[1] :]
        values = self.attention.project_values(tokens.content, tokens.padding)
        x = self.norm(x + self.attention(x + positions, references, values, tokens.shapes))
        return self.feed_forward(x)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Tokens of every level, refined by looking at each other."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.first_level = config.encoder_first_level
        self.width = config.width
        self.level_embed = nn.Parameter(torch.randn(config.num_levels, config.width))
        self.layers: Sequence[EncoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            EncoderLayer(config) for _ in range(config.encoder_layers)
        )

    def forward(self, features: list[Tensor], padding: Tensor | None) -> Tokens:
        """Encode projected maps ``(B, D, h, w)``; ``padding (B, H, W)`` belongs to the images."""
        tokens, positions = self.tokenize(features, padding)
        refined_from = tokens.first_token(self.first_level)
        positions, references = positions[:, refined_from:], encoder_references(tokens)[:, refined_from:]
        for layer in self.layers:
            refined = layer(tokens, positions, references)
            content = torch.cat((tokens.content[:, :refined_from], refined), 1)
            tokens = Tokens(content, tokens.padding, tokens.shapes, tokens.valid_wh)
        return tokens

    def tokenize(self, features: list[Tensor], padding: Tensor | None) -> tuple[Tokens, Tensor]:
        """Flatten maps to tokens, with the encoded place of each: ``(B, S, D)`` positions."""
        masks = [_resize_mask(padding, feature) for feature in features]
        positions = [
            image_encoding(mask, self.width) + embed for mask, embed in zip(masks, self.level_embed, strict=True)
        ]
        valid_wh = [torch.stack(((~mask[:, 0]).sum(-1), (~mask[:, :, 0]).sum(-1)), -1) for mask in masks]
        tokens = Tokens(
            torch.cat([feature.flatten(2).transpose(1, 2) for feature in features], 1),
            None if padding is None else torch.cat([mask.flatten(1) for mask in masks], 1),
            tuple((feature.shape[-2], feature.shape[-1]) for feature in features),
            torch.stack(valid_wh, 1).float(),
        )
        return tokens, torch.cat([position.flatten(1, 2) for position in positions], 1)


def encoder_references(tokens: Tokens) -> Tensor:
    """``(B, S, L, 2)`` where each token looks on each level: its own centre, in [0, 1] of the padded maps."""
    ratios = tokens.valid_ratios
    own = [centres / tokens.valid_wh[:, level, None] for level, centres in enumerate(tokens.cell_centres())]
    return torch.cat(own, 1)[:, :, None] * ratios[:, None]


def _resize_mask(padding: Tensor | None, feature: Tensor) -> Tensor:
    size = (feature.shape[-2], feature.shape[-1])
    if padding is None:
        return torch.zeros((feature.shape[0], *size), dtype=torch.bool, device=feature.device)
    return F.interpolate(padding[None].float(), size=size)[0].bool()


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
    )
    return torch.stack((x, y), -1).flatten(0, 1)

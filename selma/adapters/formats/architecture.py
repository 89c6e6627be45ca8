"""The layers of Stable Diffusion 1, 2 and XL and their weights' shapes, as published."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

Shape = tuple[int, ...]
Layer = tuple[str, Shape]  # a module's name in its network and the shape of its weight


@dataclass(frozen=True)
class UNet:
    """What `UNet2DConditionModel`'s config says, two layers in a block."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]  # transformer blocks in an attention of each level; 0: no attention
    text_width: int
    linear_projection: bool
    added_width: int | None = None  # of SDXL's pooled text and sizes

    def layers(self) -> Iterator[Layer]:
        """Yield the layers that multiply by a matrix."""
        first, embedded = self.widths[0], 4 * self.widths[0]
        yield "conv_in", (first, 4, 3, 3)
        yield from _pair("time_embedding", first, embedded)
        if self.added_width is not None:
            yield from _pair("add_embedding", self.added_width, embedded)
        yield from self._down()
        last = self.widths[-1]
        depth = next(depth for depth in reversed(self.depths) if depth)
        yield from self._resnet("mid_block.resnets.0", last, last)
        yield from self._attention("mid_block.attentions.0", last, depth)
        yield from self._resnet("mid_block.resnets.1", last, last)
        yield from self._up()
        yield "conv_out", (4, first, 3, 3)

    def _down(self) -> Iterator[Layer]:
        inside = self.widths[0]
        for level, (out, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            block = f"down_blocks.{level}"
            for number in range(2):
                yield from self._resnet(f"{block}.resnets.{number}", inside, out)
                yield from self._attention(f"{block}.attentions.{number}", out, depth)
                inside = out
            if level < len(self.widths) - 1:
                yield f"{block}.downsamplers.0.conv", (out, out, 3, 3)

    def _up(self) -> Iterator[Layer]:
        widths, depths = self.widths[::-1], self.depths[::-1]
        inside = widths[0]
        for level, (out, depth) in enumerate(zip(widths, depths, strict=True)):
            block, below = f"up_blocks.{level}", widths[min(level + 1, len(widths) - 1)]
            for number, skipped in enumerate((out, out, below)):
                yield from self._resnet(f"{block}.resnets.{number}", inside + skipped, out)
                yield from self._attention(f"{block}.attentions.{number}", out, depth)
                inside = out
            if level < len(widths) - 1:
                yield f"{block}.upsamplers.0.conv", (out, out, 3, 3)

    def _resnet(self, name: str, inside: int, out: int) -> Iterator[Layer]:
        yield f"{name}.conv1", (out, inside, 3, 3)
        yield f"{name}.time_emb_proj", (out, 4 * self.widths[0])
        yield f"{name}.conv2", (out, out, 3, 3)
        if inside != out:
            yield f"{name}.conv_shortcut", (out, inside, 1, 1)

    def _attention(self, name: str, width: int, depth: int) -> Iterator[Layer]:
        if not depth:
            return
        projection = (width, width) if self.linear_projection else (width, width, 1, 1)
        yield f"{name}.proj_in", projection
        yield f"{name}.proj_out", projection
        for number in range(depth):
            block = f"{name}.transformer_blocks.{number}"
            for attention, source in (("attn1", width), ("attn2", self.text_width)):
                yield f"{block}.{attention}.to_q", (width, width)
                yield f"{block}.{attention}.to_k", (width, source)
                yield f"{block}.{attention}.to_v", (width, source)
                yield f"{block}.{attention}.to_out.0", (width, width)
            yield f"{block}.ff.net.0.proj", (8 * width, width)
            yield f"{block}.ff.net.2", (width, 4 * width)


@dataclass(frozen=True)
class TextEncoder:
    """A CLIP text encoder, with transformers' names; `projected` is one with a projection."""

    width: int
    depth: int
    projected: bool = False

    def layers(self) -> Iterator[Layer]:
        """Yield the layers that multiply by a matrix."""
        square = (self.width, self.width)
        for number in range(self.depth):
            block = f"text_model.encoder.layers.{number}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield f"{block}.self_attn.{name}", square
            yield f"{block}.mlp.fc1", (4 * self.width, self.width)
            yield f"{block}.mlp.fc2", (self.width, 4 * self.width)
        if self.projected:
            yield "text_projection", square


_WIDTHS = (320, 640, 1280, 1280)
BASES: dict[str, dict[str, UNet | TextEncoder]] = {
    "sd1": {
        "unet": UNet(_WIDTHS, (1, 1, 1, 0), text_width=768, linear_projection=False),
        "text_encoder": TextEncoder(768, 12),
    },
    "sd2": {
        "unet": UNet(_WIDTHS, (1, 1, 1, 0), text_width=1024, linear_projection=True),
        "text_encoder": TextEncoder(1024, 24),  # of which diffusers keeps 23
    },
    "sdxl": {
        "unet": UNet(
            _WIDTHS[:3], (0, 2, 10), text_width=2048, linear_projection=True, added_width=2816
        ),
        "text_encoder": TextEncoder(768, 12),
        "text_encoder_2": TextEncoder(1280, 32, projected=True),
    },
}


@cache
def layers_of(base: str) -> dict[str, Shape]:
    """List a base's layers by an adapter's names, ``unet.conv_in``, with their weights' shapes."""
    return {
        f"{component}.{name}": shape
        for component, network in BASES[base].items()
        for name, shape in network.layers()
    }


def _pair(name: str, inside: int, out: int) -> Iterator[Layer]:
    yield f"{name}.linear_1", (out, inside)
    yield f"{name}.linear_2", (out, out)

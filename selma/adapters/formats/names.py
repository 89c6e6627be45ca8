"""Names of layers: kohya's with underscores, sgm's blocks, and diffusers' modules.

A name with underscores is read by the words that the modules of a U-Net or a CLIP text encoder are
made of; no two sequences of them are written alike, so the module is found exactly.
"""

import re

_ATTENTION = (
    r"(?:proj_in|proj_out|transformer_blocks\.\d+\.(?:attn[12]\.(?:to_[qkv]|to_out\.0)"
    r"|ff\.net\.(?:0\.proj|2)))"
)
_RESNET = r"(?:conv1|conv2|conv_shortcut|time_emb_proj)"
_INSIDE = rf"(?:attentions\.\d+\.{_ATTENTION}|resnets\.\d+\.{_RESNET})"
UNET = re.compile(
    rf"conv_in|conv_out|(?:time|add)_embedding\.linear_[12]|mid_block\.{_INSIDE}"
    rf"|down_blocks\.\d+\.(?:{_INSIDE}|downsamplers\.0\.conv)"
    rf"|up_blocks\.\d+\.(?:{_INSIDE}|upsamplers\.0\.conv)"
)
TEXT_ENCODER = re.compile(
    r"text_projection|text_model\.encoder\.layers\.\d+\.(?:self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12])"
)
_WORDS = re.compile(
    r"(?:_|^)(conv_in|conv_out|time_embedding|add_embedding|linear_[12]|mid_block|down_blocks"
    r"|up_blocks|attentions|resnets|downsamplers|upsamplers|conv_shortcut|time_emb_proj|conv[12]?"
    r"|proj_in|proj_out|transformer_blocks|attn[12]|to_[qkv]|to_out|ff|net|proj"
    r"|text_projection|text_model|encoder|layers|self_attn|(?:q|k|v|out)_proj|mlp|fc[12]"
    r"|input_blocks|middle_block|output_blocks|in_layers|out_layers|emb_layers|skip_connection|op"
    r"|time_embed|label_emb|out|\d+)(?=_|$)"
)
_RESNET_WORDS = {
    "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}  # fmt: skip
_RESNET_IN_SGM = {module: sgm for sgm, module in _RESNET_WORDS.items()}
_ALONE = {
    "input_blocks.0.0": "conv_in", "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
}  # fmt: skip
_ALONE_IN_SGM = {module: sgm for sgm, module in _ALONE.items()}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_MIDDLE_IN_SGM = {inside: number for number, inside in _MIDDLE.items()}
_LAYERS = 2  # in a block, of every published U-Net; sgm counts through all blocks


def dotted(name: str) -> str | None:
    """Find the module or the sgm layer that is written with underscores; None if it is neither."""
    words = _WORDS.findall(name)
    return ".".join(words) if "_".join(words) == name else None


def unet_module(name: str) -> tuple[str, bool] | None:
    """Find the U-Net's module of a name with underscores, and whether it was one of sgm's."""
    found = dotted(name)
    if found is None:
        return None
    if UNET.fullmatch(found):
        return found, False
    module = from_sgm(found)
    return None if module is None else (module, True)


def text_module(name: str) -> str | None:
    """Find the text encoder's module of a name with underscores."""
    found = dotted(name)
    return found if found is not None and TEXT_ENCODER.fullmatch(found) else None


def from_sgm(name: str) -> str | None:
    """Find diffusers' module of ``input_blocks.4.1.proj_in`` and the like; None if there is none.

    Blocks are counted as in the published models, of two layers each.
    """
    if name in _ALONE:
        return _ALONE[name]
    side, _, rest = name.partition("_block")
    numbers = re.fullmatch(r"s?\.(\d+)(?:\.(\d+))?\.(.+)", rest)
    if numbers is None or side not in ("input", "middle", "output"):
        return None
    if side == "middle":
        number, _, inside = rest.removeprefix(".").partition(".")
        place = f"mid_block.{_MIDDLE.get(number)}"
    else:
        number, kind, inside = numbers.groups()
        if kind is None:
            return None
        found = _block(side, int(number), kind, inside)
        if found is None or found.endswith(".conv"):
            return found
        place = found
    module = f"{place}.{_RESNET_WORDS.get(inside, '') if 'resnets' in place else inside}"
    return module if UNET.fullmatch(module) else None


def _block(side: str, number: int, kind: str, inside: str) -> str | None:
    """Find the place of sgm's block; the whole module for what changes the size."""
    name = "down_blocks" if side == "input" else "up_blocks"
    block, layer = divmod(number - 1 if side == "input" else number, _LAYERS + 1)
    if side == "input" and layer == _LAYERS:
        return f"{name}.{block}.downsamplers.0.conv" if (kind, inside) == ("0", "op") else None
    if side == "output" and layer == _LAYERS and inside == "conv" and kind in "12":
        return f"{name}.{block}.upsamplers.0.conv"
    if kind not in "01":
        return None
    return f"{name}.{block}.{('resnets', 'attentions')[int(kind)]}.{layer}"


def to_sgm(module: str) -> str | None:
    """Name a module of SDXL's U-Net as sgm does; None if its blocks have no such layer."""
    if module in _ALONE_IN_SGM:
        return _ALONE_IN_SGM[module]
    if resized := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv", module):
        block = int(resized[2])
        if resized[1] == "down":
            return f"input_blocks.{(block + 1) * (_LAYERS + 1)}.0.op"
        return f"output_blocks.{block * (_LAYERS + 1) + _LAYERS}.2.conv"
    parts = re.fullmatch(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(\w+)\.(\d+)\.(.+)", module)
    if parts is None:
        return None
    side, block_text, kind, layer, inside = parts.groups()
    inside = _RESNET_IN_SGM[inside] if kind == "resnets" else inside
    if side is None:
        middle = _MIDDLE_IN_SGM.get(f"{kind}.{layer}")
        return middle and f"middle_block.{middle}.{inside}"
    if int(layer) >= _LAYERS + (side == "up"):
        return None
    number = int(block_text) * (_LAYERS + 1) + int(layer) + (side == "down")
    place = "input_blocks" if side == "down" else "output_blocks"
    return f"{place}.{number}.{int(kind == 'attentions')}.{inside}"

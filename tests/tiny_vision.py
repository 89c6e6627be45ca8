"""Detectors and segmenters: stock classes at tiny sizes, with random weights, in folders."""

import json

import numpy as np
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    Sam2Config,
    Sam2Model,
    Sam3Config,
    Sam3Model,
    SamConfig,
    SamModel,
    SamProcessor,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from selma.foundation.tokenizer import build_tokenizer

WORDS = ["image", "of", "a", "an", "red", "blue", "circle", "square", "star", "cat", "dog"]
WORDS += ["palm", "tree", "apple"]
SQUARE = {
    "resample": 2,
    "image_mean": [0.5, 0.25, 0.5],
    "image_std": [0.5, 0.5, 0.25],
}


def picture(seed, width=48, height=48):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def text_tower(tokenizer, **more):
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def lively(model):
    """Draw all weights so that outputs differ from place to place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim > 1:
                parameter.normal_(0, 0.7 / parameter[0].numel() ** 0.5, generator=generator)
            elif "norm" not in name:
                parameter.normal_(0, 0.1, generator=generator)
    return model.eval()


def timid(model, by):
    """Push a segmenter's logits down, so that its masks are parts of the picture."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "hypernetworks" in name and name.endswith("proj_out.bias"):
                parameter -= by
    return model


def write_owlv2(folder):
    torch.manual_seed(0)
    tokenizer = build_tokenizer(0)
    tokenizer.model_max_length = 16
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Owlv2Config(
        text_config=text_tower(tokenizer, max_position_embeddings=16),
        vision_config=vision,
        projection_dim=16,
    )
    lively(Owlv2ForObjectDetection(config)).save_pretrained(folder)
    pixels = Owlv2ImageProcessorPil(size={"height": 32, "width": 32})
    Owlv2Processor(pixels, tokenizer).save_pretrained(folder)


def bert_tokenizer():
    """Tokenise whole words; the special tokens have the numbers that Grounding DINO looks for."""
    tokens = [f"[unused{n}]" for n in range(1100)]
    tokens[0], tokens[100:103] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]"]
    tokens[103], tokens[1012], tokens[1029] = "[MASK]", ".", "?"
    tokens[1030 : 1030 + len(WORDS)] = WORDS
    return BertTokenizer(vocab={token: place for place, token in enumerate(tokens)})


def write_grounding_dino(folder, max_text_len=16):
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    swin = {
        "model_type": "swin",
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    bert = {
        "model_type": "bert",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=bert,
        num_queries=12,
        num_feature_levels=3,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=max_text_len,
    )
    lively(GroundingDinoForObjectDetection(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 96}
    GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)


def write_square_pixels(folder, side):
    settings = {**SQUARE, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def write_sam3(folder):
    torch.manual_seed(0)
    tokenizer = build_tokenizer(0)
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                **small,
                "model_type": "sam3_vit_model",
                "num_hidden_layers": 1,
                "image_size": 56,
                "pretrain_image_size": 56,
                "patch_size": 14,
                "window_size": 2,
                "global_attn_indexes": [0],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config=text_tower(tokenizer, max_position_embeddings=16, projection_dim=16),
        geometry_encoder_config={**small, "num_layers": 1},
        detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    lively(Sam3Model(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_square_pixels(folder, 56)


def write_sam(folder):
    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
            "mlp_dim": 32,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    timid(lively(SamModel(config)), 0.25).save_pretrained(folder)
    pixels = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    SamProcessor(pixels).save_pretrained(folder)


def write_sam2(folder):
    torch.manual_seed(0)
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 2, 2, 2],
                "window_size_per_stage": [4, 4, 4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    timid(lively(Sam2Model(config)), 4.0).save_pretrained(folder)
    write_square_pixels(folder, 64)

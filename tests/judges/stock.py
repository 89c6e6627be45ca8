"""The stock classes of transformers, asked as their documentation says: the judges' oracle.

Each `load_…` gives a function that answers one text about one picture and encodes both each time.
"""

import warnings

import torch
from PIL import Image
from transformers import (
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipForQuestionAnswering,
    BlipProcessor,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    ViltForQuestionAnswering,
    ViltProcessor,
)


def load_blip2(directory, *, beams=1, max_new_tokens=5, dtype=torch.float32):
    """Ask a BLIP-2; a decoder's output repeats the prompt, which is cut off."""
    processor = Blip2Processor.from_pretrained(directory)
    model = Blip2ForConditionalGeneration.from_pretrained(directory, dtype=dtype).eval()

    def ask(picture, text):
        inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
        generated = model.generate(**inputs, num_beams=beams, max_new_tokens=max_new_tokens)
        if not model.language_model.config.is_encoder_decoder:
            generated = generated[:, inputs["input_ids"].shape[1] :]
        return processor.batch_decode(generated, skip_special_tokens=True)[0].strip()

    return ask


def load_instructblip(directory, *, beams=1, max_new_tokens=5, dtype=torch.float32):
    """Ask an InstructBLIP; the prompt goes in as vectors, which keeps the penalty off its words."""
    processor = InstructBlipProcessor.from_pretrained(directory)
    model = InstructBlipForConditionalGeneration.from_pretrained(directory, dtype=dtype).eval()
    options = {"num_beams": beams, "max_new_tokens": max_new_tokens, "repetition_penalty": 1.5}
    if not model.language_model.config.is_encoder_decoder:
        options["min_new_tokens"] = 1

    def ask(picture, text):
        inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids")).detach()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Passing `repetition_penalty`", UserWarning)
            generated = model.generate(**inputs, **options)
        return processor.batch_decode(generated, skip_special_tokens=True)[0].strip()

    return ask


def load_blip_vqa(directory, *, beams=1, max_new_tokens=5, dtype=torch.float32):
    """Ask a BLIP."""
    processor = BlipProcessor.from_pretrained(directory)
    model = BlipForQuestionAnswering.from_pretrained(directory, dtype=dtype).eval()

    def ask(picture, text):
        inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
        generated = model.generate(**inputs, num_beams=beams, max_new_tokens=max_new_tokens)
        return processor.decode(generated[0], skip_special_tokens=True)

    return ask


def vilt_logits(directory, dtype=torch.float32):
    """Give a function from one picture and one text to the logits of all answers, (A,)."""
    processor = ViltProcessor.from_pretrained(directory)
    model = ViltForQuestionAnswering.from_pretrained(directory, dtype=dtype).eval()

    def look(picture, text):
        inputs = processor(images=Image.fromarray(picture), text=text, return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).logits[0]

    return look, model


def load_vilt(directory, **_):
    """Ask a ViLT."""
    look, model = vilt_logits(directory)
    return lambda picture, text: model.config.id2label[look(picture, text).argmax().item()]

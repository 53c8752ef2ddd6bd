"""Florence-2 with a prompt, before or after training."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from PIL import Image

from detfinetune.answer import Answer
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import ModelConfig
from detfinetune.errors import ConfigError
from detfinetune.models.florence2.model import encoder_inputs
from detfinetune.models.florence2.read_answer import build_answer_reader
from detfinetune.models.florence2.tasks import Florence2Task
from detfinetune.models.florence2.weights import ARCHITECTURE, base_folder, folder_shape
from detfinetune.models.pretrained import read_network, read_processor

# Of the published model's card, which does not sample.
_BEAMS = 3


def ask_base(settings: ModelConfig, device: str, task: Florence2Task, text: str) -> Florence2Asked:
    """Load base weights and return them with a prompt.

    Raises:
        WeightsError: they cannot be loaded.
    """
    folder = base_folder(settings)
    network = read_network(folder, ARCHITECTURE).to(device).eval()
    tokens = folder_shape(folder).answer_tokens
    return Florence2Asked(network, read_processor(folder), tokens, task, text)


def ask_trained(network: Any, config: RunConfig, task: Florence2Task, text: str) -> Florence2Asked:
    """Return a trained network with a prompt.

    Raises:
        WeightsError: the base weights, which have the tokenizer, are missing.
    """
    folder = base_folder(config.model)
    processor, side = read_processor(folder), config.augment.image_size
    processor.image_processor.size = {"height": side, "width": side}
    return Florence2Asked(network, processor, folder_shape(folder).answer_tokens, task, text)


class Florence2Asked:
    """A network of `transformers` with a prompt; called with an image, it answers."""

    def __init__(
        self, network: Any, processor: Any, max_tokens: int, task: Florence2Task, text: str
    ) -> None:
        """Set the prompt.

        Args:
            network: `Florence2ForConditionalGeneration` in eval mode, on its device.
            processor: of the network; it resizes images.
            max_tokens: of an answer.
            task: what is asked.
            text: words of the user.
        """
        self._network = network
        self._images = processor.image_processor
        self._reader = build_answer_reader(processor.tokenizer)
        self._task = task
        self._text = text
        question = task.question.format(text=text)
        self._prompt = torch.tensor(processor.tokenizer(question).input_ids, device=network.device)
        self._max_tokens = max_tokens
        self._generation = deepcopy(network.generation_config)
        self._generation.update(num_beams=_BEAMS, do_sample=False, max_new_tokens=max_tokens)
        if task.form != "text":
            # As published, no three tokens may come twice, which two objects of a kind have.
            self._generation.no_repeat_ngram_size = 0

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> Answer:
        """Return the answer about an RGB image.

        Raises:
            ConfigError: the text is too long for the model.
        """
        pixels = self._images(images=[image], return_tensors="pt").pixel_values
        inputs = encoder_inputs(self._network, pixels.to(self._network.device), self._prompt)
        room = self._network.config.text_config.max_position_embeddings
        if inputs.shape[1] > room:
            raise ConfigError(
                f"text: it is {inputs.shape[1] - room} tokens too long for the model. Shorten it."
            )
        hidden = self._network.get_encoder()(inputs_embeds=inputs)
        output = self._network.generate(encoder_outputs=hidden, generation_config=self._generation)
        # The first token only starts the decoder.
        tokens = output[0, 1:].tolist()
        if len(tokens) == self._max_tokens:
            # As published, the last possible token is the end, whatever comes before.
            tokens.pop()
        return self._reader.read(tokens, self._task.form, *image.size, unnamed=self._text)

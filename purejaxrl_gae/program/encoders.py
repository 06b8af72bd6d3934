"""Convolutions in front of the dense layers, for grids and pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from purejaxrl_gae.parallel.platform import takes_branches
from purejaxrl_gae.settings.config import Activation, Encoder
from purejaxrl_gae.settings.errors import UserError

MANY_CHANNELS = 64  # from here on a CPU is faster with one product for each place in a window: 1.3 times for Nature's
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "silu": nn.silu,
}


class Convolution(NamedTuple):
    """One convolution without padding.

    Attributes:
      filters: output channels.
      size: height and width of its window.
      stride: of the window, in both directions.
    """

    filters: int
    size: int
    stride: int

    def outputs(self, length: int) -> int:
        """Counts the windows that fit along an axis of that length."""
        return (length - self.size) // self.stride + 1


@dataclass(frozen=True)
class _Kind:
    """The convolutions that a name stands for."""

    layers: tuple[Convolution, ...]
    scale: float
    finds_stack: bool


KINDS = {
    # Young & Tian 2019, "MinAtar", section 4
    "minatar_cnn": _Kind((Convolution(16, 3, 1),), scale=1.0, finds_stack=False),
    # Mnih et al. 2015, "Human-level control through deep reinforcement learning", methods
    "nature_cnn": _Kind(
        (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)), scale=1.0 / 255.0, finds_stack=True
    ),
}


def convolve(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves without padding, `[B, H, W, C] -> [B, H', W', filters]`, by matrix products.

    Blocks of `stride` x `stride` pixels become channels, so that windows move by one. Windows are laid side by side for
    one product; a CPU with many channels adds up one product for each place in the window, for laying out costs more
    there than the products do. (XLA's own convolutions are 20 times slower than either on a CPU when they stand in a
    loop, as all training does.)

    Args:
      images: `[B, H, W, C]`.
      kernel: `[size, size, C, filters]`; the stride divides the size.
      stride: of the window, in both directions.
    """
    size, _, channels, filters = kernel.shape
    blocks = size // stride
    rows, columns = ((length - size) // stride + 1 for length in images.shape[1:3])
    height, width, depth = rows + blocks - 1, columns + blocks - 1, stride * stride * channels
    images = images[:, : height * stride, : width * stride].reshape(-1, height, stride, width, stride, channels)
    images = images.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, depth)
    kernel = kernel.reshape(blocks, stride, blocks, stride, channels, filters).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(blocks * blocks, depth, filters)
    offsets = [(row, column) for row in range(blocks) for column in range(blocks)]
    windows = [images[:, row : row + rows, column : column + columns] for row, column in offsets]
    if takes_branches() and depth >= MANY_CHANNELS:
        return sum(window @ place for window, place in zip(windows, kernel, strict=True))
    return jnp.concatenate(windows, axis=-1) @ kernel.reshape(blocks * blocks * depth, filters)


class Convolve(nn.Module):
    """One convolution with its kernel `[size, size, channels, filters]` and bias.

    Attributes:
      layer: filters, size and stride.
    """

    layer: Convolution

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H', W', filters]`."""
        filters, size, stride = self.layer
        kernel = self.param("kernel", nn.initializers.zeros, (size, size, images.shape[-1], filters), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (filters,), jnp.float32)
        return convolve(images, kernel, stride) + bias


class Convolutions(nn.Module):
    """Convolutions of one flattened observation, each followed by the activation; what is no image stays beside them.

    Attributes:
      layers: in order.
      image_shape: of one observation, `[H, W, C]`, or `[C, H, W]` where `stack_first`.
      activation: name of the activation.
      scale: multiplies observations.
      stack_first: channels come first, as in a stack of frames.
      start: where the image begins among the inputs.
    """

    layers: tuple[Convolution, ...]
    image_shape: tuple[int, ...]
    activation: Activation
    scale: float = 1.0
    stack_first: bool = False
    start: int = 0

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `[..., inputs]` to `[..., features + inputs that are no image]`."""
        end = self.start + math.prod(self.image_shape)
        images, others = inputs[..., self.start : end], [inputs[..., : self.start], inputs[..., end:]]
        images = images.reshape(-1, *self.image_shape).astype(jnp.float32) * self.scale
        if self.stack_first:
            images = jnp.moveaxis(images, 1, -1)
        for index, layer in enumerate(self.layers):
            images = ACTIVATIONS[self.activation](Convolve(layer, name=f"Conv_{index}")(images))
        features = images.reshape(*inputs.shape[:-1], -1)
        return jnp.concatenate([features, *others], axis=-1) if inputs.shape[-1] > end - self.start else features


def make_convolutions(
    encoder: Encoder, observation_shape: tuple[int, ...], activation: Activation, *, start: int = 0
) -> Convolutions | None:
    """Makes what stands before the dense layers.

    Args:
      encoder: `minatar_cnn`: 16 filters of 3x3. `nature_cnn`: 32 of 8x8 moved by 4, 64 of 4x4 moved by 2, 64 of 3x3;
        of pixels between 0 and 255, which it divides by 255. `mlp`: nothing.
      observation_shape: `[H, W, C]`; for `nature_cnn` also a stack of frames `[C, H, W]`, recognised by its first
        axis being the shortest.
      activation: name of the activation.
      start: where the image begins among flattened inputs.

    Raises:
      UserError: observations are not of that form, or too small.
    """
    if encoder == "mlp":
        return None
    kind, shape = KINDS[encoder], tuple(observation_shape)
    if len(shape) != 3:
        forms = "[H, W, C] or [C, H, W]" if kind.finds_stack else "[H, W, C]"
        raise UserError(f"encoder is {encoder}, which needs observations {forms}; this environment's are {list(shape)}")
    stack_first = kind.finds_stack and shape[0] < min(shape[1:])
    smallest = 1
    for layer in reversed(kind.layers):
        smallest = (smallest - 1) * layer.stride + layer.size
    height, width = shape[1:] if stack_first else shape[:2]
    if min(height, width) < smallest:
        raise UserError(
            f"encoder is {encoder}, which needs observations of at least {smallest} x {smallest}; this environment's "
            f"are {height} x {width}"
        )
    return Convolutions(kind.layers, shape, activation, kind.scale, stack_first, start)

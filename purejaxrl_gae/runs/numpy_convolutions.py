"""Convolutions in front of a policy's dense layers, in NumPy alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LARGEST = 2**30  # bytes of all arrays of a policy that are read


@dataclass(frozen=True)
class NumpyConvolutions:
    """Convolutions without padding, each followed by the activation.

    Attributes:
      layers: `(kernel [size, size, channels, filters], bias [filters], stride)` in order.
      scale: multiplies observations.
      stack_first: observations are `[C, H, W]`; otherwise `[H, W, C]`.
      image_shape: of the observation, or of the part of it that is the image.
      start: where that begins among the numbers of an observation.
    """

    layers: list[tuple[np.ndarray, np.ndarray, int]]
    scale: float
    stack_first: bool
    image_shape: tuple[int, ...]
    start: int = 0

    def width(self, size: int) -> int:
        """Returns how many features there are of one observation of that many numbers.

        Raises:
          ValueError: observations of that shape do not fit, or need more memory than any policy.
        """
        shape = self.image_shape
        if len(shape) != 3 or not 0 <= self.start <= size - math.prod(shape):
            raise ValueError("it is not a policy.npz: its convolutions do not fit its observations")
        channels, *sides = shape if self.stack_first else (shape[-1], *shape[:-1])
        for kernel, bias, stride in self.layers:
            height, width, inputs, filters = kernel.shape
            sides = [(side - size) // stride + 1 for side, size in zip(sides, (height, width), strict=True)]
            if inputs != channels or bias.shape != (filters,) or min(sides) < 1:
                raise ValueError("it is not a policy.npz: its convolutions do not fit its observations")
            if math.prod(sides) * height * width * channels > LARGEST // 8:
                raise ValueError(f"one observation would need more than {LARGEST:,} bytes")
            channels = filters
        return math.prod(sides) * channels + size - math.prod(shape)

    def features(self, inputs: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Maps `[B, size]` to `[B, features + numbers that are no image]`."""
        end = self.start + math.prod(self.image_shape)
        images = inputs[:, self.start : end].reshape(-1, *self.image_shape) * self.scale
        if self.stack_first:
            images = np.moveaxis(images, 1, -1)
        for kernel, bias, stride in self.layers:
            windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], axis=(1, 2))
            windows = np.moveaxis(windows[:, ::stride, ::stride], 3, -1)  # [B, H', W', size, size, channels]
            rows = windows.reshape(*windows.shape[:3], -1)
            images = activation(rows @ kernel.reshape(-1, kernel.shape[-1]) + bias)
        return np.concatenate([images.reshape(len(images), -1), inputs[:, : self.start], inputs[:, end:]], axis=1)

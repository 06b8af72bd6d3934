"""Dense layers, and the policy that ends in an action distribution."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from purejaxrl_gae.environments import ActionSpace
from purejaxrl_gae.program.encoders import ACTIVATIONS, Convolutions
from purejaxrl_gae.program.heads import distribution_of, num_deviations
from purejaxrl_gae.program.types import Distribution
from purejaxrl_gae.settings.config import Activation


class MLP(nn.Module):
    """Dense layers, each followed by the activation; then, if asked, a linear output; before them, convolutions.

    Attributes:
      hidden_sizes: widths of the hidden layers.
      activation: name of the activation.
      output_size: width of the linear output layer, or None for none.
      output_gain: scale of the output layer's initial weights.
      convolutions: of the inputs, or None for none.
    """

    hidden_sizes: tuple[int, ...]
    activation: Activation
    output_size: int | None = None
    output_gain: float = 1.0
    convolutions: Convolutions | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `[..., inputs]` to `[..., output_size or hidden_sizes[-1]]`."""
        features = inputs if self.convolutions is None else self.convolutions(inputs)
        for size in self.hidden_sizes:
            features = ACTIVATIONS[self.activation](nn.Dense(size, param_dtype=jnp.float32)(features))
        if self.output_size is None:
            return features
        return nn.Dense(self.output_size, param_dtype=jnp.float32)(features)

    def gain(self, layer: str) -> float:
        """Returns the scale of a layer's initial weights: sqrt(2) in hidden layers."""
        is_output = layer == f"Dense_{len(self.hidden_sizes)}"
        return self.output_gain if is_output else math.sqrt(2.0)


class PolicyNetwork(nn.Module):
    """An MLP whose output parametrises the action distribution; the standard deviation is the same in every state.

    Attributes:
      mlp: the network; its outputs are logits, log-odds or means, one part's behind the other's.
      actions: the action space, which says what distribution that is.
      learn_std: a parameter per real dimension is added to the logarithm of the standard deviation.
      log_std_init: that logarithm's initial value, or its value for good.
      squashed: SquashedGaussian instead of DiagonalGaussian.
    """

    mlp: MLP
    actions: ActionSpace
    learn_std: bool = True
    log_std_init: float = 0.0
    squashed: bool = False

    @nn.compact
    def __call__(self, features: jax.Array) -> Distribution:
        """Returns the action distribution of every state."""
        outputs, size = self.mlp(features), num_deviations(self.actions)
        log_std = None
        if size:
            offset = jnp.zeros((size,), jnp.float32)
            if self.learn_std:
                offset = self.param("log_std_offset", nn.initializers.zeros, (size,), jnp.float32)
            log_std = self.log_std_init + offset
        return distribution_of(self.actions, outputs, log_std, squashed=self.squashed)

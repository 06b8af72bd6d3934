"""The action distributions: Categorical, diagonal Gaussian, and the Gaussian squashed by tanh.

All are pytrees, so they pass through `jit`, `vmap` and `scan`. Log-probabilities, entropies and KL divergences of the
Gaussian are sums over action dimensions: one number per state, before anything is exponentiated or averaged.

A sample is split into parameter-free noise and its transformation, so that a rollout can draw the noise of all its
steps at once: `sample(key)` is `from_noise(noise(key))`, and `noise(key, (T,))` is that of T samples.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

LOG_2PI = math.log(2.0 * math.pi)
QUADRATURE_NODES = 32
IMPOSSIBLE = -1e9  # logit of what is not allowed: its probability is 0, its logarithm finite


class Categorical(struct.PyTreeNode):
    """Distribution over `n` actions.

    Attributes:
      logits: `[..., n]` unnormalised log-probabilities.
    """

    logits: jax.Array

    @staticmethod
    def draw_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws standard Gumbel noise of `shape` (`[..., n]`)."""
        return jax.random.gumbel(key, shape, jnp.float32)

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> jax.Array:
        """Draws Gumbel noise `[*leading, ..., n]`; only the logits' shape is read."""
        return self.draw_noise(key, (*leading, *self.logits.shape))

    def from_noise(self, noise: jax.Array) -> jax.Array:
        """Returns the sample, `[...]` int32, that Gumbel noise `[..., n]` picks (the Gumbel-max trick)."""
        return jnp.argmax(self.logits + noise, axis=-1).astype(jnp.int32)

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws one action per state, `[...]` int32."""
        return self.from_noise(self.noise(key))

    def mode(self) -> jax.Array:
        """Returns the most probable action, `[...]` int32."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(a), `[...]`, of integer actions `[...]`."""
        chex.assert_shape(actions, self.logits.shape[:-1])
        # A masked sum instead of a gather: its gradient is a product, not a scatter.
        chosen = jax.nn.one_hot(actions, self.logits.shape[-1], dtype=bool)
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(self.logits), 0.0), axis=-1)

    def entropy(self) -> jax.Array:
        """Returns H = -sum_a p_a log p_a, `[...]`; an action of probability 0 adds nothing."""
        log_probs = jax.nn.log_softmax(self.logits)
        probs = jnp.exp(log_probs)
        return -jnp.sum(probs * jnp.where(probs > 0.0, log_probs, 0.0), axis=-1)

    def kl_divergence(self, other: "Categorical") -> jax.Array:
        """Returns KL(self || other) = sum_a p_a log(p_a / q_a), `[...]`."""
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        probs = jnp.exp(log_p)
        return jnp.sum(probs * jnp.where(probs > 0.0, log_p - log_q, 0.0), axis=-1)

    def fisher_product(self, tangent: "Categorical") -> "Categorical":
        """Returns M v with M = diag(p) - p p^T, the Fisher matrix in the logits."""
        probs = jax.nn.softmax(self.logits)
        expected = jnp.sum(probs * tangent.logits, axis=-1, keepdims=True)
        return Categorical(probs * (tangent.logits - expected))

    def masked(self, mask: jax.Array) -> "Categorical":
        """Returns this distribution without the actions where `[..., n]` bool is False.

        Their probability is 0 and everything stays finite. Where no action is left all logits are NaN, so that nothing
        is learned from that step.
        """
        allowed = mask.astype(bool)
        return Categorical(mask_logits(self.logits, allowed, jnp.any(allowed, axis=-1, keepdims=True)))


class DiagonalGaussian(struct.PyTreeNode):
    """Independent normal distributions over the action dimensions.

    Attributes:
      mean: `[..., A]` means.
      log_std: `[A]` or `[..., A]` logarithms of the standard deviations; broadcast against `mean`.
    """

    mean: jax.Array
    log_std: jax.Array

    @staticmethod
    def draw_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws standard normal noise of `shape` (`[..., A]`)."""
        return jax.random.normal(key, shape, jnp.float32)

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> jax.Array:
        """Draws standard normal noise `[*leading, ..., A]`; only the mean's shape is read."""
        return self.draw_noise(key, (*leading, *self.mean.shape))

    def from_noise(self, noise: jax.Array) -> jax.Array:
        """Returns the sample mean + std * noise, `[..., A]` (the reparameterisation trick)."""
        return self.mean + jnp.exp(self.log_std) * noise

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws one action per state, `[..., A]`, not clipped to any bounds."""
        return self.from_noise(self.noise(key))

    def mode(self) -> jax.Array:
        """Returns the mean, `[..., A]`."""
        return self.mean

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(a), `[...]`, summed over the action dimensions of `actions` `[..., A]`."""
        chex.assert_equal_shape([actions, self.mean])
        standardized = (actions - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * (standardized**2 + LOG_2PI) - self.log_std, axis=-1)

    def entropy(self) -> jax.Array:
        """Returns H = sum_i (log std_i + (1 + log 2 pi) / 2), `[...]`."""
        log_std = jnp.broadcast_to(self.log_std, self.mean.shape)
        return jnp.sum(log_std + 0.5 * (1.0 + LOG_2PI), axis=-1)

    def kl_divergence(self, other: "DiagonalGaussian") -> jax.Array:
        """Returns KL(self || other), `[...]`, summed over action dimensions.

        sum_i log(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2
        """
        log_ratio = other.log_std - self.log_std
        variance_ratio = jnp.exp(-2.0 * log_ratio)
        distance = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return jnp.sum(log_ratio + 0.5 * (variance_ratio + distance**2 - 1.0), axis=-1)

    def fisher_product(self, tangent: "DiagonalGaussian") -> "DiagonalGaussian":
        """Returns M v with M = 1 / std^2 for the mean and 2 for the log std, also where the Gaussian is squashed."""
        return tangent.replace(mean=tangent.mean * jnp.exp(-2.0 * self.log_std), log_std=2.0 * tangent.log_std)


class SquashedGaussian(DiagonalGaussian):
    """The distribution of tanh(u), u from a diagonal Gaussian; an action is passed and stored as u.

    Densities are those of tanh(u) by the change of variables, so entropy and log-probability are of what acts. The KL
    divergence and the Fisher matrix are the Gaussian's: a bijection changes neither. `mode` is tanh's argument at the
    Gaussian's mode, which is also tanh's median.
    """

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(tanh(u)) = log N(u) - sum_i log(1 - tanh(u_i)^2), `[...]`, of u `[..., A]`."""
        return super().log_prob(actions) - jnp.sum(log_tanh_slope(actions), axis=-1)

    def entropy(self) -> jax.Array:
        """Returns H = H(N) + sum_i E[log(1 - tanh(u_i)^2)], `[...]`; the expectation by Gauss-Hermite quadrature.

        With 32 nodes the error is below 1e-6 for deviations up to 1, and 3e-3 at 3.
        """
        nodes, masses = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
        noise = jnp.asarray(nodes, jnp.float32)
        weights = jnp.asarray(masses / masses.sum(), jnp.float32)
        actions = self.mean[..., None] + jnp.exp(self.log_std)[..., None] * noise
        return super().entropy() + jnp.sum(log_tanh_slope(actions) * weights, axis=(-2, -1))


def mask_logits(logits: jax.Array, mask: jax.Array, possible: jax.Array) -> jax.Array:
    """Returns logits `[..., n]` with IMPOSSIBLE where the mask is False, NaN where `possible` says nothing is left."""
    return jnp.where(possible, jnp.where(mask.astype(bool), logits, IMPOSSIBLE), jnp.nan)


def log_tanh_slope(u: jax.Array) -> jax.Array:
    """Computes log(1 - tanh(u)^2), elementwise, as 2 (log 2 - u - softplus(-2u)), which is finite wherever u is."""
    return 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))


Distribution = Categorical | DiagonalGaussian | SquashedGaussian

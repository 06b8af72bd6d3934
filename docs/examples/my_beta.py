"""A Beta policy (Chou et al. 2017), a distribution that the package does not know, in networks of one's own.

    python -m purejaxrl_gae.ppo --env Pendulum-v1 --network my_beta:make --action-bounds scale

Actions lie between -1 and 1: 2 x - 1 with x ~ Beta(alpha, beta), alpha and beta above 1, so that there is one mode.
The Fisher matrix of Beta(alpha, beta) is [[t(alpha) - s, -s], [-s, t(beta) - s]], s = t(alpha + beta), t the trigamma.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.scipy.special import betaln, digamma, polygamma

from purejaxrl_gae import networks


class StretchedBeta(struct.PyTreeNode):
    """Independent Beta distributions, each stretched to (-1, 1); both fields are `[..., A]`."""

    alpha: jax.Array
    beta: jax.Array

    def noise(self, key, leading=()):
        """Returns random keys `[*leading, ..., A]`: how much noise a gamma variate takes is not known beforehand."""
        return jax.random.split(key, (*leading, *self.alpha.shape))

    def from_noise(self, noise):
        """Returns the actions that these keys draw, `[..., A]`."""
        draws = jax.vmap(jax.random.beta)(noise.reshape(-1), self.alpha.reshape(-1), self.beta.reshape(-1))
        return 2.0 * jnp.clip(draws, 1e-6, 1.0 - 1e-6).reshape(self.alpha.shape) - 1.0

    def sample(self, key):
        """Returns one action for each state."""
        return self.from_noise(self.noise(key))

    def mode(self):
        """Returns the most probable action of each state."""
        return 2.0 * (self.alpha - 1.0) / (self.alpha + self.beta - 2.0) - 1.0

    def log_prob(self, actions):
        """Returns log pi(a|s), `[...]`, summed over action dimensions."""
        x = jnp.clip(0.5 * (actions + 1.0), 1e-6, 1.0 - 1e-6)
        log_density = (
            (self.alpha - 1.0) * jnp.log(x) + (self.beta - 1.0) * jnp.log1p(-x) - betaln(self.alpha, self.beta)
        )
        return jnp.sum(log_density - math.log(2.0), axis=-1)

    def entropy(self):
        """Returns the entropy, `[...]`."""
        total = self.alpha + self.beta
        each = betaln(self.alpha, self.beta) + (total - 2.0) * digamma(total) + math.log(2.0)
        each -= (self.alpha - 1.0) * digamma(self.alpha) + (self.beta - 1.0) * digamma(self.beta)
        return jnp.sum(each, axis=-1)

    def kl_divergence(self, other):
        """Returns KL(self || other), `[...]`."""
        more_alpha, more_beta = self.alpha - other.alpha, self.beta - other.beta
        each = betaln(other.alpha, other.beta) - betaln(self.alpha, self.beta)
        each += more_alpha * digamma(self.alpha) + more_beta * digamma(self.beta)
        each -= (more_alpha + more_beta) * digamma(self.alpha + self.beta)
        return jnp.sum(each, axis=-1)

    def fisher_product(self, tangent):
        """Returns M v, M as above."""
        shared = polygamma(1, self.alpha + self.beta) * (tangent.alpha + tangent.beta)
        return StretchedBeta(
            polygamma(1, self.alpha) * tangent.alpha - shared, polygamma(1, self.beta) * tangent.beta - shared
        )


class Policy(nn.Module):
    """Observations to the distribution of `size` actions."""

    size: int
    width: int = 64

    @nn.compact
    def __call__(self, observations):
        """Applies it to `[B, ...]`."""
        features = nn.tanh(nn.Dense(self.width)(observations.reshape(observations.shape[0], -1)))
        outputs = nn.Dense(2 * self.size, kernel_init=nn.initializers.orthogonal(0.01))(features)
        return StretchedBeta(*jnp.split(1.0 + nn.softplus(outputs), 2, axis=-1))


class Value(nn.Module):
    """Observations to values."""

    width: int = 64

    @nn.compact
    def __call__(self, observations):
        """Applies it to `[B, ...]`."""
        features = observations.reshape(observations.shape[0], -1)
        return nn.Dense(1)(nn.tanh(nn.Dense(self.width)(features)))


def make(actions, config):
    """Makes the two networks; of the config it reads the first hidden layer's width."""
    return networks.separate(Policy(actions.size, config.hidden_sizes[0]), Value(config.hidden_sizes[0]))

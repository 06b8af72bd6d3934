"""Distributions of several actions at once: whole numbers of several sizes, bits, and any of these side by side.

Parts are independent of each other, so log-probability, entropy and KL divergence are sums over them, and the Fisher
matrix has a block for each. Methods and noise are as in `distributions`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae.kernels.distributions import IMPOSSIBLE, Categorical, mask_logits


class MultiCategorical(struct.PyTreeNode):
    """Independent choices, the i-th among `sizes[i]`; of one choice, Categorical with an axis more.

    Attributes:
      logits: `[..., sum(sizes)]` unnormalised log-probabilities, those of one choice behind those of the other.
      sizes: of each choice; static.
    """

    logits: jax.Array
    sizes: tuple[int, ...] = struct.field(pytree_node=False)

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> jax.Array:
        """Draws Gumbel noise `[*leading, ..., sum(sizes)]`; only the logits' shape is read."""
        return Categorical.draw_noise(key, (*leading, *self.logits.shape))

    def from_noise(self, noise: jax.Array) -> jax.Array:
        """Returns the sample, `[..., k]` int32, that Gumbel noise picks."""
        return self._numbers(Categorical(self._rows(self.logits + noise)).mode())

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws k numbers for each state, `[..., k]` int32."""
        return self.from_noise(self.noise(key))

    def mode(self) -> jax.Array:
        """Returns the most probable numbers, `[..., k]` int32."""
        return self._numbers(self._choices().mode())

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(a), `[...]`, of integer actions `[..., k]`."""
        chex.assert_shape(actions, (*self.logits.shape[:-1], len(self.sizes)))
        return self._sum(self._choices().log_prob(actions[..., 0] if self._is_one else actions))

    def entropy(self) -> jax.Array:
        """Returns the sum of the choices' entropies, `[...]`."""
        return self._sum(self._choices().entropy())

    def kl_divergence(self, other: "MultiCategorical") -> jax.Array:
        """Returns KL(self || other), `[...]`, summed over choices."""
        return self._sum(self._choices().kl_divergence(other._choices()))

    def fisher_product(self, tangent: "MultiCategorical") -> "MultiCategorical":
        """Returns M v with a block diag(p) - p p^T for each choice."""
        change = Categorical(self._rows(tangent.logits, padding=0.0))
        return self.replace(logits=self._flat(self._choices().fisher_product(change).logits))

    def masked(self, mask: jax.Array) -> "MultiCategorical":
        """Returns these choices without those where `[..., sum(sizes)]` bool is False; see `Categorical.masked`."""
        allowed = self._rows(mask.astype(bool), padding=False)
        possible = jnp.broadcast_to(jnp.any(allowed, axis=-1, keepdims=True), allowed.shape)
        return self.replace(logits=mask_logits(self.logits, mask, self._flat(possible)))

    def _choices(self) -> Categorical:
        """Returns all choices as one Categorical `[..., k, largest size]`; of one choice `[..., n]`."""
        return Categorical(self._rows(self.logits))

    @property
    def _is_one(self) -> bool:
        """There is one choice, computed without an axis of its own, so that every bit is Categorical's."""
        return len(self.sizes) == 1

    def _numbers(self, actions: jax.Array) -> jax.Array:
        return actions[..., None] if self._is_one else actions

    def _sum(self, numbers: jax.Array) -> jax.Array:
        return numbers if self._is_one else jnp.sum(numbers, axis=-1)

    def _rows(self, flat: jax.Array, padding: Any = IMPOSSIBLE) -> jax.Array:
        """Lays `[..., sum(sizes)]` out as `[..., k, largest size]`, the shorter rows filled up."""
        if self._is_one:
            return flat
        longest, leading = max(self.sizes), flat.shape[:-1]
        if set(self.sizes) == {longest}:
            return flat.reshape(*leading, len(self.sizes), longest)
        rows, start = [], 0
        for size in self.sizes:
            row = flat[..., start : start + size]
            filling = [(0, 0)] * len(leading) + [(0, longest - size)]
            rows.append(jnp.pad(row, filling, constant_values=padding))
            start += size
        return jnp.stack(rows, axis=-2)

    def _flat(self, rows: jax.Array) -> jax.Array:
        """Undoes `_rows`: `[..., sum(sizes)]`, without what fills rows up."""
        if self._is_one:
            return rows
        return jnp.concatenate([rows[..., index, :size] for index, size in enumerate(self.sizes)], axis=-1)


class Bernoulli(struct.PyTreeNode):
    """Independent bits.

    Attributes:
      logits: `[..., k]` log-odds of each bit being 1.
    """

    logits: jax.Array

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> jax.Array:
        """Draws logistic noise `[*leading, ..., k]`; only the logits' shape is read."""
        return jax.random.logistic(key, (*leading, *self.logits.shape), jnp.float32)

    def from_noise(self, noise: jax.Array) -> jax.Array:
        """Returns the sample, `[..., k]` int32 of 0 and 1, that logistic noise picks."""
        return (self.logits + noise > 0.0).astype(jnp.int32)

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws k bits for each state, `[..., k]` int32."""
        return self.from_noise(self.noise(key))

    def mode(self) -> jax.Array:
        """Returns the more probable value of each bit, `[..., k]` int32."""
        return (self.logits > 0.0).astype(jnp.int32)

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(a), `[...]`, of bits `[..., k]`: -sum_i log(1 + exp(-l_i)), l_i negated where a_i is 0."""
        chex.assert_equal_shape([actions, self.logits])
        return jnp.sum(jax.nn.log_sigmoid(jnp.where(actions > 0, self.logits, -self.logits)), axis=-1)

    def entropy(self) -> jax.Array:
        """Returns H = -sum_i p_i log p_i + (1 - p_i) log(1 - p_i), `[...]`."""
        return -jnp.sum(self._expected(jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)), axis=-1)

    def kl_divergence(self, other: "Bernoulli") -> jax.Array:
        """Returns KL(self || other), `[...]`, summed over bits."""
        of_one = jax.nn.log_sigmoid(self.logits) - jax.nn.log_sigmoid(other.logits)
        of_zero = jax.nn.log_sigmoid(-self.logits) - jax.nn.log_sigmoid(-other.logits)
        return jnp.sum(self._expected(of_one, of_zero), axis=-1)

    def fisher_product(self, tangent: "Bernoulli") -> "Bernoulli":
        """Returns M v with M = p (1 - p) for each logit."""
        return Bernoulli(self._expected(1.0, 0.0) * jax.nn.sigmoid(-self.logits) * tangent.logits)

    def _expected(self, of_one: Any, of_zero: Any) -> jax.Array:
        """Returns the expectation of a function of each bit."""
        return jax.nn.sigmoid(self.logits) * of_one + jax.nn.sigmoid(-self.logits) * of_zero


class Joint(struct.PyTreeNode):
    """Independent distributions side by side; an action is a dictionary or tuple of theirs.

    Attributes:
      parts: dictionary or tuple of distributions, with the batch of states in common; they may be Joint themselves.
    """

    parts: Any

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> Any:
        """Draws each part's noise with a key of its own."""
        names = _names(self.parts)
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        return self._of_parts(lambda part, own_key: part.noise(own_key, leading), keys)

    def from_noise(self, noise: Any) -> Any:
        """Returns each part's sample."""
        return self._of_parts(lambda part, own: part.from_noise(own), noise)

    def sample(self, key: jax.Array) -> Any:
        """Draws one action for each state."""
        return self.from_noise(self.noise(key))

    def mode(self) -> Any:
        """Returns each part's mode."""
        return self._of_parts(lambda part: part.mode())

    def log_prob(self, actions: Any) -> jax.Array:
        """Returns log pi(a), `[...]`: the sum over parts."""
        return self._sum(lambda part, own: part.log_prob(own), actions)

    def entropy(self) -> jax.Array:
        """Returns the sum of the parts' entropies, `[...]`."""
        return self._sum(lambda part: part.entropy())

    def kl_divergence(self, other: "Joint") -> jax.Array:
        """Returns KL(self || other), `[...]`: the sum over parts."""
        return self._sum(lambda part, own: part.kl_divergence(own), other.parts)

    def fisher_product(self, tangent: "Joint") -> "Joint":
        """Returns M v, a block for each part."""
        return Joint(self._of_parts(lambda part, own: part.fisher_product(own), tangent.parts))

    def masked(self, masks: Any) -> "Joint":
        """Returns the parts that have a mask with it, the others as they are.

        Args:
          masks: dictionary or tuple of some parts' masks, as their `masked` takes them.
        """
        found = masks if isinstance(masks, Mapping) else dict(enumerate(masks))
        masks = {name: found.get(name) for name in _names(self.parts)}
        return Joint(self._of_parts(lambda part, own: part if own is None else part.masked(own), masks))

    def _of_parts(self, function: Callable[..., Any], *others: Any) -> Any:
        """Returns the parts' structure with the function's value for each, called with others' of that name too."""
        found = {name: function(part, *(each[name] for each in others)) for name, part in _items(self.parts)}
        return found if isinstance(self.parts, Mapping) else tuple(found.values())

    def _sum(self, function: Callable[..., jax.Array], *others: Any) -> jax.Array:
        numbers = [function(part, *(each[name] for each in others)) for name, part in _items(self.parts)]
        return sum(numbers[1:], start=numbers[0])


def _names(parts: Any) -> list[Any]:
    """Returns keys in sorted order, which is JAX's, or the places in a tuple."""
    return sorted(parts) if isinstance(parts, Mapping) else list(range(len(parts)))


def _items(parts: Any) -> list[tuple[Any, Any]]:
    return [(name, parts[name]) for name in _names(parts)]

"""What an agent has learned, to be acted with: a policy and its value function as pytrees of pure functions."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae.environments.structures import batch_shape, reshaped
from purejaxrl_gae.program import memories, player, values
from purejaxrl_gae.program.rollout import normalize_observations
from purejaxrl_gae.program.types import Learner


class Policy(struct.PyTreeNode):
    """A policy and its value function, with what they need to know of observations and actions.

    Attributes:
      learner: parameters and normalisers.
      agent: whose they are; static.
    """

    learner: Learner
    agent: Any = struct.field(pytree_node=False)

    def act(self, observations: Any, key: jax.Array | None = None) -> Any:
        """Returns actions as the environment takes them, within its bounds.

        Args:
          observations: as the environment gives them, one `[*shape]` or any batch of them `[..., *shape]`.
          key: draws actions from the policy; where None, the most probable ones are taken.

        Raises:
          UserError: the observations have another shape.
        """
        return self._acted(observations, (), key)[0]

    def value(self, observations: Any) -> values.Values:
        """Returns V of one observation or a batch, `in_rewards` of the environment and `as_learned`; see `Values`.

        Args:
          observations: as of `act`.

        Raises:
          UserError: the observations have another shape.
        """
        value = values.value_function(self.agent.algorithm.setup)
        return value(self.learner, observations)

    def _acted(self, observations: Any, memory: Any, key: jax.Array | None) -> tuple[Any, Any]:
        """Returns actions and what is remembered behind them, of one or any batch of observations and memories."""
        setup = self.agent.algorithm.setup
        leading, raw, held = self._rows(observations, memory)
        remembered = held, jnp.zeros(jax.tree.leaves(raw)[0].shape[0], bool)
        acted = player.act(setup, self.learner, raw, remembered, key, deterministic=False)
        return jax.tree.map(lambda leaf: leaf.reshape(*leading, *leaf.shape[1:]), acted)

    def _rows(self, observations: Any, memory: Any) -> tuple[tuple[int, ...], Any, Any]:
        """Returns the batch's shape, observations `[B, *shape]`, and as many memories."""
        environment = self.agent.algorithm.setup.environment
        types, encoded = environment.observations, values.encode_observations(environment, observations)
        leading = batch_shape(types, encoded)
        return (
            leading,
            reshaped(types, encoded, -1),
            jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(leading) :]), memory),
        )


class RecurrentPolicy(Policy):
    """A policy that remembers: what it has observed of an episode is handed from one call to the next.

    memory = policy.initial_memory()
    action, memory = policy.act(observation, memory)
    """

    def initial_memory(self, *leading: int) -> Any:
        """Returns what is remembered where an episode begins: of one, or of a batch of that shape."""
        one = memories.initial_memory(self.agent.algorithm.setup.network, 1)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (*leading, *leaf.shape[1:])), one)

    def act(self, observations: Any, memory: Any, key: jax.Array | None = None) -> tuple[Any, Any]:  # type: ignore[override]
        """Returns actions and what is remembered behind this step.

        Args:
          observations: as of `Policy.act`.
          memory: what the last step returned, or `initial_memory` where an episode begins.
          key: draws actions from the policy; where None, the most probable ones are taken.

        Raises:
          UserError: the observations have another shape.
        """
        return self._acted(observations, memory, key)

    def value(self, observations: Any, memory: Any) -> values.Values:  # type: ignore[override]
        """Returns V of what is observed next, with what is remembered before it; see `Policy.value`."""
        leading, raw, held = self._rows(observations, memory)
        seen = normalize_observations(self.learner.normalizers, raw)
        learned = memories.value(self.agent.algorithm.setup.network, self.learner.params, seen, held)
        return values.in_both_units(self.learner, learned.reshape(leading))

"""Trains one agent on each of five pole lengths in one program: parameters of the environment are vmapped over."""

import gymnax
import jax
import jax.numpy as jnp

from purejaxrl_gae import PPOConfig, make_train

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def main(lengths: tuple[float, ...] = LENGTHS, **fields) -> jax.Array:
    """Returns the scores, `[lengths, updates]`; `fields` are the config's."""
    env, params = gymnax.make("CartPole-v1")
    fields = {"total_timesteps": 50_000, **fields}

    def train(length, key):
        config = PPOConfig(env=(env, params.replace(length=length)), **fields)
        return make_train(config)(key).metrics["score_last100"]

    keys = jax.random.split(jax.random.key(0), len(lengths))
    scores = jax.jit(jax.vmap(train))(jnp.array(lengths), keys)
    for length, score in zip(lengths, scores[:, -1], strict=True):
        print(f"a pole of {length} m: {float(score):.1f}")
    return scores


if __name__ == "__main__":
    main()

"""Differentiates a return by gamma and the learning rate, through two updates and the pendulum itself."""

import jax
import jax.numpy as jnp

from purejaxrl_gae import A2CConfig, PPOConfig, make_agent

CONFIG = A2CConfig(env="Pendulum-v1", num_envs=16, num_steps=32)


def main(config: A2CConfig | PPOConfig = CONFIG, steps: int = 50, copies: int = 16) -> dict[str, jax.Array]:
    """Returns the derivatives of the mean return of `steps` steps."""
    agent = make_agent(config)
    state = agent.init(jax.random.key(0))

    def return_after_two_updates(hyperparameters):
        later = state
        for _ in range(2):
            later, _ = agent.update(later, hyperparameters)
        policy, environment = agent.policy(later), agent.environment

        def one_step(carry, key):
            states, observations = carry
            step = environment.step(key, states, policy.act(observations))
            return (step.states, step.observations), step.rewards.mean()

        start = environment.reset(jax.random.key(1), copies)
        return jax.lax.scan(one_step, start, jax.random.split(jax.random.key(2), steps))[1].sum()

    now = {"gamma": jnp.float32(config.gamma), "learning_rate": jnp.float32(config.learning_rate)}
    value, gradient = jax.jit(jax.value_and_grad(return_after_two_updates))(now)
    print(f"return {float(value):.1f}; by gamma {gradient['gamma']:.3g}, by the rate {gradient['learning_rate']:.3g}")
    return gradient


if __name__ == "__main__":
    main()

"""Population-based training (arXiv 1711.09846) of 16 agents in one program: the worst quarter copies the best."""

import jax
import jax.numpy as jnp

from purejaxrl_gae import PPOConfig, make_agent

CONFIG = PPOConfig(env="CartPole-v1", num_envs=8, num_steps=64, anneal_lr=False)


def main(
    config: PPOConfig = CONFIG, num_agents: int = 16, generations: int = 10, updates: int = 5
) -> tuple[jax.Array, jax.Array]:
    """Returns the scores and the learning rates of every generation, `[generations, agents]` each."""
    agent, replaced = make_agent(config), num_agents // 4

    def one_update(carry, _):
        states, rates = carry
        states, metrics = jax.vmap(agent.update)(states, {"learning_rate": rates})
        return (states, rates), metrics["score_last100"]

    def one_generation(carry, key):
        (states, rates), scores = jax.lax.scan(one_update, carry, length=updates)
        order = jnp.argsort(jnp.nan_to_num(scores[-1], nan=-jnp.inf))
        parents = jnp.arange(num_agents).at[order[:replaced]].set(order[num_agents - replaced :])
        factors = jnp.where(jax.random.bernoulli(key, shape=(num_agents,)), 1.25, 0.8)
        copied = parents != jnp.arange(num_agents)
        learners = jax.tree.map(lambda leaf: leaf[parents], states.learner)
        used = rates
        rates = jnp.where(copied, rates[parents] * factors, rates)
        return (states.replace(learner=learners), rates), (scores[-1], used)

    @jax.jit
    def train(key):
        init_key, rate_key, key = jax.random.split(key, 3)
        states = jax.vmap(agent.init)(jax.random.split(init_key, num_agents))
        rates = 10 ** jax.random.uniform(rate_key, (num_agents,), minval=-4.5, maxval=-2.0)
        return jax.lax.scan(one_generation, (states, rates), jax.random.split(key, generations))[1]

    scores, rates = train(jax.random.key(0))
    for generation, (of_all, tried) in enumerate(zip(scores, rates, strict=True)):
        best = int(jnp.nanargmax(of_all))
        print(f"generation {generation}: best {float(of_all[best]):6.1f} with a rate of {float(tried[best]):.1e}")
    return scores, rates


if __name__ == "__main__":
    main()

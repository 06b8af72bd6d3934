"""Trains eight seeds in one program, prints their curve, acts with seed 3, and goes on with another rate."""

import jax

from purejaxrl_gae import PPOConfig, make_agent, make_train

CONFIG = PPOConfig(env="CartPole-v1", total_timesteps=50_000, anneal_lr=False)


def main(config: PPOConfig = CONFIG, num_seeds: int = 8) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the scores `[seeds, updates]`, those of going on, and one action of seed 3."""
    train = make_train(config)
    results = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), num_seeds))
    scores = results.metrics["score_last100"]
    for steps, at_once in zip(results.metrics["env_steps"][0], scores.T, strict=True):
        print(f"{int(steps):8,} steps: mean of the seeds {float(at_once.mean()):6.1f}")

    agent = make_agent(config)
    third = jax.tree.map(lambda leaf: leaf[3], results.state)
    action = agent.policy(third).act(third.world.observations[0])
    print(f"seed 3 plays {float(agent.evaluate(third, jax.random.key(1), 10).mean()):.1f} and would now take {action}")

    slower = jax.jit(jax.vmap(lambda state: train(None, {"learning_rate": 1e-4}, state)))
    further = slower(results.state).metrics["score_last100"]
    print(f"after as many steps again at a rate of 1e-4: {float(further[:, -1].mean()):.1f}")
    return scores, further, action


if __name__ == "__main__":
    main()

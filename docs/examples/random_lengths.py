"""Trains on one pole length and on a new one for every episode, and plays both agents on poles of other lengths."""

import jax

from purejaxrl_gae import PPOConfig, make_agent, make_train

LENGTHS = (0.05, 0.1, 0.5, 1.0, 5.0)
TRAINED_ON = {"one length": (), "random lengths": ("length=log:0.05:5.0",)}


def main(lengths: tuple[float, ...] = LENGTHS, **fields) -> dict[str, list[float]]:
    """Returns mean returns on each of the lengths, by what was trained on; `fields` are the config's."""
    players = [make_agent(PPOConfig(env="CartPole-v1", env_args=(f"length={length}",), **fields)) for length in lengths]
    scores = {}
    for name, randomize in TRAINED_ON.items():
        config = PPOConfig(**{"env": "CartPole-v1", "total_timesteps": 100_000, "randomize": randomize, **fields})
        state = jax.jit(make_train(config))(jax.random.key(0)).state
        scores[name] = [float(player.evaluate(state, jax.random.key(1)).mean()) for player in players]
        print(
            f"trained on {name:15}",
            *(f"{length} m: {score:5.1f}" for length, score in zip(lengths, scores[name], strict=True)),
        )
    return scores


if __name__ == "__main__":
    main()

"""python -m purejaxrl_gae.train MODULE:CLASS: trains by an algorithm of the user's own, or by one of ours."""

import sys

USAGE = "usage: python -m purejaxrl_gae.train ALGORITHM [flags]; ALGORITHM is ppo, …, or MODULE:CLASS of your own"


def main(arguments: list[str] | None = None) -> None:
    """Runs the algorithm that the first argument names from the command line and exits."""
    from purejaxrl_gae import cli

    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        sys.exit(2)
    cli.main(arguments[0], arguments[1:])


if __name__ == "__main__":
    main()

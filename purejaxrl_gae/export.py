"""python -m purejaxrl_gae.export: writes a policy.npz as JSON, from which pages and other languages act."""

from dataclasses import dataclass
from pathlib import Path

from purejaxrl_gae.settings.errors import UserError, first_line, shown
from purejaxrl_gae.settings.fields import check_types


@dataclass(frozen=True)
class ExportOptions:
    """Writes a policy.npz as JSON; `purejaxrl_gae.runs.policy_json` says what is in it."""

    policy: Path | None = None
    """a policy.npz"""
    output: Path = Path("policy.json")
    """file to write; .js calls addPolicy with the JSON, for pages that are opened from the file system"""


def export(options: ExportOptions) -> None:
    """Writes the file.

    Raises:
      UserError: the policy cannot be read or has no such form, or the file cannot be written.
    """
    from purejaxrl_gae.runs.numpy_policy import NumpyPolicy
    from purejaxrl_gae.runs.policies import load_policy
    from purejaxrl_gae.runs.policy_json import policy_json

    check_types(options)
    if options.policy is None:
        raise UserError("policy is not given; name a policy.npz with --policy")
    if options.output.suffix not in (".json", ".js"):
        raise UserError(f"output is {shown(str(options.output))}; it must end in .json or .js")
    try:
        policy = load_policy(options.policy)
        if not isinstance(policy, NumpyPolicy):
            raise ValueError("it is a program, and only a policy.npz has such a form")
        text = policy_json(policy)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"policy is {shown(str(options.policy))}, which cannot be read: {reason}") from None
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(f"addPolicy({text});\n" if options.output.suffix == ".js" else f"{text}\n")
    except OSError as error:
        raise UserError(f"output is {shown(str(options.output))}, which cannot be written: {error.strerror}") from None


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit, show

    def write():
        options = parse_options("export", ExportOptions, arguments)
        export(options)
        show(f"policy in {options.output}")

    run_and_exit(write)


if __name__ == "__main__":
    main()

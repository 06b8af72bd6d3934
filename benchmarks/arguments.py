"""What the benchmarks' commands make of their flags."""

from collections.abc import Iterable


def pythons_of_peers(peers: Iterable[str]) -> dict[str, str]:
    """`["sb3=PATH", ...]` as a mapping.

    Raises:
      SystemExit: one is not of that form.
    """
    pythons = {}
    for peer in peers:
        name, separator, path = peer.partition("=")
        if not separator or not name or not path:
            raise SystemExit(
                f"peer is {peer!r}; it must be NAME=PATH of a Python interpreter, as in sb3=venv/bin/python"
            )
        pythons[name] = path
    return pythons


def refuse_unknown_rows(rows: Iterable[str], known: Iterable[str]) -> None:
    """Refuses a row that a benchmark does not have.

    Raises:
      SystemExit: names it and the rows there are.
    """
    known = list(known)
    unknown = [row for row in rows if row not in known]
    if unknown:
        raise SystemExit(f"rows has {unknown[0]!r}; it must be some of {', '.join(known)}")

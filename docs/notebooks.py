"""python docs/notebooks.py: writes docs/tutorial/colab/NAME.ipynb of each docs/tutorial/NAME.md.

The Markdown is what one edits and reviews, and what the site executes. The notebook has the same cells without outputs,
before them one that installs the package where it is missing, as in Colab.
"""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial"
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", flags=re.DOTALL)
CODE_CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
PLACEHOLDER = "example.org"
MISSING = "upload a wheel beside this notebook (`pip wheel --no-deps .` makes one), then run this cell again"
FROM_WHEEL = f"""    wheels = glob.glob("purejaxrl_gae-*.whl")
    if not wheels:
        sys.exit("{MISSING}")
    %pip install -q "{{wheels[-1]}}[plot]\""""
RELATIVE_LINK = re.compile(r'\[([^\]]*)\]\((?!https://)[^)]*\)|<a href="(?!https://)[^"]*">([^<]*)</a>')


def sources() -> list[Path]:
    """Returns the notebooks as Markdown, in their order."""
    return sorted(path for path in TUTORIAL.glob("[0-9]*.md"))


def target(source: Path) -> Path:
    """Returns where the .ipynb of a notebook is."""
    return TUTORIAL / "colab" / f"{source.stem}.ipynb"


def code_cells(source: Path) -> list[str]:
    """Returns what a notebook executes, cell by cell."""
    return [code.rstrip("\n") for code in CODE_CELL.findall(source.read_text())]


def installing(repository: str | None = None) -> str:
    """Returns the first cell, which installs the package where it is missing, as in Colab.

    It takes a wheel that lies beside the notebook, or says how to get one; with an address, what lies there.

    Args:
      repository: address to install from; None: the one that pyproject.toml names.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    repository = repository or project["urls"]["Repository"]
    if PLACEHOLDER in repository:
        imports, install = "import glob\nimport importlib.util\nimport sys", FROM_WHEEL
    else:
        imports, install = "import importlib.util", f'    %pip install -q "{project["name"]}[plot] @ git+{repository}"'
    return f'{imports}\n\nif importlib.util.find_spec("purejaxrl_gae") is None:\n{install}'


def as_notebook(source: Path) -> str:
    """Returns the text of the .ipynb."""
    pieces = CODE_CELL.split(FRONT_MATTER.sub("", source.read_text()))
    cells = [cell("code", installing(), "install")]
    for number, piece in enumerate(pieces):
        kind = "code" if number % 2 else "markdown"
        # links lead to pages of the site, which lies nowhere beside a notebook in Colab: their text stays
        text = piece if kind == "code" else RELATIVE_LINK.sub(lambda link: link[1] or link[2], piece)
        if text.strip():
            cells.append(cell(kind, text.strip("\n"), f"cell-{number}"))
    document = {
        "cells": cells,
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def cell(kind: str, text: str, name: str) -> dict[str, object]:
    """Returns one cell as the format has it, without outputs."""
    common: dict[str, object] = {
        "cell_type": kind,
        "id": name,
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return common | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def main() -> None:
    """Writes all of them."""
    for source in sources():
        target(source).parent.mkdir(exist_ok=True)
        target(source).write_text(as_notebook(source))
        print(f"wrote {target(source).relative_to(ROOT)}")


if __name__ == "__main__":
    main()

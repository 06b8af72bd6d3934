"""Settings of the documentation site: `pip install ".[docs]" && python -m sphinx -W docs docs/_build`."""

import os
import re
import shutil
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # docstrings are read by importing, which is to wake no accelerator

ROOT = Path(__file__).parent.parent
INTERACTIVE_PAGES = ("gae_explorer", "policy_player")

project = "purejaxrl_gae"
author = copyright = "The purejaxrl_gae authors"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples", "tutorial/colab"]
nitpicky = False

html_math_renderer = "mathml"
html_theme = "furo"  # light and dark, as the reader's system says, and a button
html_title = f"purejaxrl_gae {release}"
html_show_sourcelink = False
html_static_path: list[str] = []

nb_execution_mode = "cache"  # docs/tutorial: executed again where its code has changed
nb_execution_timeout = 600  # seconds of one cell
nb_execution_raise_on_error = True
nb_execution_show_tb = True

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the signature of the source; the docstring has shapes
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

EQUATION = re.compile(r"^\s*\S.*( = | <= |^minimise |^maximise ).*(_t|_\{|\^|\|\||E\[|Phi|sqrt|sum)")
STARS_OF_ARGUMENTS = re.compile(r"^\s*\*{1,2}\w+:")


def as_restructured_text(app, what, name, obj, options, lines):
    """Rewrites a docstring in place, whose code has single backticks and whose equations are plain text, as reST."""
    del app, name, obj, options
    lines[:] = [changed for line in in_blocks(lines) for changed in line]
    if what == "attribute":
        lines[:0] = ["..", ""]  # or napoleon takes what stands before the first colon for a type


def in_blocks(lines):
    """Yields each line as the lines to put in its place: examples as they are, equations as literal blocks."""
    in_example = in_equation = False
    for line in lines:
        in_example = line.strip().startswith(">>>") or (in_example and bool(line.strip()))
        if in_example:
            yield [line]
            continue
        was_in_equation, in_equation = in_equation, bool(EQUATION.match(line)) and not line.rstrip().endswith(".")
        indent = line[: len(line) - len(line.lstrip())]
        if in_equation:
            yield ["", f"{indent}::", "", f"{indent}    {line.strip()}"] if not was_in_equation else [f"    {line}"]
        else:
            yield ["", escaped(line)] if was_in_equation else [escaped(line)]


def escaped(line):
    """Returns a line of prose with ``code`` in double backticks and nothing else that reST would take for markup."""
    if STARS_OF_ARGUMENTS.match(line):
        return line
    pieces = line.replace("``", "`").split("`")
    prose = [re.sub(r"([*|\\]|(?<=\w)_(?!\w))", r"\\\1", piece) for piece in pieces[::2]]
    code = [f"``{piece}``" for piece in pieces[1::2]]
    return "".join(part for pair in zip(prose, [*code, ""], strict=False) for part in pair)


def skip_constructors(app, what, name, obj, skip, options):
    """Leaves out what dataclasses and named tuples make by themselves; their fields stand in the docstring."""
    del app, what, obj, options
    return skip or name in ("__init__", "__new__")


def copy_interactive_pages(app, exception):
    """Copies the pages that are no documents of Sphinx's to the same places beside those that are."""
    if exception is None and app.builder.format == "html":
        for name in INTERACTIVE_PAGES:
            shutil.copytree(ROOT / "docs" / name, Path(app.outdir) / name, dirs_exist_ok=True)


def write_inline_math(translator, node):
    """Writes a formula as MathML, which browsers draw by themselves: no script, nothing to fetch."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_math_block(translator, node):
    """Writes a displayed formula; see `write_inline_math`."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math" style="overflow-x: auto; margin: 1em 0">{formula}</div>')
    raise nodes.SkipNode


def setup(app):
    """Has formulas written as MathML, docstrings rewritten before napoleon, interactive pages copied at the end."""
    app.connect("autodoc-skip-member", skip_constructors)
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_math_block, None))
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
    app.connect("build-finished", copy_interactive_pages)

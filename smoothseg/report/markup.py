"""How a table looks in markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from smoothseg.report.layout import NO_ROWS, comparable, long, wide
from smoothseg.report.rows import Row

__all__ = ["latex", "markdown"]


def markdown(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return a markdown table with its footnotes as a list; the best of each sigma is bold."""
    if not rows:
        return NO_ROWS + "\n"
    layout = wide(rows, timing=timing) if comparable(rows) else long(rows, timing=timing)
    head = ["method"]
    for group in layout.groups:
        head += ["<br>".join((*group.heading, column)) for column in group.columns]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for line in layout.lines:
        cells = (f"**{cell.text}**" if cell.best else cell.text for cell in line.cells)
        lines.append([_markdown(line.label), *cells])
    notes = [_markdown(note) for note in layout.notes]
    if any(cell.best for line in layout.lines for cell in line.cells):
        several = len({row.tolerates for row in rows}) > 1
        among = ", among those that allow as many wrong pixels" if several else ""
        what = "mIoU, CIG and cCIG" if any(row.grouped for row in rows) else "accuracy and mIoU"
        notes.append(f"bold: the best {what} at this σ{among}.")
    return (
        "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + "\n"
        + "".join(f"- {note}\n" for note in notes)
    )


def latex(rows: Sequence[Row], *, timing: bool = False) -> str:
    """Return a LaTeX tabular for booktabs, with its footnotes as comments; the best of each sigma is bold.

    It needs `\\usepackage{booktabs}`; letters that mean something to LaTeX are escaped.
    """
    if not rows:
        return f"% {NO_ROWS}\n"
    layout = wide(rows, timing=timing) if comparable(rows) else long(rows, timing=timing)
    spans = [len(group.columns) for group in layout.groups]
    lines = [f"\\begin{{tabular}}{{l{''.join(' ' + 'r' * span for span in spans)}}}", r"\toprule"]
    for level in range(max(len(group.heading) for group in layout.groups)):
        cells = [
            rf"\multicolumn{{{span}}}{{c}}{{{_latex(group.heading[level]) if level < len(group.heading) else ''}}}"
            for group, span in zip(layout.groups, spans, strict=True)
        ]
        lines.append(" & ".join(["", *cells]) + r" \\")
    first, rules = 2, []
    for group, span in zip(layout.groups, spans, strict=True):
        if group.heading:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    if rules:
        lines.append("".join(rules))
    lines.append(
        " & ".join(["method", *(_latex(c) for group in layout.groups for c in group.columns)]) + r" \\"
    )
    lines.append(r"\midrule")
    for line in layout.lines:
        cells = [
            rf"\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text) for cell in line.cells
        ]
        lines.append(" & ".join([_latex(line.label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in layout.notes)]
    return "\n".join(lines) + "\n"


_MARKDOWN = str.maketrans({each: f"\\{each}" for each in r"\`*_[]<>|~&$"})
"""What starts markup, a tag, an entity, a formula or a cell in markdown."""


def _markdown(text: str) -> str:
    return text.translate(_MARKDOWN)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "σ": r"$\sigma$", "τ": r"$\tau$", "α": r"$\alpha$",
        "–": "--",
    }
)  # fmt: skip


def _latex(text: str) -> str:
    return text.translate(_LATEX)

"""LaTeX for papers: it marks the best, groups and gains, escapes special characters, and compiles where LaTeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import finished

from fedsynth.benchmarks.leaderboard.latex import escape, to_latex
from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.views.view import Column, TableView

ODD = r"a_b & 50 % of {x} #1 $ ~ ^ \ T1->T2 <>| +- `code_1`"


def board(tmp_path: Path) -> str:
    """Three methods on 5 seeds: one far above `local`, and one equal to it whose name has LaTeX's special characters."""
    store = Store(tmp_path)
    for seed in range(5):
        wiggle = 0.1 * (-1) ** seed
        for method, gain in (("fed_avg", 2.0), ("local", 0.0), ("50%&", 0.03)):
            values = [19 + gain + wiggle * (gain > 1), 20 + gain + 2 * wiggle * (0 < gain < 1), 21 + gain]
            places = {(site, task): values for site, tasks in finished.TASKS.items() for task in tasks}
            finished.finish(store, finished.identity(method={"name": method}, seed=seed), places)
    return to_latex(table_views(finished_runs(store)))


def test_rows_with_their_marks(tmp_path: Path) -> None:
    text = board(tmp_path)
    lines = [line.split(" & ") for line in text.splitlines() if " & " in line]
    rows = {line[0]: line for line in lines if line[0] in (r"fed\_avg", r"50\%\&", "local")}
    assert list(rows) == [r"fed\_avg", r"50\%\&", "local"]
    first, second, third = rows.values()
    assert first[1].startswith(r"\textbf{22.01}\,$\pm$\,")
    assert first[1].endswith(r"$^{\mathrm{a}}$")
    assert second[1].startswith(r"\underline{20.04}")
    assert second[1].endswith(r"$^{\mathrm{b}}$")
    assert third[1].startswith(r"20.00\,$\pm$")
    gains = [next((cell for cell in row if cell.endswith("$^{*}$")), "") for row in rows.values()]
    assert gains[0].startswith(r"\textbf{2.01}\,$\pm$")
    assert gains[1:] == ["", ""]
    assert "--" in third


def test_every_gain_of_a_table_has_its_own_star() -> None:
    gain = [Column(f"{name}gain", (1.0, 2.0), 2, better=1) for name in ("4 ", "8 ")]
    margins = [Column(f"{column.name} +-", (0.5, 0.6), 2) for column in gain]
    tests = [
        Column(f"{column.name} p", values, 4) for column, values in zip(gain, ((0.01, 0.2), (0.3, 0.04)), strict=True)
    ]
    text = to_latex([TableView("few", "selected", (Column("method", ("a", "b")), *gain, *margins, *tests))])
    assert r"a & \underline{1.00}\,$\pm$\,0.50$^{*}$ & \underline{1.00}\,$\pm$\,0.50 \\" in text
    assert r"b & \textbf{2.00}\,$\pm$\,0.60 & \textbf{2.00}\,$\pm$\,0.60$^{*}$ \\" in text


def test_it_is_balanced(tmp_path: Path) -> None:
    balanced(board(tmp_path))
    view = TableView(ODD, ODD, (Column("method", (ODD, "b")), Column(ODD, (1.0, None), 2, better=1)), (ODD,), (ODD,))
    balanced(to_latex([view, view]))


def balanced(text: str) -> None:
    """Braces, environments and columns fit, and nothing special is left unescaped."""
    plain = re.sub(r"\\[\\{}%&$#_~^]", "", text)
    depth = 0
    for sign in plain:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin\{(\w+\*?)\}", text) == list(
        reversed(re.findall(r"\\end\{(\w+\*?)\}", text))
    ) or text.count(r"\begin") == text.count(r"\end")
    assert plain.count("$") % 2 == 0
    for table in text.split(r"\begin{tabular}{")[1:]:
        spec, _, rest = table.partition("}")
        body = rest.partition(r"\end{tabular}")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(spec)}


def test_escaped() -> None:
    assert escape("a_b & 50 %") == r"a\_b \& 50 \%"
    assert escape("\\{}~^#$") == r"\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#\$"
    assert escape("T1->T2 +-") == r"T1$\to$T2 $\pm$"
    assert (
        escape("over `local_x`, alone `") == r"over \textasciigrave{}local\_x\textasciigrave{}, alone \textasciigrave{}"
    )
    assert escape("over `local_x`") == r"over \texttt{local\_x}"


@pytest.mark.skipif(not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="needs pdflatex or tectonic")
def test_it_compiles(tmp_path: Path) -> None:
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\usepackage[T1]{fontenc}\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{head}{board(tmp_path)}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    subprocess.run([*command, "paper.tex"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "paper.pdf").stat().st_size > 1000

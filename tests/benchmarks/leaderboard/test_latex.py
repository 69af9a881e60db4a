"""LaTeX for papers: it marks the best, flags and gains, escapes special characters, and fits a page where LaTeX is installed."""

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
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.count(" & ") == 6]
    head, *rows = lines[1:]
    assert head == ["method", "PSNR", "groups", "SSIM", "gain", "site", "MB"]
    first, second, third = rows[:3]
    assert [row[0] for row in rows[:3]] == [r"fed\_avg", r"50\%\&", "local"]
    assert first[1].startswith(r"\textbf{22.01}\,$\pm$\,")
    assert second[1].startswith(r"\underline{20.04}\,$\pm$\,")
    assert third[1].startswith(r"20.00\,$\pm$\,")
    assert [row[2] for row in rows[:3]] == ["a", "b", "b"]
    assert first[4].startswith(r"\textbf{2.01}\,$\pm$\,")
    assert [row[4].endswith("$^{*}$") for row in rows[:3]] == [True, False, False]
    assert third[4] == "--"
    assert rows[3][:2] == [r"look-up table$^{\mathrm{a}}$", "18.25"]
    assert "$^{\\mathrm{a}}$ reference." in text


def test_every_gain_of_a_table_has_its_own_star() -> None:
    gain = [
        Column(f"{name} gain", (1.0, 2.0), 2, better=1, margins=(0.5, 0.6), marks=marks)
        for name, marks in (("4", ("*", "")), ("8", ("", "*")))
    ]
    text = to_latex([TableView("few", "selected", (Column("method", ("a", "b")), *gain))])
    assert r"a & \underline{1.00}\,$\pm$\,0.50$^{*}$ & \underline{1.00}\,$\pm$\,0.50 \\" in text
    assert r"b & \textbf{2.00}\,$\pm$\,0.60 & \textbf{2.00}\,$\pm$\,0.60$^{*}$ \\" in text


def test_a_loss_has_a_minus_and_a_table_without_a_leader_says_nothing_of_one() -> None:
    gain = Column("gain", (-1.0, 2.0), 2, margins=(0.5, 0.6))
    text = to_latex([TableView("few", "selected", (Column("method", ("a", "b-c")), gain))])
    assert r"a & $-$1.00\,$\pm$\,0.50 \\" in text
    assert "b-c & 2.00" in text
    assert r"\caption{few.}" in text


def test_caption_and_label_are_of_choice() -> None:
    views = [TableView("few", "selected", (Column("method", ("a", "b")),), caption=("What it is.",))] * 2
    text = to_latex(views, "My 2 tables", "mine")
    assert text.count(r"\caption{My 2 tables}") == 2
    assert [line for line in text.splitlines() if "label" in line] == [r"\label{tab:mine}", r"\label{tab:mine2}"]
    assert "What it is." not in text
    assert "What it is." in to_latex(views)


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
        spec, _, rest = table.partition("\n")
        body = rest.partition(r"\end{tabular}")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {
            len(re.findall(r"[lr]|p\{", spec.replace("raggedright", "")))
        }


def test_a_table_that_needs_two_parts_has_them_alike() -> None:
    many = (Column("method", ("local",)), *(Column(f"site{number} T1->T2", (20.25,), 2) for number in range(8)))
    parts = to_latex([TableView("many", "selected", many)]).split(r"\begin{tabular}{")[1:]
    assert [part.partition("\n")[0] for part in parts] == ["@{}lrrrr@{}}"] * 2


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
    head = (
        r"\documentclass[twocolumn]{article}\usepackage[margin=0.75in]{geometry}\usepackage{array,booktabs}"
        r"\usepackage[T1]{fontenc}\begin{document}"
    )
    long = TableView(
        "many",
        "selected",
        (
            Column("rank", ("1-3",) * 2),
            Column("method", ("lgfedavg share=0.338 lr=0.00859", "pflsynth adversarial=0.0")),
            Column("network", ("personalised condition=none", "personalised gate=false")),
            *(Column(f"site{number} T2->FLAIR", (20.25,) * 2, 2, margins=(0.5,) * 2) for number in range(12)),
        ),
    )
    (tmp_path / "paper.tex").write_text(f"{head}\n{board(tmp_path)}{to_latex([long])}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    told = subprocess.run([*command, "paper.tex"], cwd=tmp_path, check=True, capture_output=True).stdout.decode()
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
    assert "Overfull" not in told  # nothing is wider than the page, in letters that are not shrunk

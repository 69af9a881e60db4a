"""The report in headless Chromium: what a reader clicks and types does what it says, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import finished
from support.browser import Browser, browser
from support.finished import fill_ranked
from support.stores import fill

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.record import run_name
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.metric import Metric

NAMES = "[...document.querySelectorAll('{} tbody th')].map((cell) => cell.textContent)"
FLOORS = ("copied source", "mean training image", "look-up table")
LEADERBOARD = "#table-1-panel .scroll"  # the first is the leaderboard
CURVES = "[...document.querySelectorAll('#table-1-panel svg')].find((one) => one.ariaLabel?.startsWith('validation'))"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenarios of four methods, and a smoke run that diverged."""
    results = tmp_path_factory.mktemp("results")
    fill(Store(results), methods=4, scenarios=5, seeds=2, rounds=5, side=16)
    what = finished.identity(scenario={"name": "common"}, trainer={"rounds": 2})
    finished.finish(Store(results), what, status="diverged", reason="the loss is not finite", selected_round=0)
    assert main(["report", "--results", str(results)]) == 0
    return results / "report" / "index.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def tab(chromium: Browser, index: Path) -> Iterator[Browser]:
    """The page, fresh; every test ends without a complaint in the console."""
    chromium.problems.clear()
    chromium.open(index)
    yield chromium
    assert chromium.problems == []


def click(tab: Browser, selector: str) -> None:
    tab.run(f"document.querySelector({selector!r}).click()")
    settle(tab)


def settle(tab: Browser) -> None:
    """Until charts have been measured and drawn."""
    tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def choose(tab: Browser, label: str, value: str) -> None:
    """A value of the choice that begins with a label, in the open tab."""
    tab.run(
        f"""(() => {{
        const labels = [...document.querySelectorAll("section:not([hidden]) label")];
        const label = labels.find((one) => one.textContent.startsWith({label!r}));
        const select = label.querySelector("select");
        select.value = {value!r};
        if (select.value !== {value!r}) throw Error("no such choice");
        select.dispatchEvent(new Event("change"));
        }})()"""
    )
    settle(tab)


def write(tab: Browser, text: str) -> None:
    """A filter in the open tab."""
    script = "(() => {{ const input = document.querySelector('section:not([hidden]) input[type=search]'); input.value = {!r}; "
    tab.run((script + "input.dispatchEvent(new Event('input')); }})()").format(text))


def rows(tab: Browser, place: str = LEADERBOARD) -> list[str]:
    found: list[str] = tab.run(NAMES.format(place))
    return found


def test_a_tab_is_drawn_when_it_is_opened(tab: Browser) -> None:
    assert tab.run("document.querySelectorAll('section').length") == 1
    click(tab, "#tab-table-1")
    assert tab.run("location.hash") == "#table-1"
    assert tab.run("document.querySelector('#table-1-panel h2').textContent") == "scenario0 on phantom"
    assert tab.run("[...document.querySelectorAll('section')].map((one) => one.hidden)") == [True, False]
    assert tab.run("document.querySelector('#tab-table-1').getAttribute('aria-selected')") == "true"
    tab.run("document.querySelector('#tab-table-1').focus()")
    tab.press("ArrowRight")
    settle(tab)
    assert tab.run("document.activeElement.id") == "tab-table-2"
    assert tab.run("document.querySelector('#table-2-panel').hidden") is False


def test_headings_sort_by_click_and_by_keyboard(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    heads = tab.run(
        f"[...document.querySelector({LEADERBOARD!r}).querySelectorAll('thead th')].map((one) => one.textContent)"
    )
    at = heads.index("PSNR") + 1
    head = f"{LEADERBOARD} thead th:nth-child({at})"
    cells = f"[...document.querySelectorAll('{LEADERBOARD}')][0].querySelectorAll('tbody td:nth-child({at})')"
    click(tab, f"{head} button")
    assert tab.run(f"document.querySelector('{head}').getAttribute('aria-sort')") == "descending"
    falling = tab.run(f"[...{cells}].map((cell) => parseFloat(cell.textContent))")
    assert falling == sorted(falling, reverse=True)
    tab.run(f"document.querySelector('{head} button').focus()")
    tab.press("Enter")
    assert tab.run(f"document.querySelector('{head}').getAttribute('aria-sort')") == "ascending"
    assert tab.run(f"[...{cells}].map((cell) => parseFloat(cell.textContent))") == falling[::-1]
    assert (
        tab.run(
            f"document.querySelector({LEADERBOARD!r}).querySelectorAll('[aria-sort=ascending], [aria-sort=descending]').length"
        )
        == 1
    )


def test_a_filter_holds_for_tables_curves_and_images(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    everything = set(rows(tab))
    assert {"local", "method01", "method02", "method03"} <= everything
    write(tab, "method 03")
    settle(tab)
    assert {name for name in rows(tab) if "local" in name or "method" in name} == {"method03"}
    assert tab.run(f"{CURVES}.querySelectorAll('.series').length") == 1
    captions = tab.run(
        "[...document.querySelectorAll('#table-1-panel .tiles figcaption')].map((one) => one.textContent)"
    )
    assert captions == ["source FLAIR", "target T2", "method03"]
    for text, names in {
        "local, method 01": {"local", "method01"},
        "/method0[13]$/": {"method01", "method03"},
        "nobody": set(),
    }.items():
        write(tab, text)
        assert {name for name in rows(tab, LEADERBOARD) if "local" in name or "method" in name} == names
    write(tab, "/method0[13/")
    assert not tab.run("document.querySelector('#table-1-panel input[type=search]').checkValidity()")
    write(tab, "")
    assert set(rows(tab)) == everything


def test_a_link_shows_what_its_sender_saw(tab: Browser, index: Path) -> None:
    click(tab, "#tab-table-1")
    write(tab, "method")
    choose(tab, "Columns", "SSIM")
    choose(tab, "Metric", "nmse")
    choose(tab, "Over", "MB")
    names = f"[...document.querySelectorAll('{LEADERBOARD} thead button')].map((one) => one.textContent)"
    ssim = tab.run(names).index("SSIM") + 1
    click(tab, f"{LEADERBOARD} thead th:nth-child({ssim}) button")
    seen = "[location.hash, document.querySelector('#table-1-panel').innerText]"
    before = tab.run(seen)
    assert before[0] == "#table-1?filter=method&columns=SSIM&sites-metric=nmse&axis=MB&sort=-SSIM"
    tab.open(index)
    tab.run(f"location.hash = {before[0]!r}")
    settle(tab)
    assert tab.run(seen) == before
    click(tab, "#tab-overview")
    click(tab, "#tab-table-1")
    assert tab.run(seen) == before


SAVED = """(() => {
  URL.createObjectURL = (blob) => { window.saved = blob; return "data:,"; };
  HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };
})()"""


def test_a_table_is_saved_as_it_is_seen(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    tab.run(SAVED)
    write(tab, "method02, local")
    click(tab, "#table-1-panel .save")
    assert tab.run("savedAs") == "scenario0-on-phantom.csv"
    lines = [line.split(",") for line in tab.run("saved.text()").splitlines()]
    shown = "[...document.querySelectorAll('#table-1-panel .scroll')[0].querySelectorAll('{}')].map((one) => one.textContent)"
    assert lines[0] == tab.run(shown.format("thead th:not([hidden])"))
    names = [line[lines[0].index("method")] for line in lines[1:]]
    assert names == rows(tab)[: len(names)]
    assert set(names) == {"method02", "local", *FLOORS}


def test_a_figure_is_saved_with_its_names_and_without_what_only_a_page_knows(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    tab.run(SAVED)
    click(tab, "#table-1-panel .legend .save")
    text = tab.run("saved.text()")
    assert tab.run("savedAs") == "scenario0-on-phantom-curves.svg"
    found = ElementTree.fromstring(text)
    assert found.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert "class=" not in text
    assert {"local", "method01", "validation PSNR, dB"} <= {own.text for own in found.iter()}


def test_a_heading_says_what_its_column_means(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    tab.run(f"document.querySelector('{LEADERBOARD} thead th.score button').focus()")
    assert Metric.of("psnr").sentence in tab.run("document.querySelector('#tip').textContent")
    assert tab.run("document.querySelector('#tip').checkVisibility()")
    tab.run("document.activeElement.blur()")
    assert not tab.run("document.querySelector('#tip').checkVisibility()")


def test_a_row_leads_to_its_method_and_its_records(tab: Browser, index: Path) -> None:
    click(tab, "#tab-table-1")
    names = rows(tab)
    at = names.index("local") + 1
    click(tab, f"{LEADERBOARD} tbody tr:nth-child({at}) th button")
    assert "Local training leaves every site to itself" in tab.run("document.querySelector('dialog').innerText")
    links = tab.run("[...document.querySelectorAll('dialog li a')].map((one) => one.getAttribute('href'))")
    assert [(index.parent / link).resolve().is_file() for link in links] == [True, True]
    click(tab, "dialog p a[href^='#runs']")
    assert tab.run("location.hash").startswith("#runs?filter=")
    assert {name.split("-")[0] for name in rows(tab, "#runs-panel")} == {"local"}
    assert len(rows(tab, "#runs-panel")) == 2


def test_curves_have_a_chart_for_each_row_or_site(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    titles = "[...document.querySelectorAll('#table-1-panel .charts h4')].map((one) => one.textContent)"
    svgs = "[...document.querySelector('#table-1-panel .charts').querySelectorAll('svg')]"
    charts = f"{svgs}.map((one) => one.querySelectorAll('.series').length)"
    choose(tab, "Shown in", "row")
    assert sorted(tab.run(titles)) == ["local", "method01", "method02", "method03"]
    assert tab.run(charts) == [1, 1, 1, 1]
    choose(tab, "Shown in", "site")
    assert tab.run(titles) == ["brats", "ixi", "midas"]
    click(tab, "#table-1-panel .legend button")
    assert tab.run(charts) == [3, 3, 3]


def test_sentences_follow_the_filter(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    texts = "[...document.querySelectorAll('#table-1-panel p')].map((one) => one.textContent)"
    told = f"{texts}.find((text) => text.includes('as few bytes'))"
    assert "local" in tab.run(told)
    write(tab, "method")
    assert "local" not in tab.run(told)


def test_gains_and_pairs_follow_the_filter(chromium: Browser, tmp_path: Path) -> None:
    fill_ranked(Store(tmp_path), 1)
    assert main(["report", "--results", str(tmp_path)]) == 0
    chromium.open(tmp_path / "report" / "index.html")
    click(chromium, "#tab-table-1")
    panel = "document.querySelector('#table-1-panel')"
    paragraphs = f"[...{panel}.querySelectorAll('p')].map((one) => one.textContent)"
    told = f"{paragraphs}.find((text) => text.startsWith('Shown to be'))"
    forest = f"[...{panel}.querySelectorAll('svg')].find((one) => one.ariaLabel?.startsWith('gain in PSNR over'))"
    names = f"[...{forest}.querySelectorAll('.series title')].map((one) => one.textContent.split(':')[0])"
    signs = f"[...{panel}.querySelectorAll('.pairs tbody tr')].map((row) => row.textContent)"
    assert chromium.run(names) == ["fedavg", "fedbn"]
    assert "above local: fedavg; fedbn" in chromium.run(told)
    assert chromium.run(signs) == ["1 fedavg++", "2 fedbn−+", "3 local−−"]
    choose(chromium, "Gain over", "fedavg")
    assert chromium.run(names) == ["fedbn", "local"]
    assert "below fedavg: fedbn; local" in chromium.run(told)
    write(chromium, "local")
    settle(chromium)
    assert chromium.run(names) == ["local"]
    assert "below fedavg: local." in chromium.run(told)
    assert chromium.run(signs) == ["1 local"]


def test_ticks_are_where_the_data_are(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    newcomers = (
        "[...document.querySelectorAll('#table-1-panel svg')].find((one) => one.ariaLabel?.includes('newcomer'))"
    )
    assert tab.run(f"[...{newcomers}.querySelectorAll('.tick')].map((one) => one.textContent)") == [
        "0",
        "1",
        "2",
        "4",
        "8",
    ]
    pareto = "[...document.querySelectorAll('#table-1-panel svg')].find((one) => one.ariaLabel?.includes('MB of a whole run'))"
    assert len(tab.run(f"[...{pareto}.querySelectorAll('.tick')].map((one) => one.textContent)")) > 2
    assert tab.run(f"[...{CURVES}.querySelectorAll('.tick')].map((one) => one.textContent)") == [
        "1",
        "2",
        "3",
        "4",
        "5",
    ]


def test_reference_lines_stand_between_the_rows_and_in_the_charts(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    lines = f"[...document.querySelector('{LEADERBOARD}').querySelectorAll('tr.line th')].map((one) => one.textContent)"
    assert tab.run(lines) == ["look-up table", "mean training image", "copied source"]  # by their scores
    write(tab, "method02")
    assert set(tab.run(lines)) == set(FLOORS)
    named = "[...one.querySelectorAll('.line-name')].map((name) => name.textContent).join(' ')"
    names = f"[...document.querySelectorAll('#table-1-panel .chart')].map((one) => {named})"
    curves, pareto = tab.run(names)[1:3]  # after the gains
    assert "look-up table" in curves
    assert "look-up table 18.3" in pareto  # below the chart


def test_no_score_of_a_row_below_the_look_up_table_is_the_best(tmp_path: Path, chromium: Browser) -> None:
    for method, level in (("fedavg", 17.0), ("local", 16.0)):
        finished.finish(Store(tmp_path), finished.identity({"name": method}), level)
    assert main(["report", "--results", str(tmp_path)]) == 0
    chromium.open(tmp_path / "report" / "index.html")
    click(chromium, "#tab-table-0")
    assert chromium.run("document.querySelectorAll('#table-0-panel td.shaded').length") > 0
    assert chromium.run("document.querySelectorAll('#table-0-panel td.best').length") == 0


def test_mean_ranks_are_drawn_where_tables_are_ranked(tmp_path: Path, chromium: Browser) -> None:
    fill_ranked(Store(tmp_path), 5)
    assert main(["report", "--results", str(tmp_path)]) == 0
    chromium.open(tmp_path / "report" / "index.html")
    settle(chromium)
    titles = (
        "[...document.querySelector('#overview-panel svg').querySelectorAll('title')].map((one) => one.textContent)"
    )
    assert chromium.run(titles) == ["fedavg", "fedbn", "local"]


def test_one_table_is_drawn_against_another(tab: Browser) -> None:
    names = "[...document.querySelectorAll('#overview-panel .chart')].at(-1).querySelectorAll('.series').length"
    assert tab.run(names) == 4
    choose(tab, "Of", "1")
    assert tab.run(names) == 3  # `local` gains nothing over itself


def test_method_and_score_stay_in_sight(chromium: Browser, index: Path) -> None:
    chromium.open(index, width=390, height=844)
    click(chromium, "#tab-table-1")
    choose(chromium, "Columns", "all")
    edges = (
        f"[...document.querySelector('{LEADERBOARD} tbody tr').querySelectorAll('.head, .score')]"
        ".map((one) => [Math.round(one.getBoundingClientRect().left), Math.round(one.getBoundingClientRect().right)])"
    )
    chromium.run(f"document.querySelector('{LEADERBOARD}').scrollLeft = 900")
    settle(chromium)
    left = chromium.run(f"Math.round(document.querySelector('{LEADERBOARD}').getBoundingClientRect().left)")
    (head, score) = chromium.run(edges)
    assert head[0] == left
    assert abs(score[0] - head[1]) <= 1
    assert score[1] < 0.75 * 390  # there is room for what is scrolled
    click(chromium, "#tab-runs")
    assert chromium.run("document.querySelector('#runs-panel thead .score').textContent") == "score"


def test_the_open_tab_is_in_sight(chromium: Browser, index: Path) -> None:
    chromium.open(index, width=390, height=844)
    for name in ("runs", "overview"):
        click(chromium, f"#tab-{name}")
        box, tab = (
            chromium.run(
                f"(({{ top, bottom }}) => [top, bottom])(document.querySelector({own!r}).getBoundingClientRect())"
            )
            for own in ("nav", f"#tab-{name}")
        )
        assert box[0] <= tab[0] < tab[1] <= box[1]


def test_the_main_columns_fit_a_desk(chromium: Browser, index: Path) -> None:
    chromium.open(index, width=1400)
    click(chromium, "#tab-table-1")
    table = f"document.querySelector({LEADERBOARD!r})"
    assert chromium.run(f"{table}.scrollWidth - {table}.clientWidth") == 0
    heights = f"[...{table}.querySelectorAll('tr')].map((row) => row.getBoundingClientRect().height % 1)"
    assert set(chromium.run(heights)) == {
        0
    }  # so that the borders of columns that stay in sight are level with the others'


def test_of_an_error_the_page_has_its_kind_alone(tmp_path: Path, chromium: Browser) -> None:
    """Names that look like HTML are in no record; the text of an error may have anything."""
    note, store = "<img src=x onerror=alert(1)>javascript:alert(1)", Store(tmp_path)
    for name in ("local", "fedavg"):
        finished.finish(store, finished.identity(method={"name": name}))
    begun = finished.identity(method={"name": "fedbn"})
    store.folder(run_name(begun)).mkdir()
    store.begin(run_name(begun), begun)
    store.fail(run_name(begun), ValueError(note))
    assert main(["report", "--results", str(tmp_path)]) == 0
    chromium.problems.clear()
    chromium.open(tmp_path / "report" / "index.html")
    for name in ("table-0", "runs", "failures"):
        click(chromium, f"#tab-{name}")
    shown = chromium.run("document.querySelector('#failures-panel').innerText")
    assert "ValueError" in shown
    assert note not in shown
    assert chromium.run("document.querySelectorAll('main img').length") == 0
    links = chromium.run("[...document.querySelectorAll('a')].map((one) => one.protocol)")
    assert set(links) <= {"file:", "https:"}
    assert chromium.problems == []


def test_metrics_are_picked(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    hidden = f"document.querySelector({LEADERBOARD!r}).querySelectorAll('thead th[hidden]').length"
    assert tab.run(hidden) > 0
    choose(tab, "Columns", "all")
    assert tab.run(hidden) == 0
    choose(tab, "Columns", "SSIM")
    shown = tab.run(
        f"[...document.querySelector({LEADERBOARD!r}).querySelectorAll('thead th:not([hidden])')].map((one) => one.textContent)"
    )
    assert "SSIM" in shown
    assert not {"PSNR", "PSNR sd", "NMSE"} & set(shown)
    choose(tab, "Metric", "nmse")
    means = "[...document.querySelectorAll('#table-1-panel .scroll')][1]"
    assert set(tab.run(f"[...{means}.querySelectorAll('tbody td')].map((one) => one.textContent)")) == {"0.1000"}


def test_curves_switch_between_rounds_bytes_and_seconds(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    axis = f"{CURVES}.ariaLabel"
    assert tab.run(axis) == "validation PSNR, dB against round"
    choose(tab, "Over", "MB")
    assert "MB sent by all sites" in tab.run(axis)
    choose(tab, "Over", "seconds")
    assert "seconds of training" in tab.run(axis)
    choose(tab, "Of", "ixi")
    lines = f"{CURVES}.querySelectorAll('.series .line').length"
    assert tab.run(lines) == 4
    click(tab, "#table-1-panel .legend button")
    assert tab.run(lines) == 3
    assert tab.run("document.querySelector('#table-1-panel .legend button').getAttribute('aria-pressed')") == "false"


def test_the_slider_shows_another_subject(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    tab.run("new Promise((done) => setTimeout(done, 200))")
    pixels = "document.querySelector('#table-1-panel .tiles canvas').toDataURL()"
    scores = "[...document.querySelectorAll('#table-1-panel .tiles small')].map((one) => one.textContent)"
    before = tab.run(pixels), tab.run(scores)
    tab.run("document.querySelector('input[type=range]').value = 2")
    tab.run("document.querySelector('input[type=range]').dispatchEvent(new Event('input'))")
    after = tab.run(pixels), tab.run(scores)
    assert before[0] != after[0]
    assert before[1] != after[1]
    choose(tab, "Site and task", "2")
    tab.run("new Promise((done) => setTimeout(done, 200))")
    assert tab.run("document.querySelector('#table-1-panel .tiles figcaption').textContent") == "source T1"


def test_cross_site_newcomers_and_failures_are_there(tab: Browser) -> None:
    click(tab, "#tab-table-1")
    heads = tab.run("[...document.querySelectorAll('#table-1-panel h3')].map((one) => one.textContent)")
    assert heads == [
        *(
            "Leaderboard",
            "Gains",
            "Every site and task",
            "Validation curves",
            "Quality against communication",
            "Across sites",
        ),
        *("Newcomers", "Tasks that a site never trained", "Images", "Without training"),
    ]
    click(tab, "#tab-failures")
    assert "the loss is not finite" in tab.run("document.querySelector('#failures-panel').textContent")
    click(tab, "#tab-runs")
    assert len(rows(tab, "#runs-panel")) == 41


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_is_shown_without_sideways_scrolling_and_with_letters_that_can_be_read(
    chromium: Browser, index: Path, dark: bool, width: int
) -> None:
    chromium.problems.clear()
    chromium.open(index, width=width, height=844, dark=dark)
    for name in ("overview", "table-0", "table-1", "runs", "failures"):
        click(chromium, f"#tab-{name}")
        assert chromium.run("document.documentElement.scrollWidth") == width
        assert chromium.run(CUT) == []
        assert chromium.run(SMALL) == []
        assert chromium.run(CONTRAST) == []
    assert chromium.problems == []


# Texts of the open tab's drawings that reach beyond their drawing.
CUT = """[...document.querySelectorAll("section:not([hidden]) svg[role=img]")].flatMap((one) => {
  const box = one.getBoundingClientRect();
  return [...one.querySelectorAll("text")].filter((text) => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
  }).map((text) => text.textContent);
})"""

# Texts of the open tab in letters of less than 12 pixels.
SMALL = """[...document.querySelectorAll("section:not([hidden]) *")].filter((one) =>
  [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
  && one.checkVisibility() && parseFloat(getComputedStyle(one).fontSize) < 12).map((one) => one.outerHTML)"""

# Texts of the open tab whose contrast to the page's ground is below 4.5 to 1 (WCAG 2, AA).
CONTRAST = """(() => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const texts = "section:not([hidden]) :is(p, li, td, th, h2, h3, label, figcaption, small)";
  return [...document.querySelectorAll(texts)].filter((one) => {
    const text = light(getComputedStyle(one).color);
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05) < 4.5;
  }).map((one) => one.outerHTML);
})()"""


@pytest.mark.slow
def test_it_prints(tab: Browser, tmp_path: Path) -> None:
    click(tab, "#tab-table-1")
    tab.print(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_of_forty_methods_ten_scenarios_and_five_seeds_only_one_table_is_laid_out(
    tmp_path: Path, chromium: Browser
) -> None:
    fill(Store(tmp_path), methods=40, scenarios=10, seeds=5, rounds=60, side=128)
    assert main(["report", "--results", str(tmp_path)]) == 0
    index = tmp_path / "report" / "index.html"
    assert index.stat().st_size < 25e6
    chromium.open(index)
    click(chromium, "#tab-table-2")
    tables = chromium.run("document.querySelectorAll('main table').length")
    assert 0 < tables < 10  # of ten scenarios: a tab's table is made when it is opened, so that the page opens at once

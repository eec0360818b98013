"""``/reports`` in a real browser, over the pipes' fixtures: its figures are the pipes', and everybody can read them."""

import asyncio
import csv
import io
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tests.patience import PATIENCE_MS
from tracker.local.ports import free_port
from tracker.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ_KEY, WRITE_KEY = "read-key-of-shop-0123", "write-key-of-shop-0123"
#: The default of the collector's settings.
LOCAL_TOKEN = Settings(_env_file=None).tinybird_reader.get_secret_value()
RANGE = {"from": "2026-03-02", "to": "2026-03-02"}
ASKED = {"date_from": "2026-03-02 00:00:00", "date_to": "2026-03-03 00:00:00"}
BEFORE = {"date_from": "2026-03-01 00:00:00", "date_to": "2026-03-02 00:00:00"}
AXE = PROJECT_DIR / "reports" / "node_modules" / "axe-core" / "axe.min.js"
#: The reports of the page, each with the pipes whose rows it shows.
REPORTS = {
    "overview": ["sessions_overview"],
    "visitors": ["visitors", "retention"],
    "campaigns": ["campaign_conversion", "attribution"],
    "funnel": ["funnel"],
    "pages": ["landing_pages", "paths"],
    "tests": ["ab_test_conversion"],
    "quality": ["data_quality"],
}
EVIL = "<img src=x onerror=document.title='owned'>"
#: A spreadsheet would run them; these and the others are campaigns of the workspace "evil".
FORMULAS = ('=HYPERLINK("https://evil.example")', "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\n=1")
TEXTS = ('a, "quoted" name', "two\r\nlines", "späti, ü", "1=1")


@pytest.fixture(scope="module")
def tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    """The fixtures of the pipes, and a campaign whose name would be markup."""
    tinybird = LocalTinybird(tmp_path_factory.mktemp("reports"), TRACKER_TINYBIRD_READ_TOKEN=LOCAL_TOKEN)
    tinybird.start()
    for file in sorted((PROJECT_DIR / "tinybird" / "fixtures").glob("*.ndjson")):
        assert tinybird.append(file.stem, file.read_bytes()).status == 200
    row = orjson.loads((PROJECT_DIR / "tinybird/fixtures/session_v1.ndjson").read_bytes().splitlines()[0])
    rows = [{**row, "session_id": name, "session_key": name, "workspace_id": "evil", "campaign_id": name}
            for name in (EVIL, *FORMULAS, *TEXTS)]  # fmt: skip
    assert tinybird.append("session_v1", b"\n".join(map(orjson.dumps, rows))).status == 200
    yield tinybird
    tinybird.stop()


@asynccontextmanager
async def collecting(tinybird_url: str, directory: Path, **given: Any) -> AsyncIterator[CollectorProcess]:
    """A collector without Kafka: reports need none."""
    settings = Settings(
        kafka_bootstrap=f"localhost:{free_port()}",
        collect_port=free_port(),
        data_dir=directory,
        tinybird_url=tinybird_url,
        **given,
    )
    async with running_collector(settings, directory / "collect.log", first="/healthz") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def collector(
    tinybird: LocalTinybird, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CollectorProcess]:
    async with collecting(tinybird.url, tmp_path_factory.mktemp("collect")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, collector: CollectorProcess) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(base_url=collector.url, viewport={"width": 1_200, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert faults == []


def address(report: str, **fields: str) -> str:
    return "/reports?" + urllib.parse.urlencode({"workspace_id": "shop", **RANGE, "report": report, **fields})


async def shown(page: Page) -> None:
    await page.wait_for_selector("#report:not([aria-busy]) > *")


async def visit(page: Page, report: str, **fields: str) -> None:
    await page.goto(address(report, **fields))
    await shown(page)


def ask(tinybird: LocalTinybird, pipe: str, **parameters: str) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({"workspace_id": "shop", **ASKED, **parameters})
    answer = tinybird.request(f"/v0/pipes/{pipe}.json?{query}")
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.json["data"]
    return rows


async def downloaded(page: Page, table: str) -> list[dict[str, str]]:
    async with page.expect_download() as download:
        await page.click(f"[data-table^='{table}'] button")
    file = await (await download.value).path()
    return list(csv.DictReader(io.StringIO(file.read_bytes().decode("utf-8-sig"))))


def as_csv(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("report", "pipe"), [(report, pipe) for report, pipes in REPORTS.items() for pipe in pipes])
async def test_each_tables_rows_are_the_pipes_rows(page: Page, tinybird: LocalTinybird, report: str, pipe: str):
    await visit(page, report)
    expected = [{name: as_csv(value) for name, value in row.items()} for row in ask(tinybird, pipe)]
    assert expected
    assert await downloaded(page, pipe) == expected


async def test_what_is_read_on_the_page_is_what_the_pipes_say(page: Page, tinybird: LocalTinybird):
    await visit(page, "overview")
    (now,), (before,) = ask(tinybird, "overview"), ask(tinybird, "overview", **BEFORE)
    tiles = dict(
        zip(await page.locator("dt").all_inner_texts(), await page.locator(".figure").all_inner_texts(), strict=True)
    )
    names = {
        "Visitors": "visitors",
        "New visitors": "new_visitors",
        "Sessions": "sessions",
        "Conversions": "conversions",
    }
    assert {label: tiles[label] for label in names} == {label: str(now[name]) for label, name in names.items()}
    assert tiles["Value"] == f"{now['value']:.2f}"
    assert tiles["Conversion rate"] == f"{now['conversion_rate']:.1%}"
    await expect(page.locator("#status")).to_contain_text("against 2026-03-01 to 2026-03-01")
    change = f"{now['value'] / before['value'] - 1:+.0%}"
    await expect(page.locator(".tiles > div", has_text="Value").locator(".change")).to_have_text(change)

    await visit(page, "campaigns")
    rows = await page.locator("[data-table=campaign_conversion] tbody tr").all_inner_texts()
    former = {row["campaign_id"]: row["sessions"] for row in ask(tinybird, "campaign_conversion", **BEFORE)}
    campaigns = ask(tinybird, "campaign_conversion")
    assert [row.split("\t")[:2] for row in rows] == [
        [row["campaign_id"] or "(no campaign)", str(row["sessions"])] for row in campaigns
    ]
    assert {row["campaign_id"]: former.get(row["campaign_id"]) for row in campaigns} == {
        "autumn": 1,
        "spring": 2,
        "": None,
    }
    assert {row.split("\t")[0]: row.split("\t")[2] for row in rows} == {
        "autumn": "±0 %", "spring": "-50%", "(no campaign)": "new",
    }  # fmt: skip


async def test_links_keep_the_filters_and_back_goes_back(page: Page):
    await visit(page, "overview")
    await page.fill("[name=campaign_id]", "spring")
    await page.uncheck("[name=compare]")
    await page.click("#filters button")
    await expect(page.locator(".figure").nth(2)).to_have_text("1")
    await page.click("nav a:has-text('Funnel')")
    await expect(page.locator("nav a[aria-current=page]")).to_have_text("Funnel")
    await expect(page.locator("[data-table=funnel]")).to_be_visible()
    fields = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.url).query))
    assert fields == {
        "report": "funnel", **RANGE, "workspace_id": "shop", "campaign_id": "spring", "nocompare": "1",
    }  # fmt: skip
    await expect(page.locator("[name=campaign_id]")).to_have_value("spring")
    await page.reload()
    await expect(page.locator("[name=campaign_id]")).to_have_value("spring")
    await page.go_back()
    await expect(page.locator("nav a[aria-current=page]")).to_have_text("Overview")
    await expect(page.locator(".change")).to_have_count(0)


async def test_it_can_be_used_with_the_keyboard_alone(page: Page):
    await visit(page, "overview")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("nav a[aria-current=page]")).to_have_text("Campaigns")
    await expect(page.locator("#report")).to_be_focused()  # a screen reader goes on with what is new
    await page.keyboard.press("Tab")
    await expect(page.locator(".table").first).to_be_focused()  # wide tables are scrolled with the arrow keys


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1_200])
async def test_it_is_accessible_and_fits_the_window(
    browser: Browser, collector: CollectorProcess, scheme: Any, width: int
):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make check-sdk installs it")
    context = await browser.new_context(
        base_url=collector.url, color_scheme=scheme, viewport={"width": width, "height": 700}
    )
    page = await context.new_page()
    for report in REPORTS:
        await visit(
            page,
            report,
            workspace_id="lab" if report == "tests" else "shop",
            **{"from": "2026-03-01", "to": "2026-03-04"},
        )
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, report
        await page.evaluate(AXE.read_text())
        found = await page.evaluate(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
        )
        assert found == [], report
    await context.close()


async def test_something_is_to_be_seen_before_the_first_rows_have_come(page: Page):
    may_answer = asyncio.Event()

    async def wait(route: Route) -> None:
        await may_answer.wait()
        await route.continue_()

    await page.route("**/reports/data*", wait)
    await page.goto(address("overview"))
    painted = await page.wait_for_function("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    print(f"first contentful paint after {await painted.json_value():.0f} ms")
    await expect(page.locator("#filters")).to_be_visible()
    assert await page.locator("#report .figure").count() == 0
    may_answer.set()
    await shown(page)
    assert await page.locator("#report .figure").count() > 0


async def test_texts_from_outside_stay_texts(page: Page):
    await visit(page, "campaigns", workspace_id="evil", **{"from": "2026-03-01"})
    await expect(page.locator("[data-table=campaign_conversion] tbody th", has_text="<img")).to_have_text(EVIL)
    assert await page.locator("#report img").count() == 0
    rows = await downloaded(page, "campaign_conversion")
    assert {row["campaign_id"] for row in rows} == {EVIL, *(f"'{formula}" for formula in FORMULAS), *TEXTS}
    assert "owned" not in await page.title()


@pytest.mark.parametrize(
    ("asked", "days"),
    [
        ({"from": "2026-03-03", "to": "2026-03-02"}, ("2026-03-02", "2026-03-03")),
        ({"from": "2026-02-31", "to": "2026-03-02"}, (None, "2026-03-02")),
        ({"from": "1970-01-01", "to": "9999-12-31"}, (None, None)),
        ({"from": "0000-01-01", "to": "x"}, (None, None)),
    ],
)
async def test_days_that_are_none_are_the_default_and_those_in_the_wrong_order_are_turned_round(
    page: Page, asked: dict[str, str], days: tuple[str | None, str | None]
):
    await visit(page, "overview", **asked)
    found = [await page.input_value(f"[name={name}]") for name in ("from", "to")]
    assert found == sorted(found)
    assert set(found) >= set(filter(None, days))
    assert not set(found) & (set(asked.values()) - set(days))
    await expect(page.locator("#status")).to_contain_text("Times are UTC.")


@pytest.mark.parametrize("report", ["constructor", "__proto__", "toString", ""])
async def test_a_report_that_is_none_is_the_first(page: Page, report: str):
    await visit(page, report)
    await expect(page.locator("nav a[aria-current=page]")).to_have_text("Overview")


@pytest.mark.parametrize("report", list(REPORTS))
async def test_a_range_without_anything_is_shown_as_such(page: Page, report: str):
    await visit(page, report, **{"from": "2001-01-01", "to": "2001-01-02"})
    await expect(page.locator("#status")).to_contain_text("Times are UTC.")
    assert "NaN" not in await page.inner_text("#report")
    assert "Infinity" not in await page.inner_text("#report")


async def test_a_fault_is_said_and_the_filters_stay(page: Page):
    await page.goto("/reports")
    await expect(page.locator("#status")).to_have_text("Say which workspace.")
    await page.goto(address("pages", depth="99"))
    await expect(page.locator("#status")).to_contain_text("depth: must be")
    await expect(page.locator("#filters")).to_be_visible()


async def test_while_tinybird_is_away_the_page_says_so(browser: Browser, tmp_path: Path):
    async with collecting(f"http://127.0.0.1:{free_port()}", tmp_path) as collector:
        page = await browser.new_page(base_url=collector.url)
        await page.goto(address("overview"))
        await expect(page.locator("#status")).to_have_text("No data: Tinybird does not answer")
        await page.close()


async def test_a_read_key_opens_its_own_workspace(browser: Browser, tinybird: LocalTinybird, tmp_path: Path):
    keys = tmp_path / "keys.json"
    read = {"name": "read", "key": READ_KEY, "workspace_id": "shop"}
    write = {"name": "write", "key": WRITE_KEY, "workspace_id": "shop"}
    keys.write_bytes(orjson.dumps({"read_keys": [read], "write_keys": [write]}))
    async with collecting(tinybird.url, tmp_path, keys_file=keys) as collector:
        for key, workspace, status in (
            (None, None, 401),
            (WRITE_KEY, None, 403),
            (READ_KEY, None, 200),
            (READ_KEY, "shop", 200),
            (READ_KEY, "lab", 403),
        ):
            parameters = {"report": "overview"} | ({"workspace_id": workspace} if workspace else {})
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            async with collector.http.get("/reports/data", params=parameters, headers=headers) as answer:
                assert answer.status == status
        page = await browser.new_page(base_url=collector.url)
        await page.goto(address("overview", workspace_id=""))
        for wrong in (WRITE_KEY, "schlüssel", "two words"):
            await page.fill("#key", wrong)
            await page.click("#key-form button")
            await expect(page.locator("#status")).to_contain_text("not a read key")
            await expect(page.locator("#key")).to_be_focused()
        await page.fill("#key", READ_KEY)
        await page.click("#key-form button")
        await shown(page)
        (expected,) = ask(tinybird, "overview")
        await expect(page.locator(".figure").first).to_have_text(str(expected["visitors"]))
        await expect(page.locator("#key-form")).to_be_hidden()
        await expect(page.locator("[name=workspace_id]")).to_have_count(0)
        assert READ_KEY not in page.url
        await page.close()
    assert READ_KEY not in (tmp_path / "collect.log").read_text()

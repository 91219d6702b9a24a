"""From a shopper's click to the row on an open dashboard, in ms: median and worst of many.

A real server, a real Chromium. Each time a new tab of Verse walks to the checkout and clicks the
logo, which abandons the funnel; the clock starts with the click in that tab and stops when the row
is in the dashboard's page. Both read the same machine's clock. What lies between: the next page
of the shop, its tracker's first event, ingest, the engine, the store, the stream, the row.

    python -m benchmarks.click_to_row [count]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import ARGUMENTS, AS_A_PERSON, CHROMIUM
from tests.server import Server

# Notes when each row comes into the page.
WATCH = """() => {
  window.seen = {};
  new MutationObserver((changes) => {
    for (const change of changes) for (const node of change.addedNodes) {
      if (node.dataset?.search) window.seen[node.dataset.search.split("\\n")[0]] ??= Date.now();
    }
  }).observe(document.getElementById("feed"), { childList: true, subtree: true });
}"""
NOTE_CLICK = """() => addEventListener("click", () => {
  localStorage.setItem("clicked", Date.now());
}, { capture: true })"""


def measure(server: Server, browser: Browser, count: int) -> list[int]:
    dashboard = browser.new_page()
    dashboard.goto(server.url)
    dashboard.wait_for_selector(".connection[data-state=live]")
    dashboard.evaluate(WATCH)
    shop = browser.new_context()
    basket = shop.new_page()
    basket.goto(f"{server.url}/demo/products")
    basket.locator("main a[href*='/demo/product/']").first.click()
    basket.get_by_role("button", name="Add to cart").click()
    basket.close()
    taken: list[int] = []
    for _ in range(count):
        tab = shop.new_page()
        tab.goto(f"{server.url}/demo/checkout")
        tab.wait_for_selector("#lens-bar[data-state=sent]")
        tab.evaluate(NOTE_CLICK)
        visitor = tab.evaluate("lens.visitor")
        tab.locator("a.logo").click()
        seen = dashboard.wait_for_function("(id) => window.seen[id]", arg=visitor)
        taken.append(int(seen.json_value()) - int(tab.evaluate("localStorage.clicked")))
        tab.close()
    return taken


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, AS_A_PERSON]
        )
        taken = sorted(measure(server, browser, count))
        browser.close()
    middle = statistics.median(taken)
    ninety = taken[int(len(taken) * 0.9)]
    print(f"{count} clicks: median {middle:.0f} ms, 90 % {ninety} ms, worst {taken[-1]} ms")


if __name__ == "__main__":
    main()

"""Loads the gateway's status page in a headless Chromium, before, during and after an outage of the broker.

usage: page.py JETSINK NATS_SERVER CHROMIUM FOLDER
Leaves screenshots in FOLDER. Fails if the page does not follow the outage, loads anything from another address, logs an
error or a policy violation, is wider than a phone, or shows a text as markup.
"""

import json
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request

from playwright.sync_api import sync_playwright

from running import PATIENCE, Broker, Gateway, wait_for

HOSTILE = "<img src=x onerror=alert(1)>"


def post(address, event):
    body = json.dumps({"specversion": "1.0", "source": "/page", "type": "t", **event}).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/cloudevents+json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Observed:
    """Everything that a page should not do."""

    def __init__(self, page, origin):
        self.problems = []
        page.on("console", lambda message: self.problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.saw(request.url, origin))

    def saw(self, url, origin):
        if not url.startswith((origin, "data:,")):
            self.problems.append(f"request of {url}")


def headline(page):
    return page.inner_text("h1")


def check(browser, jetsink, nats_server, scratch, pictures):
    broker = Broker(nats_server, scratch)
    gateway = Gateway(jetsink, broker, "--spool", os.path.join(scratch, "spool"))
    address, status = gateway.events, gateway.status
    try:
        broker.create_stream(jetsink)
        wait_for(lambda: post(address, {"id": "first"}) == 202, "no event is stored")
        assert [post(address, {"id": str(number)}) for number in range(40)] == [202] * 40
        assert post(address, {"id": "bad", "specversion": HOSTILE}) == 400
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        observed = Observed(page, gateway.admin)
        answer = page.goto(status)
        assert answer.status == 200
        assert headline(page) == "Ready", headline(page)
        assert HOSTILE in page.inner_text("#refusals"), page.inner_text("#refusals")
        assert "41 events accepted" in page.inner_text("#hour"), page.inner_text("#hour")
        assert "2." in page.inner_text("#broker"), "the broker's version"

        broker.kill()
        wait_for(lambda: post(address, {"id": f"away-{time.monotonic()}"}) == 202, "no event is spooled")
        page.locator("h1", has_text="Broker away").wait_for(timeout=PATIENCE * 1000)
        page.locator("#spool", has_text="pending event").wait_for(timeout=PATIENCE * 1000)
        take(browser, page, status, pictures, "away")
        broker.start()
        page.locator("h1", has_text=re.compile("^Ready$")).wait_for(timeout=PATIENCE * 1000)
        page.locator("#spool", has_text="Empty").wait_for(timeout=PATIENCE * 1000)
        take(browser, page, status, pictures, "ready")
        assert not observed.problems, observed.problems

        # Without the gateway the page says that it is out of date. Its failed requests are expected.
        gateway.stop()
        page.wait_for_selector("#stale", state="visible", timeout=PATIENCE * 1000)
    finally:
        gateway.stop()
        broker.kill()


def take(browser, page, status, pictures, name):
    """Screenshots on a desktop and a phone, light and dark. A phone's page must not be wider than its screen."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=f"{pictures}/{name}-desktop-{scheme}.png", full_page=True)
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme, device_scale_factor=2)
        phone.goto(status)
        width = phone.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{width} pixels on a phone"
        phone.screenshot(path=f"{pictures}/{name}-phone-{scheme}.png", full_page=True)
        phone.close()
    check_without_scripts(browser, status)


def check_without_scripts(browser, status):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(status)
    assert page.locator("meta[http-equiv=refresh]").count() == 1, "it renews itself without scripts"
    assert headline(page), "the server renders it"
    context.close()


def main():
    jetsink, nats_server, chromium, pictures = sys.argv[1:]
    os.makedirs(pictures, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        # Chromium's own sandbox does not run as root; the page is ours.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        check(browser, jetsink, nats_server, scratch, pictures)
        browser.close()
    print(f"the status page follows an outage; pictures in {pictures}")


main()

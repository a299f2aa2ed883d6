"""A lecture hall: visitors who click on every page at once, over loopback, and how long each waits for an answer.

    python -m benchmarks.demos.load [--visitors 20] [--seconds 120] [--own] [--out benchmarks/results/demo_load.json]

The server is a process of its own, as `python -m demos` starts it, without real tissue. Visitors have no browser, so
that the machine's cores are the server's; what a browser takes to draw is left out. Each waits 2 to 6 seconds between
two clicks.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import psutil
import typer
from PIL import Image

from benchmarks.demos.visitors import Visitor
from benchmarks.report import document, machine, write_json
from demos.serving import free_port
from demos.shared.phantoms import SIZE, SLIDES, bundled

ROOT = Path(__file__).resolve().parents[2]
THINKING = (2.0, 6.0)  # seconds
ALLOWED = 1.5  # seconds, of 95 in 100 clicks


async def cvm(visitor: Visitor) -> None:
    width, height, key = found(r'viewBox="0 0 (\d+) (\d+)".* data-image="([^"]+)"', visitor.value("main"))
    where = [visitor.random.randrange(int(width)), visitor.random.randrange(int(height))]
    visitor.values[visitor.ids["choice"]] = visitor.random.choice([0, 1])
    await visitor.act("main", "select", {"index": where, "value": key})


async def proto2seg(visitor: Visitor) -> None:
    """A name for the cluster in view or another class for it, or the next cluster."""
    await press(visitor, visitor.random.choice([["key", visitor.random.randrange(6), 2.0], ["next", 2.0]]))


async def mlps(visitor: Visitor) -> None:
    await press(visitor, visitor.random.choice([["toggle", visitor.random.randrange(5), 2.0], ["next", 2.0]]))


async def sic(visitor: Visitor) -> None:
    """A seed somewhere, or the last one taken back."""
    seed = ["seed", visitor.random.randrange(400), visitor.random.randrange(2)]
    serial = 1 + int(found(r"&quot;serial&quot;: (\d+)", visitor.value("seed-state"))[0])
    event = visitor.random.choice([seed, seed, ["undo"]])
    await visitor.act("seed-bench", "select", {"index": 0, "value": json.dumps({"serial": serial, "events": [event]})})


async def press(visitor: Visitor, event: list[Any]) -> None:
    """One key, as ``demos/shared/panel.js`` reports it."""
    serial = 1 + int(found(r'data-serial="(\d+)"', visitor.value("panel"))[0])
    await visitor.act("panel", "select", {"index": 0, "value": json.dumps({"serial": serial, "events": [event]})})


TAKING_IMAGES = ("cvm", "proto2seg")
STORIES: dict[str, Callable[[Visitor], Awaitable[None]]] = {
    "cvm": cvm,
    "proto2seg": proto2seg,
    "mlps": mlps,
    "sic": sic,
}


def found(pattern: str, html: str) -> tuple[str, ...]:
    """What the pattern's groups hold; an error if the page does not show it."""
    match = re.search(pattern, html, re.DOTALL)
    if match is None:
        raise RuntimeError(f"the page shows no {pattern}")
    return match.groups()


async def bring(visitor: Visitor) -> float:
    """Upload an image of the largest size that is not made smaller, like nobody else's; seconds until it is shown."""
    tile = bundled()[visitor.random.randrange(SLIDES)]
    file = io.BytesIO()
    Image.fromarray(np.roll(tile.read_image(), visitor.random.randrange(1, SIZE), axis=0)).save(file, "PNG")
    await visitor.upload("upload", "own.png", file.getvalue())
    return visitor.waits.pop()


async def visit(visitor: Visitor, until: float) -> None:
    """Click until then; whatever goes wrong is noted, and the visitor goes on."""
    while time.monotonic() < until:
        await asyncio.sleep(visitor.random.uniform(*THINKING))
        try:
            await STORIES[visitor.page](visitor)
        except (httpx.HTTPError, RuntimeError) as error:
            visitor.errors.append(f"{type(error).__name__}: {error}")


async def lecture(url: str, visitors: int, seconds: float, server: psutil.Process, own: bool = False) -> dict[str, Any]:
    """What they waited for by page, in seconds, and the server's memory at its highest. own: visitors of pages where an
    image is clicked or queried bring their own first."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        hall = [Visitor(client, list(STORIES)[i % len(STORIES)], i) for i in range(visitors)]
        memory = [server.memory_info().rss]

        async def watch() -> None:
            while True:
                await asyncio.sleep(1)
                memory.append(server.memory_info().rss)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(visitor.arrive() for visitor in hall))
        taking = [visitor for visitor in hall if own and visitor.page in TAKING_IMAGES]
        brought = await asyncio.gather(*map(bring, taking))
        until = time.monotonic() + seconds
        await asyncio.gather(*(visit(visitor, until) for visitor in hall))
        watching.cancel()
    waits = {page: [s for v in hall if v.page == page for s in v.waits] for page in STORIES}
    return {
        "visitors": visitors,
        "seconds": seconds,
        "own_images": summary(brought),
        "all": summary([s for page in waits.values() for s in page]),
        **{page: summary(seconds) for page, seconds in waits.items()},
        "errors": [error for visitor in hall for error in visitor.errors],
        "highest_memory_mib": max(memory) >> 20,
    }


def summary(waits: list[float]) -> dict[str, float]:
    if not waits:
        return {"clicks": 0}
    p50, p95, longest = (round(float(s), 3) for s in np.percentile(waits, [50, 95, 100]))
    return {"clicks": len(waits), "p50": p50, "p95": p95, "max": longest}


def main(
    visitors: Annotated[int, typer.Option(min=1, max=200)] = 20,
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 120,
    own: Annotated[bool, typer.Option("--own", help="Visitors bring images of their own.")] = False,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the figures.")] = None,
) -> None:
    """Start the demos, send visitors, and say how long they waited."""
    port = free_port("127.0.0.1")
    environment = {key: value for key, value in os.environ.items() if key != "HISTOLAB_DATA"}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "demos", "--port", str(port)], cwd=ROOT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None and not answers(url):
            time.sleep(0.1)
        figures: dict[str, Any] = {"start_up_s": round(time.monotonic() - began, 1)}
        figures |= asyncio.run(lecture(url, visitors, seconds, psutil.Process(process.pid), own))
    finally:
        process.terminate()
        process.wait(30)
    typer.echo(json.dumps(figures, indent=1))
    if out is not None:
        write_json(out, document(machine(), [figures]))
    if figures["errors"] or figures["all"]["p95"] > ALLOWED:
        raise typer.Exit(1)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    typer.run(main)

"""How the demos look, and how they are served."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import gradio as gr

from demos.uploads import LARGEST_FILE

#: What all pages share, and what each has of its own, beside it.
CSS = sorted(Path(__file__).parent.glob("*.css"))

NO_DEVICE = "For teaching and research. Not a medical device: nothing here may guide a diagnosis."


def theme() -> gr.themes.Base:
    """System fonts: the page asks no other server for anything."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="sm",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(  # of WCAG's contrast AA, which Gradio's own greys and blues miss
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


#: How a page is served, alone or among others: it shows no file of the server's disk and no traceback, and asks no
#: other server.
SERVED = {
    "theme": theme(),
    "css_paths": CSS,
    "footer_links": [],
    "show_error": False,
    "ssr_mode": False,
    "enable_monitoring": False,
    "run_history": False,
}


def launch(page: gr.Blocks, host: str, port: int | None) -> None:
    """Serve a page alone until Ctrl-C."""
    page.queue(max_size=100, default_concurrency_limit=2, api_open=False)
    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=LARGEST_FILE,
        state_session_capacity=200,
        quiet=True,
        prevent_thread_lock=True,
        **SERVED,
    )
    print(f"Open {url}", flush=True)
    page.block_thread()


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine's user can see what is served there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The look of all pages."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent
#: The style sheets of each page, then the one that all share.
CSS = [*sorted(HERE.parent.glob("*/page.css")), HERE / "style.css"]

NO_DEVICE = "For teaching and research. Not a medical device: nothing here may guide a diagnosis."


def theme() -> gr.themes.Base:
    """System fonts: the page asks no other server for anything."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="sm",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(  # contrast of WCAG's level AA, which Gradio's own greys and blues miss
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


def blocks(title: str) -> gr.Blocks:
    """An empty page, which sends no usage statistics."""
    return gr.Blocks(title=title, analytics_enabled=False)

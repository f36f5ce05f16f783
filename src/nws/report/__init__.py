"""One self-contained interactive page about a zoo."""

from nws.report.page import Written, html, write

__all__ = ["Written", "html", "write"]

"""Self-contained HTML pages: an interactive one about a zoo, and one about an audit."""

from nws.report.audit_page import audit_html, write_audit
from nws.report.page import Written, html, write

__all__ = ["Written", "audit_html", "html", "write", "write_audit"]

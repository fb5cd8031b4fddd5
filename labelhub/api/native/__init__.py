"""Our own API, version 1: every noun of the hub under /api/v1, described at /api/schema and /api/docs.

It answers with the rows themselves, lists as {"results": […], "next": …}, and refuses in the plain envelope:
{"status": "error", "code": …, "message": …, "details": {…}}.
"""

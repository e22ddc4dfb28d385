"""The console: web pages for support staff, with the messaging logs, bounces, suppressions and delivery statistics.

Pages are rendered on the server, with the queries and application functions of the API, and limited to the accounts of
the session. Every URL returns a whole page; with the header `x-partial` it returns only the part that the browser
replaces. No process keeps state about a browser, so any process can answer any request.
"""

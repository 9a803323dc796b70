"""Documents as people and programs take them: terminal, HTML, CSV, JSON lines.

Most strings in a report come from strangers, and anybody may send a report. So nothing reaches a terminal
that could be an escape sequence, nothing reaches a page unescaped, no cell of a table becomes a formula, and
no link leads anywhere but to http and https. `visible` is what all of them share.

    render_document(build_document(report))    # safe HTML, for a page of ours
    render_page([document], title="Reports")   # a file that stands alone

Deliberately not here: what to say. That is core.tlsrpt.document and core.explain.
"""

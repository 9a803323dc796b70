"""SMTP TLS Reporting (RFC 8460): the TXT record that asks for reports, and the reports.

Senders of mail count, per UTC day and domain, the sessions that were encrypted and those that failed, and send
the figures as JSON to the addresses in the TXT record at `_smtp._tls.<domain>`, by mail (port 25) or by HTTPS
POST (port 443).

The threat: anybody can send anything to such an address. A report is a stranger's claim, in a container of the
stranger's choice: compression bombs, deep or huge JSON, mails of a thousand parts, texts made for the terminal
or the browser that shows them. Reading is bounded in time and memory (`limits`), ends in a `Reading` or in one
typed error, and evaluates nothing. Who sent a report is judged elsewhere (`mailward.core.dkim`).

    from mailward.core.tlsrpt.read import read_bytes
    reading = read_bytes(data)          # JSON, gzip, zip, base64 or a mail
    reading.reports[0].policies[0].summary.total_failure_session_count

Readers take what senders really send and note every deviation; `check_strict` says what of it contradicts the
RFCs. Writers (`write`, `compose`) follow the RFCs. Not done here: sums. The entries of a report may describe
the same sessions twice (`sts` and `tlsa`), and counts of failures may overlap.
"""

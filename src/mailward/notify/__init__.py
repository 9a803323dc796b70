"""Telling people about problems by mail (RFC 5322, through the relay of the settings).

A problem is told once to each person, by one mail that says what happened, what it means, what to do, and for
how many of their domains. The threat: most of what a mail names, host names and reporters above all, was
written by strangers, so nothing of it may reach a header or pass for our own words unchecked.

Not done here: chat, pagers, digests, and HTML; these mails are plain text.
"""

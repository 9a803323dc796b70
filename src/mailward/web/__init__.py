"""The console: server-rendered pages for people. Every page reads through `request.scope` (see `access`)."""

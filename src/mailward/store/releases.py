"""Which migration each release ended with: where to step back to."""

RELEASES = {
    "0.1.0": "0016_own_names",
}

"""Lists of domains from elsewhere: CSV, zone files, the answers of PowerDNS's API.

    listing = net.listing.read_listing(content, "domains.csv")
    listing.wishes, listing.refused

Whoever hands such a file over may have it from strangers: size, rows and names are bounded, `$INCLUDE` and
`$GENERATE` of zone files are refused (RFC 1035 section 5.1), and what cannot be read is told with its line.
"""

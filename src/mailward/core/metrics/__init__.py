"""What Mailward counts, in the form that Prometheus reads (text format 0.0.4).

Whoever counts holds plain integers, since a counter stands in the way of each answer; at a scrape they become
families: a definition with the samples of the moment. All definitions of the platform are in `catalogue`, which
docs/metrics.md is written from. A label's values are bounded: never a domain, an address or what a stranger sent.

    family = catalogue.HTTP_REQUESTS.of({("policy-host", "200"): 12})
    render_page([family])
"""

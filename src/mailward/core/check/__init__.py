"""What senders would make of a domain: facts that were seen, rules that judge them, a verdict per kind of sender.

The threat is silence: a policy that lost its certificate, an MX host that lost its STARTTLS or a TLSA record that
lost its key stop mail at strict senders, or protect nobody, and the owner hears of it from a bounce.

    facts = await observe(...)              # mailward.probe: DNS, HTTPS, SMTP; here nothing is asked
    report = run(facts)                     # findings with stable codes, and what each kind of sender does
    report.findings[0].code                 # explained by core.explain.checks

`facts` holds what was seen, as it was seen; `view` reads it once for all rules; `rules` has one file for each topic,
each rule a pure function from the view to findings; `verdict` says who delivers; `run` puts them together. What could
not be seen is "not observed" and never a finding.
"""

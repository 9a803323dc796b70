"""A survey of many domains, in one directory, that a kill does not set back.

    names          the list, normalised: what is to be asked, fixed at the beginning (`plan`)
    rejected.csv   lines of the list that are no domain names, with the reason
    survey.json    the options, and where the survey stands
    journal        finished rows, a frame of them at a time, each with its checksum (`journal`)
    sessions.sqlite3   sessions with MX hosts, with `--smtp`
    results.csv, results.parquet, summary.html    written from the journal at the end (`export`)

`crew` spreads the names over worker processes, each of which looks at some hundred domains at a time
(`worker`); what they finish is in the journal within a second. Only what was under way is asked again after a
kill, and no row is there twice. Neither Django nor the store.
"""

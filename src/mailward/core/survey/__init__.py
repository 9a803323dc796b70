"""A survey: many domains, one row each, and what they add up to.

    entry = read_line(b"7,example.org\n")            # a list of names, whatever its form
    row = make_row(entry, facts, Judge().judge(facts))   # the columns of `columns.COLUMNS`
    totals.add(row)                                      # shares for the summary

A row holds what was seen (records as they came) beside what it was judged to be, so that `rejudge.read_facts` gives the
facts back and newer rules can judge them again. Nothing is asked here: mailward.probe.survey does that.
"""

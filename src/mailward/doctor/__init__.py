"""`mailward doctor`: the installation and its machine, looked at piece by piece, as the world meets them.

A check is one async function over a `Subject` that yields findings, a line in `checks.CHECKS`, and its entries in
`core.doctor.catalogue`, which give each code its grade and its words. Everything is bounded: each check has a deadline,
all run at once, and one that cannot look says so (`unseen`) and raises no alarm.

    async for section in look(subject): ...

From this machine nobody sees a firewall in front of it, and behind address translation the public address often cannot
be reached from within: what was not observed is said to be so.
"""

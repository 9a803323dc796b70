"""Backups: everything of a data folder that cannot be made again, as one file, taken while Mailward runs.

A backup is a tar file, compressed by gzip, and inside age's envelope (age-encryption.org/v1) where that was asked for.
Its first member is `manifest.json` (`manifest.Manifest`): release, migrations, time, and name, size and SHA-256 of each
part; then the parts in that order. `age --decrypt FILE | tar xz` opens it without us.

    database.sqlite3 or database.dump    what pg_dump writes in its custom format
    settings.toml                        the settings file, as it was read
    data/...                             keys, authority, certificates that the operator keeps, the sender's databases

What was acknowledged before the backup began is in it: SQLite is copied in one read transaction, pg_dump takes one
snapshot, and keys are read after the database that they open.

The threat: a backup holds private keys and mail of strangers, so it is for its owner alone (mode 0600) and may be
sealed for a key that is not on this machine. One that is restored may be forged: names, kinds, sizes and hashes are
checked before anything of it is used, and nothing is read that the manifest does not name.

Deliberately not done: incremental backups and sending them elsewhere; other programs do that well with files.
No Django here: a host with `mailward sender` alone is backed up too.
"""


class BackupFault(Exception):
    """One sentence, for the person who asked for the backup or brings it back."""

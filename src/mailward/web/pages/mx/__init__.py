"""The MX hosts of a domain beside its policy: what differs, what is to come, whether the policy follows."""

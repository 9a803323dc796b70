"""The policy of a domain: editor, confirmation, history."""

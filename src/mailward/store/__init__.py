"""The storage layer: one Django app that never touches the network.

`scope` is the only way from a person to rows; `services` writes (one function = one short transaction),
`queries` reads into frozen rows, `models` are tables and nothing else.
"""

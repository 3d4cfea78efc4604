"""Finding the mail servers of an address, from nothing but the address. Nothing here logs in, and the address itself is
sent to nobody: only its domain.

`discovery` puts the findings together. `providers` knows what large providers have documented (`providers.json`).
`autoconfig` reads the file in which a domain describes its servers. `guesses` tries the usual names.
"""

"""Finds the mail servers of an address, from the address alone. This room never logs in, and sends only the domain of the address
to others.

`discovery` puts the findings together. `providers` knows what large providers have documented (`providers.json`).
`autoconfig` reads the file in which a domain describes its servers. `guesses` tries the usual names.
"""

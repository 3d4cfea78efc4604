"""Reads the answers of IMAP servers, tolerantly. Pure functions turn octets into frozen values. There is a file for each
kind of answer, with the grammar of RFC 9051 and 3501 beside the code.

No function raises, whatever the octets are. Time and memory are linear in the received octets, and no answer expands beyond
what was requested. Answers that cannot be read, or that belong to no request, are dropped and counted.
"""

"""What IMAP servers say, read by a reader that bends: pure functions from octets to frozen values, a file for each kind
of answer, the grammar of RFC 9051 and 3501 beside the code that reads it.

None of them raises, whatever the octets; time and memory are linear in what was received, and no answer expands to
more than was asked for. What cannot be read, or is not about what was asked, is dropped and counted.
"""

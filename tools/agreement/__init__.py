"""Our reading of mails beside that of the standard library, and who is right where they differ."""

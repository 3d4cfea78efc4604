"""Converts between the bytes of a mail and its content. Pure: no I/O, no database. Bad mail gives defects, never errors.

parse             The reader: bytes to `model.ParsedMail`. `worker` runs it in a process of its own, `frames` is what
                  they say to each other, `minimal` is what is left of a mail that stops the reader.
structure         The tree of parts, over `header_end` and `headers`; `parameters` and `encoded_words` read what a header
                  holds, `addresses`, `dates` and `message_ids` what it means; all text passes `text`.
sections          Which parts are the message and which are files; `references`: which of them the HTML shows.
bodies            The text of the message, over `transfer`, `charset`, `enriched` and `rtf`.
attachments       The files, their names and contents, over `file_types`, `containers` (`cms`, `tnef`, `uuencode`) and
                  `numbering`.
sanitise          The tags and attributes of HTML that may stay; then `shown_html` keeps what a person sees, over
                  `looks`, `colours`, `style_sheets`, `html_attributes` and `shown_links`.
plain, snippet    Text for lists and for search, without what is quoted (`quotes`).
automatic         Whether a machine wrote the mail; `delivery_report` is what a report of a server says.
compose           The bytes of a mail to send, over `entered_addresses`, `written_headers` and `file_names`;
                  `control_characters` keeps line breaks out of headers, `answering` says what an answer takes over.
reader_1          How the reader before this one numbered attachments.
"""

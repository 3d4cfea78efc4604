"""Stored mail.

arrivals       How a mail becomes a message.
conversations  Which mails belong together; `answers`: who has answered a message.
selection      What the filters of a list select; `ordering`: the orders of a list.
searching      Searches texts; `search_text`: the form in which texts are searched.
reading        Lists, messages, sources, attachments; `pieces`: downloads in pieces; `inline_images`: images in HTML.
counting       How many messages wait.
state          Processed, returned, moved.
deletion       Deletes messages; `retention`: by age.
rereading      Reads stored mails again after an upgrade.
"""

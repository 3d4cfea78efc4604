"""What each error code means for a caller: the page to which the `type` of a problem leads.

`requests`, `mail_server` and `inside` explain the codes of the modules of the same names in `app/errors/`; `quarantine` says
what to do for each reason of the quarantine. `page` makes one page of them: the gateway serves it as HTML at `/docs/errors`,
and `python -m tools.errors` writes it as Markdown into docs/errors.md. A test requires an entry for each code, and no other
entries.
"""

"""Mail from the database to the server.

submissions      Requests to send: create, list, read; `contents` keeps what was asked, `answering` has the rules for answers.
sender           The attempts; `kept`: connections kept between attempts; `outcomes`: what follows, and the back-off.
bindings         The servers for which a submission was made.
rates            How much a connector sends; `provider_limits`: what known providers allow.
sent_copies      The copy in the Sent folder; `sent_filing`: whether the provider files it; `looking`: for an uncertain mail.
bounces          Reports of mail that was not delivered.
ending           Cancels, deletes and sends again; `remains`: what is kept of a deleted submission.
"""

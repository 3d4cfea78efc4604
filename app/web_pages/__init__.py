"""Pages for people who have no account here: plain HTML, no script. Pure: values in, a page out."""
